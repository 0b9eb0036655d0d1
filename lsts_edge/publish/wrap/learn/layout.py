"""How a dense detector's outputs lie on its grids, and what of them is carried from frame to frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lsts_edge.errors import DetectorSpecError
from lsts_edge.export.detectors.spec import Column, DetectorSpec
from lsts_edge.publish.wrap.subject import Size

__all__ = ["LIGHT_SCALE", "SHIFT", "DenseLayout"]

Array = npt.NDArray[Any]

LIGHT_SCALE = 0.5
SHIFT = 7.0
"""Scores are carried as logits, at most so far from 0. The background's is moved by as much, so that it is 0: what is
sampled outside the map is background.
"""
_LOG_SIZE = 6.0  # of a box of ``cells``: e^6 strides is larger than any picture


class CarriedLimits(NamedTuple):
    """Least and most: of a box's log size, of a probability before it becomes a logit, of a logit."""

    log_size: tuple[float, float]
    probability: tuple[float, float]
    logit: tuple[float, float]


@dataclass(frozen=True)
class DenseLayout:
    """A detector with a row of numbers for each cell of its levels.

    Its *table* ``(N, F)`` is what the file gives, in the order box, objectness where there is one, classes. Its *maps*
    ``(F, h, w)``, one a level, are what is carried: the same with scores as logits.

    Attributes:
        spec: of the detector.
        size: of the picture.
        classes: how many.
    """

    spec: DetectorSpec
    size: Size
    classes: int

    @classmethod
    def of(cls, spec: DetectorSpec, size: Size, classes: int) -> DenseLayout:
        """At one size.

        Raises:
            DetectorSpecError: if the detector is none of this kind, or has no half of this size.
        """
        dense = spec.box_form in ("cells", "distances") and spec.background == "none" and spec.score_form != "softmax"
        dense &= not spec.columns or {"box", "classes"} <= set(spec.columns) <= {"box", "objectness", "classes"}
        plain = spec.layout == "nchw" and spec.dtype == "float32" and spec.sizes == "free"
        doubling = all(wide == 2 * fine for fine, wide in zip(spec.strides, spec.strides[1:], strict=False))
        multiple = 2 * max(spec.size_multiple_px, *spec.strides, 1)
        if not (dense and plain and doubling and len(spec.strides) > 1):
            raise DetectorSpecError(
                "--learn: the detector",
                got=f"family {spec.family}, box_form {spec.box_form}, strides {list(spec.strides)}, sizes {spec.sizes}",
                expected="boxes in cells or distances on levels of doubling strides, at any size, in float32",
                fix="Wrap it without --learn: moved boxes work for every detector.",
            )
        if any(side % multiple for side in size):
            got, expected = f"{size[1]}x{size[0]}", f"multiples of {multiple}: half of it must be a size too"
            raise DetectorSpecError("--learn: the input", got=got, expected=expected, fix="Give --size.")
        return cls(spec, size, classes)

    @property
    def box_numbers(self) -> int:
        """Numbers of a box."""
        return self.spec.box_numbers

    @property
    def objectness(self) -> bool:
        """Whether a cell has a score of its own, beside those of the classes."""
        return "objectness" in self.spec.columns

    @property
    def width(self) -> int:
        """F, the numbers of a cell."""
        return self.box_numbers + int(self.objectness) + self.classes

    @property
    def groups(self) -> tuple[int, ...]:
        """Channels that are gated together: box, objectness, classes."""
        return (self.box_numbers, *([1] if self.objectness else []), self.classes)

    @property
    def shift(self) -> Array:
        """``(F,)`` what is added to the logits: ``SHIFT`` where the score says background."""
        shift = np.zeros(self.width, np.float32)
        first = self.box_numbers
        shift[first : first + 1 if self.objectness else self.width] = SHIFT
        return shift

    @property
    def limits(self) -> CarriedLimits:
        """Of what is carried."""
        least = 1 / (1 + float(np.exp(SHIFT)))
        return CarriedLimits((-_LOG_SIZE, _LOG_SIZE), (least, 1 - least), (-SHIFT, SHIFT))

    def grids(self, scale: float = 1.0) -> list[tuple[int, int]]:
        """Rows and columns of each level, of the picture or of one of its ``scale``."""
        height, width = (round(side * scale) for side in self.size)
        return [(height // stride, width // stride) for stride in self.spec.strides]

    def canonical(self) -> DetectorSpec:
        """The spec of a table."""
        columns: tuple[Column, ...] = ("box", "objectness", "classes") if self.objectness else ("box", "classes")
        return dataclasses.replace(self.spec, outputs={"rows": ("table",)}, columns=columns, transposed=False)

    def table(self, outputs: Mapping[str, Array]) -> Array:
        """``(N, F)`` float32 of the file's outputs."""
        spec = self.spec

        def rows(names: tuple[str, ...], transposed: bool) -> Array:
            parts = [outputs[name].reshape(outputs[name].shape[-2:]) for name in names]
            return np.concatenate([part.T if transposed else part for part in parts])

        if not spec.columns:
            boxes = rows(spec.outputs["boxes"], False)
            return np.concatenate((boxes, rows(spec.outputs["scores"], spec.transposed)), axis=1).astype(np.float32)
        found = rows(spec.outputs["rows"], spec.transposed)
        widths = {"box": self.box_numbers, "objectness": 1, "classes": self.classes}
        ends = np.cumsum([widths[column] for column in spec.columns])
        place = {column: found[:, end - widths[column] : end] for column, end in zip(spec.columns, ends, strict=True)}
        return np.concatenate([place[name] for name in widths if name in place], axis=1).astype(np.float32)

    def maps(self, table: Array, scale: float = 1.0) -> list[Array]:
        """``(F, h, w)`` of each level."""
        box = table[:, : self.box_numbers].copy()
        if self.spec.box_form == "cells":
            box[:, 2:] = box[:, 2:].clip(*self.limits.log_size)
        scores = table[:, self.box_numbers :]
        if self.spec.score_form == "probability":
            scores = scores.clip(*self.limits.probability)
            scores = np.log(scores / (1 - scores))
        state = np.concatenate((box, scores.clip(*self.limits.logit)), axis=1) + self.shift
        sizes = self.grids(scale)
        parts = np.split(state, np.cumsum([height * width for height, width in sizes])[:-1])
        return [part.T.reshape(self.width, *size) for part, size in zip(parts, sizes, strict=True)]

    def table_of_maps(self, maps: list[Array]) -> Array:
        """What ``maps`` made of, ``(N, F)``, in the file's form of scores."""
        table = np.concatenate([one.reshape(self.width, -1).T for one in maps]) - self.shift
        if self.spec.score_form == "probability":
            table[:, self.box_numbers :] = 1 / (1 + np.exp(-table[:, self.box_numbers :]))
        return np.asarray(table, np.float32)
