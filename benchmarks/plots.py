"""Plots of results as inline SVG, drawn by matplotlib without a display."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lsts_edge.benchmarks.compare_result import CompareResult
from lsts_edge.benchmarks.latency_result import LatencyResult
from lsts_edge.benchmarks.op_result import OpResult
from lsts_edge.benchmarks.sweep_result import SweepResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "comparison_plot",
    "distribution_plot",
    "interval_plot",
    "roofline_plot",
    "stage_plot",
    "timeline_plot",
]

_INK, _FAINT = "#24292f", "#d0d7de"
_COLORS = {"keyframe": "#cf222e", "propagated": "#0969da", "first": "#8250df"}
_STAGES = ("#8c959f", "#54aeff", "#0969da", "#bf8700", "#2da44e", "#eaeef2", "#8250df")
_METHOD_COLORS = {"lsts": "#cf222e", "per-frame": "#57606a", "yolox-nano": "#bf8700", "nanodet-plus": "#2da44e"}
_OTHER = "#54aeff"
_BESIDE: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 7.5}


def distribution_plot(result: LatencyResult) -> str:
    """How often a frame takes at most so long: one curve per kind, model-only and end to end."""
    figure, axes = _figure(6.4, 3.4)
    timeline = result.data.timeline
    for kind in dict.fromkeys(timeline.kind):
        for part, times, style in (("model", timeline.model_ms, "-"), ("end to end", timeline.end_to_end_ms, ":")):
            values = sorted(value for value, found in zip(times, timeline.kind, strict=True) if found == kind)
            shares = [100 * (rank + 1) / len(values) for rank in range(len(values))]
            label = f"{kind}, {part} (n {len(values)})"
            axes.step(values, shares, style, where="post", color=_COLORS.get(kind, _INK), label=label, linewidth=1.8)
    axes.set_xlabel("ms, logarithmic")
    axes.set_ylabel("% of frames done")
    axes.set_xscale("log")
    _plain_ticks(axes.xaxis)
    axes.set_ylim(0, 101)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return _svg(figure)


def timeline_plot(result: LatencyResult) -> str:
    """Every timed frame in order: keyframes stand out, and so does a stall."""
    figure, axes = _figure(9.6, 2.6)
    timeline, camera_fps = result.data.timeline, result.settings.camera_fps
    for kind in dict.fromkeys(timeline.kind):
        places = [index for index, found in enumerate(timeline.kind) if found == kind]
        values = [timeline.end_to_end_ms[index] for index in places]
        axes.vlines(places, 0, values, color=_COLORS.get(kind, _INK), linewidth=1.2, label=kind)
    period = 1e3 / camera_fps
    if period < 3 * max(timeline.end_to_end_ms):
        axes.axhline(period, color=_INK, linewidth=0.8, linestyle="--")
        axes.text(0, period, f" {camera_fps:g} fps", va="bottom", fontsize=8, color=_INK)
    axes.set_xlabel("frame")
    axes.set_ylabel("ms, end to end")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8, loc="upper right", ncols=3)
    return _svg(figure)


def stage_plot(result: LatencyResult) -> str:
    """Where the time of a keyframe and of a propagated frame goes: subgraphs inside the model, stages around it."""
    by_kind = result.data.times.by_kind
    kinds = [kind for kind in ("keyframe", "propagated") if kind in by_kind] or ["first"]
    apart = result.data.subgraphs or {}
    figure, axes = _figure(9.6, 0.9 + 0.62 * len(kinds))
    names: list[str] = []
    for row, kind in enumerate(kinds):
        stages = by_kind[kind].stages
        graphs = apart[kind].graphs if kind in apart else by_kind[kind].graphs
        parts = {name: part.p50_ms for name, part in stages.items() if name in ("decode", "preprocess")}
        parts.update({name: part.p50_ms for name, part in graphs.items()})
        parts.update({name: part.p50_ms for name, part in stages.items() if name in ("postprocess", "draw", "encode")})
        left = 0.0
        for name, value in parts.items():
            if name not in names:
                names.append(name)
            color = _palette(names.index(name))
            axes.barh(row, value, left=left, color=color, height=0.62, edgecolor="white", label=name)
            left += value
        axes.text(left, row, f" {left:.2f} ms", va="center", fontsize=8, color=_INK)
    axes.set_yticks(range(len(kinds)), kinds)
    axes.invert_yaxis()
    axes.set_xlabel("ms, sum of the parts' medians")
    axes.margins(x=0.12)
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    axes.legend(
        unique.values(),
        unique.keys(),
        frameon=False,
        fontsize=7.5,
        ncols=6,
        loc="upper left",
        bbox_to_anchor=(0, -0.28),
    )
    return _svg(figure)


def comparison_plot(result: CompareResult) -> str:
    """Mean milliseconds per frame of every entry, and the range from propagated frame to keyframe."""
    rows = sorted(result.data.rows, key=lambda row: row.model.all.mean_ms)
    figure, axes = _figure(9.6, 0.8 + 0.28 * len(rows))
    for place, row in enumerate(rows):
        model, end = row.model, row.model.all.mean_ms
        axes.barh(place, end, color=_METHOD_COLORS.get(row.entry.method, _OTHER), height=0.66)
        if model.propagated and model.keyframe:
            ends = (model.propagated.p50_ms, model.keyframe.p50_ms)
            axes.plot(ends, (place, place), color=_INK, linewidth=1, marker="|", markersize=7)
            end = max(end, *ends)
        axes.annotate(f"{model.all.mean_ms:.4g}", (end, place), xytext=(5, 0), **_BESIDE)
    axes.set_yticks(range(len(rows)), [row.entry.label for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.set_xlim(min(row.model.all.mean_ms for row in rows) / 4)
    _plain_ticks(axes.xaxis)
    axes.set_xlabel("mean model ms per frame, logarithmic; the line runs from propagated p50 to keyframe p50")
    return _svg(figure)


def roofline_plot(result: OpResult, size: str) -> str:
    """Multiply-adds per second of each form of the op under the processor's measured peaks."""
    floor = result.data.sizes[size].floor
    peak, copied = floor.peak_multiply_adds_per_s / 1e9, 2 * floor.peak_copied_bytes_per_s / 1e9
    intensity = floor.multiply_adds / floor.moved_bytes
    figure, axes = _figure(9.6, 4.4)
    span = [intensity / 8, peak / copied, max(intensity * 8, peak / copied * 4)]
    axes.plot(span, [min(peak, x * copied) for x in span], color=_INK, linewidth=1.6)
    axes.text(span[-1], peak * 1.08, f"{peak:.0f} G multiply-adds/s ", ha="right", fontsize=8)
    axes.text(span[0] * 1.05, span[0] * copied * 1.5, f"{copied:.0f} GB/s", fontsize=8)
    axes.axvline(intensity, color=_FAINT, linewidth=1, linestyle="--")
    labels = []
    rows = [row for row in result.data.rows if row.size == size]
    for row in rows:
        rate = floor.multiply_adds / row.p50_ms / 1e6
        color = {"custom": "#cf222e", "taps": "#0969da"}.get(row.form, "#57606a")
        axes.plot(intensity, rate, "o", color=color, markersize=6)
        labels.append((intensity, rate, f"{row.form}, {row.engine}: {row.p50_ms:.4g} ms"))
    axes.set_xscale("log")
    axes.set_yscale("log")
    _plain_ticks(axes.xaxis)
    _plain_ticks(axes.yaxis)
    _spread_labels(axes, labels)
    axes.set_xlabel("useful multiply-adds per byte that must move")
    axes.set_ylabel("G useful multiply-adds / s")
    return _svg(figure)


