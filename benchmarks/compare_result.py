"""The result of ``bench compare``: who took part, how long each took, and how accurate each is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lsts_edge.benchmarks.conditions import Conditions
from lsts_edge.benchmarks.envelope import BundleFacts, Precision, Result
from lsts_edge.benchmarks.harness import LatencySummary, PairedRatio, RateSummary
from lsts_edge.benchmarks.timed_clip import ClipFacts

__all__ = [
    "Bound",
    "CompareData",
    "CompareResult",
    "CompareRow",
    "CompareSettings",
    "Difference",
    "EntryAccuracy",
    "EntryFacts",
    "PartTimes",
    "RatioAgainst",
]


@dataclass(frozen=True)
class EntryFacts:
    """Who takes part: a method on an engine, and in what its numbers are computed.

    Attributes:
        method: one of ``METHODS``, or a peer.
        engine: that runs it.
        provider: of the engine.
        precision: of its graphs and of the engine.
        input_px: height and width of the network's image.
        form: of LSTS; None without.
        joined: whether joined graphs run; None for a peer.
        bundle: digest; None for a peer.
        variant: tells it from another entry with the same label: its bundle's folder, say.
    """

    method: str
    engine: str
    provider: str
    precision: Precision
    input_px: tuple[int, int]
    form: str | None = None
    joined: bool | None = None
    bundle: str | None = None
    variant: str | None = None

    @property
    def what(self) -> str:
        """What runs: ``lsts custom joined``."""
        return " ".join(filter(None, (self.method, self.form, "joined" if self.joined else None)))

    @property
    def where(self) -> str:
        """On what: ``openvino bf16``."""
        provider = "" if self.provider == "cpu" else f" {self.provider}"
        return f"{self.engine}{provider} {self.precision.label}"

    @property
    def label(self) -> str:
        """Its name in the comparison, told to no other entry."""
        return ", ".join(filter(None, (self.what, self.where, self.variant)))


@dataclass(frozen=True)
class RatioAgainst(PairedRatio):
    """How many times faster than the entry labelled ``against``, over paired segments."""

    against: str


@dataclass(frozen=True)
class PartTimes:
    """Times of one part of every frame, by kind of frame.

    ``ratio_same_engine`` compares with the entry's own baseline (schedule alone); ``ratio_fastest_fp32`` with the
    fastest per-frame fp32 entry of all engines (schedule times precision times engine).
    """

    all: RateSummary
    keyframe: LatencySummary | None = None
    propagated: LatencySummary | None = None
    ratio_same_engine: RatioAgainst | None = None
    ratio_fastest_fp32: RatioAgainst | None = None


@dataclass(frozen=True)
class Bound:
    """What the schedule could give at most, and the share of a propagated frame outside its light graph."""

    schedule: float
    outside_light_share: float
    heavy_p50_ms: float
    light_p50_ms: float


@dataclass(frozen=True)
class EntryAccuracy:
    """AP50 of one entry on annotated video; ``ap50_all_classes`` None for a peer, whose classes are others."""

    images: int
    sequences: int
    keyframe_interval: int | float
    ap50_class_agnostic: float
    ap50_class_agnostic_interval: tuple[float, float]
    ap50_shared: Mapping[str, float | None]
    ap50_all_classes: float | None


@dataclass(frozen=True)
class CompareRow:
    """One entry: its times, p50 of its graphs by kind of frame where it tells them, and its accuracy if measured."""

    entry: EntryFacts
    boxes: int
    model: PartTimes
    frame_to_boxes: PartTimes
    graphs: Mapping[str, Mapping[str, float]]
    bound: Bound | None
    accuracy: EntryAccuracy | None = None


@dataclass(frozen=True)
class Difference:
    """A paired difference in AP50, with its 95 % interval."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class CompareSettings:
    """What was compared over what: ``methods`` says what each does, ``annotations`` and ``peers`` name files."""

    segments: int
    warmup_segments: int
    frames_per_segment: int
    keyframe_interval: int | float
    seed: int
    threads: int
    score_floor: float
    methods: Mapping[str, str]
    flow: str
    peers: tuple[str, ...]
    annotations: str | None
    clip: ClipFacts


@dataclass(frozen=True)
class CompareData:
    """The rows; who was ``left_out``, by label, and why; and AP50 of one of ours minus that of each other entry."""

    rows: tuple[CompareRow, ...]
    left_out: Mapping[str, str]
    fastest_per_frame_fp32: str | None
    accuracy_differences: Mapping[str, Mapping[str, Difference]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CompareResult(Result):
    """A comparison in one run on one machine."""

    kind: Literal["compare"] = "compare"
    bundle: BundleFacts
    conditions: Conditions
    settings: CompareSettings
    data: CompareData
