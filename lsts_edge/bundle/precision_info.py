"""What a manifest says about precision: how it was chosen, and the table that it was chosen from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lsts_edge.bundle.check import check

__all__ = ["LowPrecision", "PrecisionChoice", "PrecisionInfo"]

LowPrecision = Literal["fp16", "int8"]


@dataclass(frozen=True)
class PrecisionChoice:
    """One row of the table that precisions were chosen from; AP50 in 0..1, drops in AP50 points, both None ungated.

    AP50 and its drop are the worst of all program sets, each against float32 in the same. ``lowered`` names the graphs
    that are not float32, and what they are; ``drop_upper_points`` is the upper end of the
    paired 95 % interval over the gate's sequences.
    """

    lowered: Mapping[str, LowPrecision]
    ap50: float | None
    drop_points: float | None
    drop_upper_points: float | None
    keyframe_ms: float
    propagated_ms: float
    passed: bool
    chosen: bool

    def __post_init__(self) -> None:
        for what, value, low, high in (
            ("ap50", self.ap50, 0.0, 1.0),
            ("drop_points", self.drop_points, -100.0, 100.0),
            ("drop_upper_points", self.drop_upper_points, -100.0, 100.0),
            ("keyframe_ms", self.keyframe_ms, 0.0, 1e7),
            ("propagated_ms", self.propagated_ms, 0.0, 1e7),
        ):
            check(value is None or low <= value <= high, f"precision: {what}", value, f"{low:g}..{high:g}")
        check(self.passed or not self.chosen, "precision: choice", "one that did not pass", "one that passed")

    @property
    def words(self) -> str:
        """Such as ``int8 heavy, light; fp16 head``; ``all fp32`` when there is nothing to tell."""
        kinds = sorted(set(self.lowered.values()))
        named = (f"{kind} {', '.join(name for name, which in self.lowered.items() if which == kind)}" for kind in kinds)
        return "; ".join(named) or "all fp32"


@dataclass(frozen=True)
class PrecisionInfo:
    """How the precision of each graph was chosen.

    Attributes:
        mode: what the export was asked for.
        calibration: clips that the ranges were measured on and the graphs timed.
        calibration_frames: frames of it.
        gate: file that AP50 was measured on; None if it was not.
        gate_sequences: its sequences.
        gate_held_out: whether the checkpoint states that it was not trained on them.
        max_drop_points: limit of the drop, in AP50 points.
        max_upper_points: limit of the upper end of the drop's interval.
        engine: that times were measured on, those of the split graphs; AP50 also in OpenVINO where there is IR.
        torch_tensor_error: largest error of any tensor against torch, state carried.
        graph_ms: graph -> precision -> milliseconds.
        choices: the table.
    """

    mode: Literal["fp16", "int8", "auto"]
    calibration: str
    calibration_frames: int
    gate: str | None
    gate_sequences: tuple[str, ...]
    gate_held_out: bool
    max_drop_points: float
    max_upper_points: float
    engine: str
    torch_tensor_error: float
    graph_ms: Mapping[str, Mapping[str, float]]
    choices: tuple[PrecisionChoice, ...]

    def __post_init__(self) -> None:
        check(1 <= self.calibration_frames <= 10**9, "precision.calibration_frames", self.calibration_frames, "from 1")
        for what in ("max_drop_points", "max_upper_points"):
            check(0 <= getattr(self, what) <= 100, f"precision.{what}", getattr(self, what), "0..100")
        check(0 <= self.torch_tensor_error <= 1e6, "precision.torch_tensor_error", self.torch_tensor_error, "0..1e6")
        for graph, times in self.graph_ms.items():
            known = set(times) <= {"fp32", "fp16", "int8"} and all(0 <= value <= 1e7 for value in times.values())
            check(known, f"precision.graph_ms: {graph}", dict(times), "0..1e7 for fp32, fp16 or int8")
        check(1 <= len(self.choices) <= 64, "precision.choices", len(self.choices), "1..64 rows")
        chosen = sum(choice.chosen for choice in self.choices)
        check(chosen == 1, "precision.choices", f"{chosen} chosen rows", "one")

    @property
    def chosen(self) -> PrecisionChoice:
        """The row that the bundle was written with."""
        return next(choice for choice in self.choices if choice.chosen)
