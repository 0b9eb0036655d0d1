"""The result of ``bench sweep``: time, energy and accuracy of a bundle at each keyframe interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lsts_edge.benchmarks.compare_result import EntryAccuracy
from lsts_edge.benchmarks.conditions import Conditions
from lsts_edge.benchmarks.engine_facts import EngineFacts
from lsts_edge.benchmarks.envelope import BundleFacts, Result
from lsts_edge.benchmarks.harness import PairedRatio, RateSummary
from lsts_edge.benchmarks.timed_clip import ClipFacts

__all__ = ["SweepData", "SweepResult", "SweepRow", "SweepSettings"]


@dataclass(frozen=True)
class SweepRow:
    """One interval; ``ratio_to_shortest`` is how many times faster than the shortest interval, round by round."""

    keyframe_interval: int
    model: RateSummary
    ratio_to_shortest: PairedRatio
    energy_mj_per_frame: float | None
    energy_reason: str | None
    accuracy: EntryAccuracy | None = None


@dataclass(frozen=True)
class SweepSettings:
    """What was swept over what; ``annotations`` names a file."""

    intervals: tuple[int, ...]
    rounds: int
    frames_per_round: int
    seed: int
    engine: EngineFacts
    clip: ClipFacts
    annotations: str | None


@dataclass(frozen=True)
class SweepData:
    """One row per interval."""

    rows: tuple[SweepRow, ...]


@dataclass(frozen=True, kw_only=True)
class SweepResult(Result):
    """Keyframe intervals side by side."""

    kind: Literal["sweep"] = "sweep"
    bundle: BundleFacts
    conditions: Conditions
    settings: SweepSettings
    data: SweepData
