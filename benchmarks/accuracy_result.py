"""The result of ``lsts-edge evaluate``: accuracy of a bundle or checkpoint, one row per schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lsts_edge.benchmarks.envelope import Precision, Result
from lsts_edge.evaluation.coco import Accuracy

__all__ = ["AccuracyData", "AccuracyResult", "AccuracyRow", "AccuracySettings"]


@dataclass(frozen=True, kw_only=True)
class AccuracyRow(Accuracy):
    """What a model reaches at one schedule.

    Attributes:
        model: its name.
        bundle_digest: of the bundle, where one was run.
        checkpoint: name of the file, where one was run.
        checkpoint_sha256: its digest.
        engine: that ran it; ``torch`` for a checkpoint.
        provider: the engine's device.
        precision: of the graphs and of the engine.
        keyframe_interval: None: the heavy path on every frame.
        annotations: name of the file.
    """

    model: str
    bundle_digest: str | None = None
    checkpoint: str | None = None
    checkpoint_sha256: str | None = None
    engine: str
    provider: str
    precision: Precision
    keyframe_interval: int | float | None
    annotations: str

    @property
    def label(self) -> str:
        """For tables."""
        provider = "" if self.provider == "cpu" else f" {self.provider}"
        schedule = f"interval {self.keyframe_interval}" if self.keyframe_interval else "per frame"
        return f"{self.model}, {self.engine}{provider} {self.precision.label}, {schedule}"


@dataclass(frozen=True)
class AccuracySettings:
    """``only``: the sequences measured; empty for all of the file."""

    only: tuple[str, ...]


@dataclass(frozen=True)
class AccuracyData:
    """One row per schedule, all over the same sequences."""

    rows: tuple[AccuracyRow, ...]


@dataclass(frozen=True, kw_only=True)
class AccuracyResult(Result):
    """Accuracy on annotated video."""

    kind: Literal["accuracy"] = "accuracy"
    bundle: None = None
    conditions: None = None
    settings: AccuracySettings
    data: AccuracyData
