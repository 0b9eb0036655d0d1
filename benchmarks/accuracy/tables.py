"""What ``lsts-edge evaluate`` found, as text, Markdown or one HTML page with its curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lsts_edge.benchmarks.accuracy.result import AccuracyResult, AccuracyRow
from lsts_edge.evaluation.first_detection import FirstDetections
from lsts_edge.page.curves_plot import Curve, curves_plot
from lsts_edge.page.document import Table, escaped, figure, page, table
from lsts_edge.tables import markdown_table, text_table

__all__ = ["accuracy_markdown", "accuracy_page", "accuracy_text"]


@dataclass(frozen=True)
class _Section:
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def accuracy_text(row: AccuracyRow) -> str:
    """One schedule for a terminal; the last line states the result."""
    low, high = row.ap50_interval
    parts = []
    for section in _sections([row]):
        body = text_table(section.header, section.rows)
        parts.append(f"{section.title}\n{body}" + (f"\n{section.note}" if section.note else ""))
    parts.append(
        f"AP50 {row.ap50:.3f} (95 % {low:.3f}..{high:.3f} over {row.sequences} sequences), {_schedule(row)}, "
        f"{row.images} images"
    )
    return "\n\n".join(parts)


def accuracy_markdown(result: AccuracyResult) -> str:
    """All schedules side by side, as Markdown."""
    rows = result.data.rows
    parts = [f"# {_title(rows)}", _told(rows)]
    for section in _sections(rows):
        parts += [f"## {section.title}", markdown_table(section.header, section.rows)]
        parts += [section.note] if section.note else []
    return "\n\n".join(parts) + "\n"


def accuracy_page(result: AccuracyResult) -> str:
    """All schedules side by side, as a page that stands alone, with a curve of AP50 over the distance."""
    rows = result.data.rows
    body = [f"<h1>{escaped(_title(rows))}</h1>", f"<p>{escaped(_told(rows))}</p>"]
    for section in _sections(rows):
        body += [f"<h2>{escaped(section.title)}</h2>", table(Table(section.header, section.rows), fold=False)]
        body += [f'<p class="note">{escaped(section.note)}</p>'] if section.note else []
        if section.title == _DISTANCE:
            body.append(figure(lambda width_px: _distance_plot(rows, width_px), "AP50 by frames since the keyframe."))
    return page(_title(rows), body)


_DISTANCE = "AP50 by frames since the keyframe"


def _title(rows: Sequence[AccuracyRow]) -> str:
    return f"Accuracy of {rows[0].model} on {rows[0].annotations}"


def _told(rows: Sequence[AccuracyRow]) -> str:
    row = rows[0]
    classes = "all classes as one" if row.class_agnostic else f"{len(row.ap50_per_class)} classes"
    return f"{row.images} images of {row.sequences} sequences, {classes}; intervals are 95 % over the sequences."


def _schedule(row: AccuracyRow) -> str:
    if row.engine == "file":
        return f"detections {row.detections}"
    if row.keyframe_interval is None:
        return "per frame"
    return f"keyframe interval {row.keyframe_interval}{', centred' if row.centred else ''}"


def _sections(rows: Sequence[AccuracyRow]) -> list[_Section]:
    """Measures down, schedules across."""
    names = [_schedule(row) for row in rows]
    per_class = [
        [name, *(f"{_figure(row.ap50_per_class[name])} / {_figure(row.ap_per_class[name])}" for row in rows)]
        for name in rows[0].ap50_per_class
    ]
    whole = [
        ["all", *(f"{_figure(row.ap50)} / {_figure(row.ap)}" for row in rows)],
        ["AP50, 95 %", *(f"{row.ap50_interval[0]:.3f}..{row.ap50_interval[1]:.3f}" for row in rows)],
    ]
    sections = [_Section("AP50 / AP (COCO)", ["class", *names], per_class + whole)]
    measured = [(row, row.video) for row in rows if row.video is not None]
    names = [_schedule(row) for row, _ in measured]
    vids = [video.vid for _, video in measured if video.vid is not None]
    if vids:
        cells = [[name, *(_figure(vid.ap_per_class[name]) for vid in vids)] for name in vids[0].ap_per_class]
        cells.append(["all", *(_figure(vid.mean_ap) for vid in vids)])
        for kind in vids[0].mean_ap_by_motion or ():
            count = (vids[0].boxes_by_motion or {})[kind]
            by_kind = [_figure((vid.mean_ap_by_motion or {})[kind]) for vid in vids]
            cells.append([f"{kind} ({count} boxes)", *by_kind])
        note = "IoU min(0.5, w h / ((w + 10)(h + 10))), area under all points; motion by FGFA's ranges."
        sections.append(_Section("Mean AP by the rules of ImageNet VID", ["class", *names], cells, note))
    curves = [video.ap50_by_distance for _, video in measured if video.ap50_by_distance is not None]
    if curves:
        distances = sorted({int(distance) for curve in curves for distance in curve})
        cells = [[str(step), *(_figure(curve.get(str(step))) for curve in curves)] for step in distances]
        sections.append(_Section(_DISTANCE, ["frames", *names], cells, "0 is the keyframes."))
    shown = measured[0][1].shown_score if measured else None
    delays = [video.delay for _, video in measured if video.delay is not None]
    if delays:
        cells = [
            [f"{who}: {what}", *(_delay(getattr(delay, field), what) for delay in delays)]
            for who, field in (("all", "all_objects"), ("later", "later_objects"))
            for what in ("objects", "never detected", "median frames", "at first sight", "within 10 frames")
        ]
        note = f"At a score of {shown:g}. Later: objects that come into view after their video's first frame."
        sections.append(_Section("Frames until an object is detected for the first time", ["", *names], cells, note))
    flickers = [video.flicker for _, video in measured if video.flicker is not None]
    if flickers:
        cells = [
            [what, *(_figure(getattr(flicker, field)) for flicker in flickers)]
            for what, field in (
                ("fragment error", "fragment_error"),
                ("centre error", "centre_error"),
                ("scale and ratio error", "scale_and_ratio_error"),
            )
        ]
        note = f"At a score of {shown:g}; 0 is steady. Zhang and Wang, 2016."
        sections.append(_Section("Flicker", ["", *names], cells, note))
    streams = [video.streaming for _, video in measured if video.streaming is not None]
    if streams:
        cells = [
            ["AP50 / AP as shown", *(f"{_figure(one.ap50)} / {_figure(one.ap)}" for one in streams)],
            ["AP50, 95 %", *(f"{one.ap50_interval[0]:.3f}..{one.ap50_interval[1]:.3f}" for one in streams)],
            ["mean latency, ms", *(f"{one.mean_latency_ms:.1f}" for one in streams)],
            ["frames processed", *(f"{one.processed:.0%}" for one in streams)],
            ["age of what is shown, frames", *(_figure(one.mean_age_frames, 1) for one in streams)],
        ]
        first = streams[0]
        worker = "one worker takes the newest frame" if first.worker == "one" else "every frame is processed"
        note = f"At {first.frames_per_s:g} frames/s; {worker}; latency: {first.latency}. Li et al., ECCV 2020."
        sections.append(_Section("Streaming accuracy", ["", *names], cells, note))
    return sections


def _delay(delay: FirstDetections, what: str) -> str:
    if what == "objects":
        return str(delay.objects)
    if what == "never detected":
        return str(delay.never)
    if what == "median frames":
        return "-" if delay.median_frames is None else f"{delay.median_frames:g}"
    within = "0" if what == "at first sight" else "10"
    return f"{delay.found_within[within]:.0%}" if delay.objects else "-"


def _distance_plot(rows: Sequence[AccuracyRow], width_px: int) -> str:
    curves = [
        Curve(_schedule(row), _schedule(row), sorted((int(step), value) for step, value in points.items()))
        for row in rows
        if row.video is not None and (points := row.video.ap50_by_distance) is not None
    ]
    return curves_plot(curves, width_px, x_title="frames since the keyframe", y_title="AP50")


def _figure(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
