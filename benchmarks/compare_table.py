"""The comparison as one table, for a terminal, Markdown and the report alike."""

from __future__ import annotations

from lsts_edge.benchmarks.compare_result import CompareResult, CompareRow, RatioAgainst
from lsts_edge.tables import number

__all__ = ["comparison_table"]


def comparison_table(result: CompareResult) -> tuple[list[str], list[list[str]]]:
    """Head and rows, fastest first; accuracy columns where it was measured."""
    rows = sorted(result.data.rows, key=lambda row: -row.model.all.fps)
    accurate = any(row.accuracy for row in rows)
    header = [
        "entry",
        "keyframe p50 ms",
        "propagated p50 ms",
        "p99 ms",
        "fps model",
        "fps frame to boxes",
        "x per-frame, same engine",
        "x fastest fp32 per-frame",
    ]
    if accurate:
        header += ["AP50 class-agnostic", "AP50 vehicle / bird / quadruped"]
    return header, [_cells(row, accurate) for row in rows]


def _cells(row: CompareRow, accurate: bool) -> list[str]:
    model, found = row.model, row.accuracy
    cells = [
        row.entry.label,
        number((model.keyframe or model.all).p50_ms),
        number(model.propagated.p50_ms) if model.propagated else "-",
        number(model.all.p99_ms),
        number(model.all.fps),
        number(row.frame_to_boxes.all.fps),
        _ratio(model.ratio_same_engine),
        _ratio(model.ratio_fastest_fp32),
    ]
    if accurate:
        cells.append(f"{found.ap50_class_agnostic:.3f}" if found else "-")
        cells.append(" / ".join(_share(value) for value in found.ap50_shared.values()) if found else "-")
    return cells


def _ratio(ratio: RatioAgainst | None) -> str:
    return "-" if ratio is None else f"{ratio.median:.2f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
