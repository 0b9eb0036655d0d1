"""Where a bundle comes from and what was measured on the way: weights, wrapped detector, parity, study."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lsts_edge.bundle.check import check, check_digest, check_texts

__all__ = ["Cell", "ParityInfo", "StudyInfo", "WeightsInfo", "WrappedInfo"]

MAX_LOWERED_TOLERANCE = 0.25
MAX_COUNT = 10**12
MAX_TEXT_CHARS = 500
MAX_ASSUMPTIONS = 64
MAX_STUDY_ROWS = 256
MAX_STUDY_COLUMNS = 32
MAX_COLUMN_CHARS = 64

Cell = int | float | str | bool | None
"""One entry of a study's table; None is 'not measured'."""


@dataclass(frozen=True)
class WeightsInfo:
    """Where the weights come from and under which licence they may be used."""

    source: Literal["random", "file"]
    licence: str
    description: str
    seed: int | None = None
    file: str | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        if self.sha256 is not None:
            check_digest("weights.sha256", self.sha256)


@dataclass(frozen=True)
class WrappedInfo:
    """The detector of somebody else that a bundle holds: its file, its family, and what was assumed about it."""

    file: str
    sha256: str
    family: str
    assumptions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        plain = bool(self.file) and not set("/\\") & set(self.file)
        check(plain, "wrapped.file", ascii(self.file)[:80], "a file name without folders")
        check_digest("wrapped.sha256", self.sha256)
        found = f"{len(self.assumptions)} lines"
        check(len(self.assumptions) <= MAX_ASSUMPTIONS, "wrapped.assumptions", found, f"at most {MAX_ASSUMPTIONS}")
        check_texts("wrapped", (self.file, self.family, *self.assumptions), MAX_TEXT_CHARS)


@dataclass(frozen=True)
class ParityInfo:
    """What was measured before the bundle was published.

    ``reference`` is what the recording holds: torch's outputs, those of the wrapped file itself (``original``) or, in a
    bundle with graphs below fp32, those of its own split programs on ``backend``; their float32 graphs have matched
    torch, or the file, before.
    """

    tensor_tolerance: float
    frames: int
    max_tensor_error: float
    boxes: int
    unmatched: int
    near_threshold: int
    backend: str
    form: str
    reference: Literal["torch", "original", "own-programs"] = "torch"

    def __post_init__(self) -> None:
        limit = MAX_LOWERED_TOLERANCE if self.reference == "own-programs" else 1e-4
        check(0 < self.tensor_tolerance <= limit, "parity.tensor_tolerance", self.tensor_tolerance, f"0..{limit}")
        check(0 <= self.max_tensor_error <= 1e6, "parity.max_tensor_error", self.max_tensor_error, "0..1e6")
        for what in ("frames", "boxes", "unmatched", "near_threshold"):
            value = getattr(self, what)
            check(0 <= value <= MAX_COUNT, f"parity.{what}", value, f"0..{MAX_COUNT}")

    @classmethod
    def merged(cls, clips: Sequence[ParityInfo], engines: Sequence[ParityInfo] = ()) -> ParityInfo:
        """One summary of several comparisons with the same limits.

        Args:
            clips: of different frames, at least one: frames and boxes are added up.
            engines: the same frames again on another engine: only its name and its largest error count.
        """
        everything = (*clips, *engines)
        return dataclasses.replace(
            clips[0],
            frames=sum(info.frames for info in clips),
            boxes=sum(info.boxes for info in clips),
            unmatched=sum(info.unmatched for info in clips),
            near_threshold=sum(info.near_threshold for info in clips),
            max_tensor_error=max(info.max_tensor_error for info in everything),
            backend=", ".join(dict.fromkeys(info.backend for info in everything)),
        )


@dataclass(frozen=True)
class StudyInfo:
    """What was measured when the way between keyframes was chosen: a table of rows with the same columns."""

    description: str
    rows: tuple[Mapping[str, Cell], ...]

    def __post_init__(self) -> None:
        check(1 <= len(self.rows) <= MAX_STUDY_ROWS, "study.rows", f"{len(self.rows)} rows", f"1..{MAX_STUDY_ROWS}")
        columns = set(self.rows[0])
        expected = f"1..{MAX_STUDY_COLUMNS}, the same in every row"
        check(1 <= len(columns) <= MAX_STUDY_COLUMNS, "study: columns", f"{len(columns)} columns", expected)
        check_texts("study: column", columns, MAX_COLUMN_CHARS)
        for index, row in enumerate(self.rows):
            check(set(row) == columns, f"study.rows[{index}]", sorted(row)[:8], expected)
            for column, value in row.items():
                where = f"study.rows[{index}].{ascii(column)[:80]}"
                if isinstance(value, str):
                    check_texts(where, [value], MAX_TEXT_CHARS)
                elif value is not None:
                    check(abs(value) <= MAX_COUNT, where, value, f"at most {MAX_COUNT}")
        check_texts("study.description", [self.description], MAX_TEXT_CHARS)
