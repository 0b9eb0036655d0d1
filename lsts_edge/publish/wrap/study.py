"""What was measured when a detector was wrapped: the table of ways, what it stands on, and what was chosen and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lsts_edge.bundle.propagation import WayKind, schedule_text
from lsts_edge.bundle.provenance import Cell
from lsts_edge.bundle.strict_json import canonical_json, decode, parse_json
from lsts_edge.errors import BundleError, OptionError

__all__ = [
    "Agreed",
    "Ap50",
    "AtDistance",
    "ClipUsed",
    "DetectorUsed",
    "DrawnBox",
    "LeftOut",
    "MachineUsed",
    "Sample",
    "Study",
    "StudyRow",
    "TimeMs",
    "TruthUsed",
    "WorstFrame",
]

STUDY_SCHEMA = 1
MAX_BYTES = 16 << 20

Half = Literal["choose", "state", "both"]
Precision = Literal["fp32", "int8"]


@dataclass(frozen=True)
class TimeMs:
    """Milliseconds of a frame, from picture to boxes.

    Attributes:
        mean: of every frame's mean, times the paired ratio: what disturbed one way alone does not count.
        p50: of keyframes and propagated frames, mixed as the interval has them.
        p99: likewise.
        n: timed frames.
    """

    mean: float
    p50: float
    p99: float
    n: int


@dataclass(frozen=True)
class Agreed:
    """AP50 against the detector's own boxes on every frame; None where that finds nothing.

    Attributes:
        pooled: over all boxes.
        low: lower end of its 95 % interval over the clips.
        high: upper end.
        classes: mean over the classes with enough boxes.
        at_lower: pooled, where boxes are true from a score 0.1 lower on.
        at_upper: pooled, 0.1 higher.
    """

    pooled: float | None
    low: float | None
    high: float | None
    classes: float | None
    at_lower: float | None
    at_upper: float | None


@dataclass(frozen=True)
class AtDistance:
    """Pooled agreement of the frames that are ``distance`` frames after their keyframe."""

    distance: int
    value: float | None


@dataclass(frozen=True)
class Ap50:
    """AP50 against labels, all classes together, with its 95 % interval over the clips."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class StudyRow:
    """One way of running the detector.

    Attributes:
        way: kind of what fills the frames between keyframes.
        keyframe_interval: frames from one keyframe to the next, at most; 1 where every frame is run alike.
        width_px: of the input on keyframes; of every frame's for ``smaller-input``.
        height_px: likewise.
        small_width_px: of the input on propagated frames, for ``fused``.
        small_height_px: likewise.
        engine: ``onnxruntime`` or ``openvino``.
        precision: of the graphs.
        time_ms: a frame.
        keyframe_ms: median of keyframes.
        propagated_ms: median of propagated frames; None where there are none.
        cost: time as a share of the detector's on every frame, same engine and precision, paired.
        speedup: its inverse.
        agreement: with the detector on every frame in float32, on the clips of ``half``.
        by_distance: the same by distance from the keyframe.
        new_object_recall: share of objects new since the keyframe that propagated frames show.
        misplaced_per_frame: loose or double boxes of a propagated frame.
        false_per_frame: boxes of a propagated frame that lie on nothing.
        ap50: against labels, where the clips have any.
        half: which half of the clips states these figures.
        choosing_agreement: pooled, on the half of the clips that chose.
        chosen: the bundle's default.
        on_front: no way that costs as much or less agrees better, by the figures stated here.
        reason: why it was chosen, or is named; may be empty.
        keyframe_motion: share of their size that boxes move before a keyframe is due; None: the interval alone decides.
        frames_per_keyframe: as they were, on the clips of ``half``.
    """

    way: WayKind
    keyframe_interval: int | float
    width_px: int
    height_px: int
    small_width_px: int | None
    small_height_px: int | None
    engine: str
    precision: Precision
    time_ms: TimeMs
    keyframe_ms: float
    propagated_ms: float | None
    cost: float
    speedup: float
    agreement: Agreed
    by_distance: tuple[AtDistance, ...]
    new_object_recall: float | None
    misplaced_per_frame: float | None
    false_per_frame: float | None
    ap50: Ap50 | None
    half: Half
    choosing_agreement: float | None
    chosen: bool = False
    on_front: bool = False
    reason: str = ""
    keyframe_motion: float | None = None
    frames_per_keyframe: float | None = None

    @property
    def schedule(self) -> str:
        """Such as ``3``, or ``6/0.1``: see ``schedule_text``."""
        return schedule_text(self.keyframe_interval, self.keyframe_motion)

    @property
    def label(self) -> str:
        """Such as ``flow-boxes 3, 448x256``, without engine and precision."""
        schedule = f" {self.schedule}" if self.keyframe_interval > 1 else ""
        small = "" if self.small_width_px is None else f" + {self.small_width_px}x{self.small_height_px}"
        return f"{self.way}{schedule}, {self.width_px}x{self.height_px}{small}"

    def cells(self) -> dict[str, Cell]:
        """Flat, as a manifest keeps it."""
        return {
            "way": self.way,
            "keyframe_interval": self.keyframe_interval,
            "keyframe_motion": self.keyframe_motion,
            "frames_per_keyframe": self.frames_per_keyframe,
            "width_px": self.width_px,
            "height_px": self.height_px,
            "small_width_px": self.small_width_px,
            "small_height_px": self.small_height_px,
            "engine": self.engine,
            "precision": self.precision,
            "mean_ms": self.time_ms.mean,
            "p50_ms": self.time_ms.p50,
            "p99_ms": self.time_ms.p99,
            "speedup": self.speedup,
            "agreement": self.agreement.pooled,
            "agreement_low": self.agreement.low,
            "agreement_high": self.agreement.high,
            "agreement_classes": self.agreement.classes,
            "agreement_at_lower": self.agreement.at_lower,
            "agreement_at_upper": self.agreement.at_upper,
            "new_object_recall": self.new_object_recall,
            "misplaced_per_frame": self.misplaced_per_frame,
            "ap50": None if self.ap50 is None else self.ap50.value,
            "chosen": self.chosen,
            "on_front": self.on_front,
        }


