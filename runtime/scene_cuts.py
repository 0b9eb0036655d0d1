"""Where a stream's shots begin, told frame by frame: what was found in one shot must not be carried into the next."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from lsts_edge.errors import OptionError
from lsts_edge.kinds import check_fields

__all__ = ["Glance", "SceneOptions", "SceneWatch", "is_cut"]

_SAMPLED_PX = (128, 72)  # width, height: picked, so that a large frame costs no more than a small one
_THUMBNAIL_PX = (64, 36)
_BINS = (8, 4, 4)  # of hue, saturation, value
_PLAIN = 2.0  # a picture whose brightness varies less, of 255, shows nothing


@dataclass(frozen=True)
class SceneOptions:
    """What counts as a cut.

    Attributes:
        histogram_change: share of the pixels that must change colour.
        picture_change: mean difference of brightness, of 255, that two shots show at the same place.
        likeness: correlation of brightness that two shots do not reach. A flash or a lamp changes colours and
            brightness, but what was light stays lighter than what was dark.
        stands_out: how many times larger than around it the product of both changes is at a cut.
        shortest_frames: a shot is not shorter; a flash or a blink of another picture is no shot.
    """

    histogram_change: float = 0.3
    picture_change: float = 10.0
    likeness: float = 0.9
    stands_out: float = 8.0
    shortest_frames: int = 5

    def __post_init__(self) -> None:
        check_fields(self)
        fits = 0 < self.histogram_change < 1 and self.picture_change > 0 and 0 < self.likeness <= 1
        if not fits or not self.stands_out >= 1:
            got = f"{self.histogram_change}, {self.picture_change}, {self.likeness}, {self.stands_out}"
            expected = "0..1, above 0, above 0 and at most 1, at least 1"
            raise OptionError("options of scenes", got=got, expected=expected, fix="Leave them out.")
        if not 2 <= self.shortest_frames <= 1000:
            raise OptionError(
                "shortest shot", got=self.shortest_frames, expected="2..1000 frames", fix="Leave it at 5."
            )


class Glance:
    """A frame, small: all that cuts are found by.

    Attributes:
        shape: of the frame.
    """

    def __init__(self, frame_hwc_bgr_u8: np.ndarray) -> None:
        """Make the thumbnail, ``(36, 64, 3)`` uint8; the rest when it is asked for."""
        self.shape = frame_hwc_bgr_u8.shape
        sampled = cv2.resize(frame_hwc_bgr_u8, _SAMPLED_PX, interpolation=cv2.INTER_NEAREST)
        self._small = cv2.resize(sampled, _THUMBNAIL_PX, interpolation=cv2.INTER_AREA)

    def picture_change(self, other: Glance) -> float:
        """Mean difference of brightness, of 255."""
        return float(cv2.norm(self._gray, other._gray, cv2.NORM_L1)) / self._gray.size

    def colour_change(self, other: Glance) -> float:
        """Share of pixels that changed their bin of colour, at least."""
        return float(np.abs(self._histogram - other._histogram).sum()) / 2

    def change(self, other: Glance) -> float:
        """Both at once: colours stay when the camera turns, and a fade changes both, but over many frames."""
        picture = self.picture_change(other)
        return picture * self.colour_change(other) if picture else 0.0

    def likeness(self, other: Glance) -> float:
        """Correlation of brightness, -1 to 1; 1 for two pictures that show nothing, 0 for one that does not."""
        plain = (self._contrast < _PLAIN, other._contrast < _PLAIN)
        if any(plain):
            return float(all(plain))
        both = float((self._deviation * other._deviation).mean())
        return both / (self._contrast * other._contrast)

    @functools.cached_property
    def _gray(self) -> np.ndarray:
        return cv2.cvtColor(self._small, cv2.COLOR_BGR2GRAY)

    @functools.cached_property
    def _deviation(self) -> np.ndarray:
        gray = self._gray.astype(np.float32)
        return np.asarray(gray - gray.mean())

    @functools.cached_property
    def _contrast(self) -> float:
        return float(self._deviation.std())

    @functools.cached_property
    def _histogram(self) -> np.ndarray:
        hsv = cv2.cvtColor(self._small, cv2.COLOR_BGR2HSV)
        counts = cv2.calcHist([hsv], [0, 1, 2], None, list(_BINS), [0, 180, 0, 256, 0, 256])
        return np.asarray(counts.ravel() / counts.sum(), np.float32)


def is_cut(before: Sequence[Glance], after: Sequence[Glance], around: Iterable[float], options: SceneOptions) -> bool:
    """Whether a shot begins with the first frame of ``after``.

    Colours and picture both change, by far more than around it, and *no* frame just before has the colours of *any*
    just after, or their light and dark: after a flash they are what they were. A camera that moves fast changes the
    picture at every frame, so that no change stands out.

    Args:
        before: the last frames of the shot, in order; at least one.
        after: the frames that follow; at least one.
        around: ``Glance.change`` of pairs of neighbours around the place, that place left out; not asked for where
            colours or picture did not change.
        options: what counts.
    """
    last, first = before[-1], after[0]
    picture = first.picture_change(last)
    if picture < options.picture_change:
        return False
    colour = first.colour_change(last)
    if colour < options.histogram_change:
        return False
    nearby = [*around]
    if nearby and picture * colour < options.stands_out * float(np.median(nearby)):
        return False
    return all(
        two.colour_change(one) >= options.histogram_change and two.likeness(one) < options.likeness
        for one in before
        for two in after
    )


class SceneWatch:
    """Says of each frame of a stream whether a new shot begins with it, from what came before it alone.

    Where shots are cut afterwards, frames that follow tell a flash from a cut; here a frame that shows another picture
    is one at once, and so is the return from it.
    """

    KEPT_FRAMES = 3

    def __init__(self, options: SceneOptions | None = None) -> None:
        """Wait for the first frame; None takes the usual options."""
        self._options = options or SceneOptions()
        self._shot: deque[Glance] = deque(maxlen=self.KEPT_FRAMES)
        # Lives on across a cut, so that not every frame of a camera thrown around is one.
        self._neighbours: deque[tuple[Glance, Glance]] = deque(maxlen=self._options.shortest_frames)

    def arrive(self, frame_hwc_bgr_u8: np.ndarray) -> bool:
        """Look at the next frame.

        Args:
            frame_hwc_bgr_u8: ``(H, W, 3)`` uint8 BGR; a picture that is not to be trusted is better not shown.
        Returns:
            Whether it begins a shot. The first frame of all does not: nothing can be carried into it.
        """
        glance = Glance(frame_hwc_bgr_u8)
        cut = False
        if self._shot:
            around = (second.change(first) for first, second in self._neighbours)
            cut = is_cut(self._shot, (glance,), around, self._options)
            self._neighbours.append((self._shot[-1], glance))
        if cut:
            self._shot.clear()
        self._shot.append(glance)
        return cut

    def reset(self) -> None:
        """Forget what came before."""
        self._shot.clear()
        self._neighbours.clear()
