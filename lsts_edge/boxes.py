"""The boxes of one picture: where, how sure, which class, and what their corners mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from lsts_edge.errors import OptionError, PackageMissing, ShapeError

if TYPE_CHECKING:
    import supervision

__all__ = ["Boxes", "Corners"]

Corners = Literal["edges", "inclusive"]
_CORNERS = get_args(Corners)
_LAST_CORNER = np.array([0, 0, 1, 1], np.float32)


@dataclass(frozen=True, eq=False, repr=False)
class Boxes:
    """D boxes of one picture.

    With corners ``edges`` a box is ``x2 - x1`` wide (COCO, YOLOX); with ``inclusive`` both corner pixels belong to it,
    so that it is ``x2 - x1 + 1`` wide (the R-FCN family). Two are equal where rule and numbers are.

    Attributes:
        xyxy_px: ``(D, 4)`` float32, x1, y1, x2, y2 in pixels.
        scores: ``(D,)`` float32, 0 to 1.
        labels: ``(D,)`` int64, index of the class.
        corners: ``edges`` or ``inclusive``.

    Raises:
        ShapeError: if the arrays do not fit each other, or are no numbers of that kind.
        OptionError: if the corner rule is neither.
    """

    xyxy_px: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    corners: Corners = "edges"

    def __post_init__(self) -> None:
        if self._is_as_it_should_be():
            return
        arrays = [np.asarray(value) for value in (self.xyxy_px, self.scores, self.labels)]
        count = len(arrays[1]) if arrays[1].ndim else 0
        shapes_fit = [array.shape for array in arrays] == [(count, 4), (count,), (count,)]
        if not shapes_fit or [array.dtype.kind for array in arrays] not in (list("ffi"), list("ffu")):
            raise ShapeError(
                "boxes",
                got=", ".join(f"{array.dtype} {array.shape}" for array in arrays),
                expected="float (D, 4), float (D,), integer (D,)",
                fix="Give as many boxes as scores and labels.",
            )
        if self.corners not in get_args(Corners):
            expected = " or ".join(get_args(Corners))
            raise OptionError("corners of boxes", got=repr(self.corners), expected=expected, fix="Name the rule.")
        for name, array, dtype in zip(
            ("xyxy_px", "scores", "labels"), arrays, (np.float32, np.float32, np.int64), strict=True
        ):
            object.__setattr__(self, name, array.astype(dtype, copy=False))

    def _is_as_it_should_be(self) -> bool:
        """The usual case, told in a fraction of the time: every frame makes a few of these."""
        xyxy, scores, labels = self.xyxy_px, self.scores, self.labels
        return (
            all(type(array) is np.ndarray for array in (xyxy, scores, labels))
            and xyxy.dtype == np.float32
            and scores.dtype == np.float32
            and labels.dtype == np.int64
            and scores.ndim == 1
            and xyxy.shape == (len(scores), 4)
            and labels.shape == scores.shape
            and self.corners in _CORNERS
        )

    @classmethod
    def empty(cls, corners: Corners = "edges") -> Boxes:
        """No box."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), corners)

    @classmethod
    def of_slots(cls, slots: Mapping[str, npt.NDArray[Any]], corners: Corners) -> Boxes:
        """What networks found: ``boxes``, ``scores`` and ``labels``, by the rule that their manifest states."""
        return cls(slots["boxes"], slots["scores"], slots["labels"], corners)

    @classmethod
    def join(cls, parts: Sequence[Boxes]) -> Boxes:
        """All boxes of ``parts``, of which there is at least one, by the rule of the first."""
        alike = [part.with_corners(parts[0].corners) for part in parts]
        return cls(
            np.concatenate([part.xyxy_px for part in alike]),
            np.concatenate([part.scores for part in alike]),
            np.concatenate([part.labels for part in alike]),
            parts[0].corners,
        )

    def __len__(self) -> int:
        return len(self.scores)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Boxes):
            return NotImplemented
        return self.corners == other.corners and all(
            np.array_equal(mine, theirs)
            for mine, theirs in (
                (self.xyxy_px, other.xyxy_px),
                (self.scores, other.scores),
                (self.labels, other.labels),
            )
        )

    __hash__ = None  # type: ignore[assignment]  # arrays can change

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {getattr(self, name).shape}" for name in ("xyxy_px", "scores", "labels"))
        return f"Boxes({shapes}, {self.corners})"

    def select(self, which: npt.NDArray[Any]) -> Boxes:
        """The boxes of a ``(D,)`` bool mask, or those at integer indices, in their order."""
        return Boxes(self.xyxy_px[which], self.scores[which], self.labels[which], self.corners)

    def with_corners(self, corners: Corners) -> Boxes:
        """The same areas by the rule given."""
        if corners == self.corners:
            return self
        step = np.float32(1 if corners == "edges" else -1)
        return dataclasses.replace(self, xyxy_px=self.xyxy_px + step * _LAST_CORNER, corners=corners)

    def as_edges(self) -> Boxes:
        """The same areas with corners as edges: inclusive ones gain a pixel at the right and the bottom."""
        return self.with_corners("edges")

    def iou(self, other: Boxes) -> npt.NDArray[np.float64]:
        """Intersection over union of each box with each of ``other``, ``(D, E)``; an empty box overlaps nothing."""
        a, b = self._edges64(), other._edges64()
        low = np.maximum(a[:, None, :2], b[None, :, :2])
        high = np.minimum(a[:, None, 2:], b[None, :, 2:])
        inter = np.clip(high - low, 0, None).prod(axis=2)
        areas = (np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (a, b))
        union = next(areas)[:, None] + next(areas)[None, :] - inter
        return np.asarray(inter / np.maximum(union, 1e-12), np.float64)

    def to_coco(self, image_id: int, category_ids: Sequence[int] | Mapping[int, int]) -> list[dict[str, Any]]:
        """Rows of a COCO result file: ``image_id``, ``category_id``, ``bbox`` as x, y, width, height, and ``score``.

        Args:
            image_id: of the picture.
            category_ids: COCO's id of each class, by label.
        """
        edges = self._edges64()
        bboxes = np.concatenate((edges[:, :2], edges[:, 2:] - edges[:, :2]), axis=1).tolist()
        return [
            {"image_id": image_id, "category_id": category_ids[label], "bbox": bbox, "score": score}
            for bbox, score, label in zip(bboxes, self.scores.tolist(), self.labels.tolist(), strict=True)
        ]

    def to_supervision(self) -> supervision.Detections:
        """The same boxes for the package supervision, to draw, track or count with.

        Raises:
            PackageMissing: if supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise PackageMissing(
                "boxes for supervision",
                got="no package supervision",
                expected="supervision",
                fix="Run: pip install 'lsts-edge[video]'",
            ) from error
        return supervision.Detections(xyxy=self.as_edges().xyxy_px, confidence=self.scores, class_id=self.labels)

    def _edges64(self) -> npt.NDArray[np.float64]:
        wide = self.xyxy_px.astype(np.float64)
        return wide if self.corners == "edges" else wide + _LAST_CORNER