@dataclass(frozen=True)
class DetectorUsed:
    """The file that was wrapped: its name and SHA-256, family, what was assumed, classes and largest input."""

    file: str
    sha256: str
    family: str
    assumptions: tuple[str, ...]
    classes: tuple[str, ...]
    width_px: int
    height_px: int
    sizes: Literal["free", "fixed"]


@dataclass(frozen=True)
class TruthUsed:
    """From which score on the detector's own boxes are true, fixed before any way was measured, and by what.

    ``lower`` and ``upper`` are the scores of ``Agreed.at_lower`` and ``at_upper``; ``words`` tells people the source.
    """

    score: float
    lower: float
    upper: float
    source: Literal["given", "stills", "family"]
    words: str


@dataclass(frozen=True)
class MachineUsed:
    """Where times were measured: name, key that tells devices apart, versions of packages, and threads (None: all)."""

    name: str
    key: str
    packages: Mapping[str, str]
    threads: int | None = None


@dataclass(frozen=True)
class ClipUsed:
    """A clip, and how much of it was looked at; ``digest`` tells it from others, ``half`` what it is used for."""

    name: str
    digest: str
    width_px: int
    height_px: int
    frames: int
    shots: int
    frames_used: int
    half: Half


@dataclass(frozen=True)
class LeftOut:
    """A clip, or a part of one, that was not used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Sample:
    """What the figures stand on; ``words`` tells all to people.

    ``split_by`` says what the two halves are halves of; with ``labels`` labelled sequences state, other clips choose.
    """

    split_by: Literal["clip", "shot", "time", "labels"]
    choosing_frames: int
    stating_frames: int
    true_boxes: int
    timed_frames: int
    minutes: float
    words: str


@dataclass(frozen=True)
class DrawnBox:
    """A box in the frame's pixels, corners as edges, with its class's name."""

    x1_px: float
    y1_px: float
    x2_px: float
    y2_px: float
    score: float
    name: str


@dataclass(frozen=True)
class WorstFrame:
    """A frame in which the chosen way differs most from the detector; ``clip`` is the file's name, ``path`` the file.

    ``frame`` counts from the clip's start, ``distance`` from the keyframe; ``missed`` and ``wrong`` count boxes.
    """

    clip: str
    path: str
    frame: int
    distance: int
    missed: int
    wrong: int
    truth: tuple[DrawnBox, ...]
    found: tuple[DrawnBox, ...]


@dataclass(frozen=True)
class Study:
    """Everything that the page, the terminal and committed results tell of a wrapped detector.

    Attributes:
        name: of the bundle.
        detector: what was wrapped.
        truth: what agreement is measured against.
        machine: where times were measured.
        clips: used.
        left_out: not used.
        sample: what the figures stand on.
        min_agreement: asked for; None where a budget was.
        budget_ms: asked for.
        verdict: one or two sentences: what to run, how fast, how well, against what.
        command: how to run it.
        met: whether what was asked for is kept.
        rows: every way that was measured; one of them is chosen.
        worst: frames to look at.
        notes: what else a reader must know, a sentence each.
        bundle_digest: of the bundle that was written; None before.
    """

    name: str
    detector: DetectorUsed
    truth: TruthUsed
    machine: MachineUsed
    clips: tuple[ClipUsed, ...]
    left_out: tuple[LeftOut, ...]
    sample: Sample
    min_agreement: float | None
    budget_ms: float | None
    verdict: str
    command: str
    met: bool
    rows: tuple[StudyRow, ...]
    worst: tuple[WorstFrame, ...] = ()
    notes: tuple[str, ...] = ()
    bundle_digest: str | None = None
    schema: int = STUDY_SCHEMA

    def __post_init__(self) -> None:
        count = sum(row.chosen for row in self.rows)
        if count != 1 or self.schema != STUDY_SCHEMA:
            got = f"{count} chosen rows, schema {self.schema}"
            expected = f"one, schema {STUDY_SCHEMA}"
            raise OptionError("study", got=got, expected=expected, fix="Wrap the detector again.")

    @property
    def chosen(self) -> StudyRow:
        """The bundle's default."""
        return next(row for row in self.rows if row.chosen)

    def every_frame(self, row: StudyRow) -> StudyRow:
        """The detector on every frame, on the engine and in the precision of ``row``: what its cost is a share of."""
        alike = (one for one in self.rows if one.way == "every-frame")
        return next(one for one in alike if (one.engine, one.precision) == (row.engine, row.precision))

    def result_rows(self) -> Iterator[dict[str, Cell]]:
        """Flat rows as committed results have them, each with the score of truth and the bundle's digest."""
        for row in self.rows:
            yield {**row.cells(), "truth_score": self.truth.score, "bundle_digest": self.bundle_digest}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; ``from_json`` reads it back."""
        return dataclasses.asdict(self)

    def to_json(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self.to_dict())

    @classmethod
    def from_json(cls, raw: bytes) -> Study:
        """Read what ``to_json`` wrote.

        Raises:
            BundleError: if it is no study of this version.
        """
        return decode(cls, parse_json(raw, max_bytes=MAX_BYTES), "study")

    @classmethod
    def read(cls, path: Path) -> Study:
        """Read a file.

        Raises:
            BundleError: if there is none, or it is no study of this version.
        """
        try:
            with path.open("rb") as file:
                return cls.from_json(file.read(MAX_BYTES + 1))
        except OSError as error:
            fix = "Give the study.json that wrapping wrote."
            got = error.strerror or str(error)
            raise BundleError(f"study {path}", got=got, expected="a readable file", fix=fix) from error
