"""The result of ``lsts-edge bench elsewhere``: networks and rivals on the same pictures, which none was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lsts_edge.benchmarks.envelope import Result

__all__ = ["ElsewhereData", "ElsewhereResult", "ElsewhereRow", "ElsewhereSettings", "Figure"]


@dataclass(frozen=True)
class Figure:
    """A value and its 95 % interval over the sequences."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ElsewhereRow:
    """One model on one set of pictures.

    Attributes:
        model: its name.
        file: its file, without folders.
        sha256: of the file, or of the bundle's manifest.
        keyframe_interval: None: every picture by itself.
        annotations: folder and name of the annotation file.
        images: pictures measured.
        sequences: they come from.
        objects: boxes to be found.
        ap50_class_agnostic: all classes counted as one.
        ap50: mean over the classes that occur.
        ap50_per_class: by class; None where it does not occur.
        difference: class-agnostic AP50 less that of each rival, paired over the sequences.
    """

    model: str
    file: str
    sha256: str
    keyframe_interval: int | None
    annotations: str
    images: int
    sequences: int
    objects: int
    ap50_class_agnostic: Figure
    ap50: Figure
    ap50_per_class: Mapping[str, float | None]
    difference: Mapping[str, Figure]


@dataclass(frozen=True)
class ElsewhereSettings:
    """``truth``: who drew the boxes of each file; ``resamples``: of the bootstrap."""

    truth: Mapping[str, str]
    resamples: int


@dataclass(frozen=True)
class ElsewhereData:
    """Rows, one for each model and file."""

    rows: tuple[ElsewhereRow, ...]


@dataclass(frozen=True, kw_only=True)
class ElsewhereResult(Result):
    """Accuracy on pictures from elsewhere."""

    kind: Literal["elsewhere"] = "elsewhere"
    bundle: None = None
    conditions: None = None
    settings: ElsewhereSettings
    data: ElsewhereData
