"""Where a clip's shots begin: agreement, and training, must not run across a cut."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from lsts_edge.runtime.scene_cuts import Glance, SceneOptions, SceneWatch, is_cut

__all__ = ["find_shots"]


def find_shots(frames_hwc_bgr_u8: Iterable[np.ndarray], options: SceneOptions | None = None) -> list[range]:
    """Cut a sequence of frames into shots.

    By the rule of ``is_cut``, with the frames that follow in sight, as a running detector has not: a flash is no shot.
    Only thumbnails are kept, so a clip of any length may be given frame by frame.

    Args:
        frames_hwc_bgr_u8: ``(H, W, 3)`` uint8 BGR each; a change of size is a cut.
        options: None takes the usual ones.
    Returns:
        Ranges of frame indices, one a shot, that together are the whole sequence.
    """
    options = options or SceneOptions()
    glances = [Glance(frame) for frame in frames_hwc_bgr_u8]
    count = len(glances)
    if not count:
        return []
    forced = [index for index in range(1, count) if glances[index].shape != glances[index - 1].shape]
    starts = sorted({0, *forced, *_cuts(glances, options)})
    kept = [0]
    for start in starts[1:]:
        if start - kept[-1] >= options.shortest_frames or start in forced:
            kept.append(start)
    if len(kept) > 1 and count - kept[-1] < options.shortest_frames and kept[-1] not in forced:
        kept.pop()
    return [range(low, high) for low, high in zip(kept, [*kept[1:], count], strict=True)]


def _cuts(glances: list[Glance], options: SceneOptions) -> list[int]:
    changes = [after.change(before) for before, after in itertools.pairwise(glances)]
    reach, near = options.shortest_frames, SceneWatch.KEPT_FRAMES
    cuts = []
    for index in range(1, len(glances)):
        around = [*changes[max(0, index - 1 - reach) : index - 1], *changes[index : index + reach]]
        if is_cut(glances[max(0, index - near) : index], glances[index : index + near], around, options):
            cuts.append(index)
    return cuts