def interval_plot(result: SweepResult) -> str:
    """Keyframe interval against mean time and accuracy."""
    rows = result.data.rows
    figure, axes = _figure(6.4, 3.2)
    intervals = [row.keyframe_interval for row in rows]
    axes.plot(intervals, [row.model.mean_ms for row in rows], "o-", color=_COLORS["propagated"], label="mean")
    axes.plot(intervals, [row.model.p99_ms for row in rows], "o:", color=_COLORS["keyframe"], label="p99")
    axes.set_xticks(intervals)
    axes.set_xlabel("keyframe interval, frames")
    axes.set_ylabel("model ms per frame")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    found = [100 * row.accuracy.ap50_class_agnostic for row in rows if row.accuracy]
    if len(found) == len(rows):
        other = axes.twinx()
        other.plot(intervals, found, "s-", color="#2da44e")
        other.set_ylabel("class-agnostic AP50, %", color="#2da44e")
    return _svg(figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.size": 9, "axes.edgecolor": _FAINT, "axes.labelcolor": _INK, "text.color": _INK}):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#eaeef2", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: Figure) -> str:
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "lsts-edge", "font.family": "sans-serif"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _palette(index: int) -> Any:
    from matplotlib import colormaps

    return colormaps["tab20"](index % 20)


def _plain_ticks(axis: Any) -> None:
    """Plain numbers on a logarithmic axis: 1, 2, 5, and powers of ten alone where it spans more than three."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0,) if high > 1000 * low else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _spread_labels(axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Write each point's name above it to the right, moved up just so far that no two lie on each other."""
    figure = axes.get_figure()
    assert figure is not None
    axes.margins(y=0.12)
    axes.autoscale_view(scalex=False)
    taken = -1e9
    for x, y, name in sorted(points, key=lambda point: point[1]):
        up = float(axes.transData.transform((x, y))[1]) + 8 * figure.dpi / 72
        taken = max(up, taken + 11 * figure.dpi / 72)
        offset = (taken - up) * 72 / figure.dpi  # points beyond the usual 8
        line = {"arrowstyle": "-", "color": _FAINT, "linewidth": 0.6} if offset > 4 else None
        axes.annotate(name, (x, y), xytext=(5, 8 + offset), arrowprops=line, **_BESIDE)
