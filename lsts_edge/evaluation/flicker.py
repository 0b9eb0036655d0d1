"""How much boxes flicker and tremble on objects that are there all the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lsts_edge.evaluation.tracks import FoundTrack

__all__ = ["Flicker", "measure_flicker"]


@dataclass(frozen=True)
class Flicker:
    """After Zhang and Wang, "On the Stability of Video Detection and Tracking", 2016; None: nothing to measure on.

    Attributes:
        fragment_error: mean over the objects of changes between found and not found, of L - 1 possible ones.
        centre_error: mean over the objects of the standard deviations of the found boxes' centres about the true ones,
            in widths plus in heights of the true box.
        scale_and_ratio_error: the same of the square root of the area ratio and of the aspect ratio's ratio.
        objects: seen in two frames or more.
        objects_found: found in two frames or more; the last two errors are of them.
    """

    fragment_error: float | None
    centre_error: float | None
    scale_and_ratio_error: float | None
    objects: int
    objects_found: int


def measure_flicker(tracks: Sequence[FoundTrack]) -> Flicker:
    """Flicker over the tracks that are long enough."""
    seen = [one for one in tracks if len(one.track) > 1]
    changes = [float((one.found[1:] != one.found[:-1]).mean()) for one in seen]
    moves = [_deviations(one) for one in seen if one.found.sum() > 1]
    return Flicker(
        fragment_error=float(np.mean(changes)) if changes else None,
        centre_error=float(np.mean([centre for centre, _ in moves])) if moves else None,
        scale_and_ratio_error=float(np.mean([shape for _, shape in moves])) if moves else None,
        objects=len(seen),
        objects_found=len(moves),
    )


def _deviations(one: FoundTrack) -> tuple[float, float]:
    true = one.track.boxes_xyxy_px[one.found].astype(np.float64)
    found = one.boxes_xyxy_px[one.found].astype(np.float64)
    true_size, found_size = (boxes[:, 2:] - boxes[:, :2] for boxes in (true, found))
    apart = ((found[:, :2] + found[:, 2:]) - (true[:, :2] + true[:, 2:])) / 2 / true_size
    scale = np.sqrt(found_size.prod(axis=1) / true_size.prod(axis=1))
    ratio = (found_size[:, 0] / found_size[:, 1]) / (true_size[:, 0] / true_size[:, 1])
    return float(apart.std(axis=0).sum()), float(scale.std() + ratio.std())
