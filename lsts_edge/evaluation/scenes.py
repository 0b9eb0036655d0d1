"""Where a clip's shots begin: agreement, and training, must not run across a cut."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from lsts_edge.errors import OptionError

__all__ = ["SceneOptions", "find_shots"]

_THUMBNAIL_PX = (64, 36)  # width, height
_BINS = (8, 4, 4)  # of hue, saturation, value


@dataclass(frozen=True)
class SceneOptions:
    """What counts as a cut.

    Attributes:
        histogram_change: share of the pixels that must change colour.
        picture_change: mean difference of brightness, of 255, that two shots show at the same place.
        stands_out: how many times larger than around it the product of both changes is at a cut.
        shortest_frames: a shot is not shorter; a flash or a blink of another picture is no shot.
    """

    histogram_change: float = 0.3
    picture_change: float = 10.0
    stands_out: float = 8.0
    shortest_frames: int = 5

    def __post_init__(self) -> None:
        if not 0 < self.histogram_change < 1 or not self.picture_change > 0 or not self.stands_out >= 1:
            got = f"{self.histogram_change}, {self.picture_change}, {self.stands_out}"
            raise OptionError("options of scenes", got=got, expected="0..1, above 0, at least 1", fix="Leave them out.")
        if not 2 <= self.shortest_frames <= 1000:
            raise OptionError(
                "shortest shot", got=self.shortest_frames, expected="2..1000 frames", fix="Leave it at 5."
            )


def find_shots(frames_hwc_bgr_u8: Iterable[np.ndarray], options: SceneOptions | None = None) -> list[range]:
    """Cut a sequence of frames into shots.

    A cut is where colours (histogram of hue, saturation and value) and picture (thumbnails) both change, by far
    more than around it, and where *no* frame just before has the colours of *any* just after: after a flash
    they are what they were. A camera that moves fast changes the picture at every frame, so that no change stands
    out. Only thumbnails are kept, so a clip of any length may be given frame by frame.

    Args:
        frames_hwc_bgr_u8: ``(H, W, 3)`` uint8 BGR each; a change of size is a cut.
        options: None takes the usual ones.
    Returns:
        Ranges of frame indices, one a shot, that together are the whole sequence.
    """
    options = options or SceneOptions()
    thumbnails: list[np.ndarray] = []
    histograms: list[np.ndarray] = []
    sizes: list[tuple[int, ...]] = []
    for frame in frames_hwc_bgr_u8:
        small = cv2.resize(frame, _THUMBNAIL_PX, interpolation=cv2.INTER_AREA)
        thumbnails.append(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32))
        histograms.append(_histogram(small))
        sizes.append(frame.shape)
    if not thumbnails:
        return []
    pictures, colours = np.stack(thumbnails), np.stack(histograms)
    forced = [index for index in range(1, len(sizes)) if sizes[index] != sizes[index - 1]]
    starts = sorted({0, *forced, *_cuts(pictures, colours, options)})
    kept = [0]
    for start in starts[1:]:
        if start - kept[-1] >= options.shortest_frames or start in forced:
            kept.append(start)
    if len(kept) > 1 and len(sizes) - kept[-1] < options.shortest_frames and kept[-1] not in forced:
        kept.pop()
    return [range(low, high) for low, high in zip(kept, [*kept[1:], len(sizes)], strict=True)]


def _histogram(small: np.ndarray) -> np.ndarray:
    hsv = cv2.cvtColor(small, cv2.COLOR_BGR2HSV)
    counts = cv2.calcHist([hsv], [0, 1, 2], None, list(_BINS), [0, 180, 0, 256, 0, 256])
    return np.asarray(counts.ravel() / counts.sum(), np.float32)


def _cuts(pictures: np.ndarray, colours: np.ndarray, options: SceneOptions) -> list[int]:
    count = len(pictures)
    colour = _colour_change(colours[:-1], colours[1:])
    picture = np.abs(pictures[1:] - pictures[:-1]).mean(axis=(1, 2))
    cuts: list[int] = []
    # Both at once: colours stay when the camera turns, and a fade changes both, but over many frames.
    strength = colour * picture
    reach = options.shortest_frames
    candidates = np.flatnonzero((colour >= options.histogram_change) & (picture >= options.picture_change)) + 1
    for index in candidates.tolist():
        around = np.r_[strength[max(0, index - 1 - reach) : index - 1], strength[index : index + reach]]
        if len(around) and strength[index - 1] < options.stands_out * np.median(around):
            continue
        before = np.arange(max(0, index - 3), index)
        after = np.arange(index, min(count, index + 3))
        pairs = np.stack(np.meshgrid(before, after), axis=-1).reshape(-1, 2)
        alike = _colour_change(colours[pairs[:, 0]], colours[pairs[:, 1]]) < options.histogram_change
        if not alike.any():
            cuts.append(index)
    return cuts


def _colour_change(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Share of pixels that changed their bin, at least."""
    return np.asarray(np.abs(first - second).sum(axis=-1) / 2)
