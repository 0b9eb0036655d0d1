"""The table that a bundle's precisions were chosen from, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from lsts_edge.bundle.precision_info import PrecisionChoice, PrecisionInfo

__all__ = ["precision_lines"]


def precision_lines(info: PrecisionInfo) -> Iterator[str]:
    """What ranges and AP50 were measured on, and one line for each choice that was measured."""
    yield f"precision   {info.mode}: {info.chosen.words}"
    yield f"calibrated  {info.calibration_frames} frames of {info.calibration}"
    if info.gate is None:
        yield "gate        none: the drop in AP50 was not measured"
    else:
        held = "held out from training" if info.gate_held_out else "NOT known to be held out from training"
        yield f"gate        {info.gate}: {', '.join(info.gate_sequences)}; {held}"
        yield f"            drop at most {info.max_drop_points:g}, its upper end {info.max_upper_points:g} AP50 points"
    if info.chosen.lowered:
        yield f"            tensor error against torch {info.torch_tensor_error:.1e}"
    yield f"{'AP50':>7} {'drop':>6} {'upper':>6} {'keyframe':>10} {'propagated':>10}  lower than fp32 ({info.engine})"
    for choice in info.choices:
        figures = (
            _figure(choice.ap50, 7, 3),
            _figure(choice.drop_points, 6, 2),
            _figure(choice.drop_upper_points, 6, 2),
            f"{choice.keyframe_ms:>7.2f} ms",
            f"{choice.propagated_ms:>7.2f} ms",
        )
        yield f"{' '.join(figures)}  {_verdict(choice)}"


def _verdict(choice: PrecisionChoice) -> str:
    return choice.words + (" (chosen)" if choice.chosen else "" if choice.passed else " (refused)")


def _figure(value: float | None, width: int, digits: int) -> str:
    return "-".rjust(width) if value is None else f"{value:{width}.{digits}f}"
