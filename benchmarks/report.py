"""Result files of one device as one page: a self-contained HTML file, and the same tables as Markdown."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsts_edge.benchmarks import plots
from lsts_edge.benchmarks.accuracy.result import AccuracyResult
from lsts_edge.benchmarks.accuracy.study_result import StudyResult
from lsts_edge.benchmarks.accuracy.study_tables import claims_table
from lsts_edge.benchmarks.compare_result import CompareResult
from lsts_edge.benchmarks.compare_table import comparison_table
from lsts_edge.benchmarks.elsewhere_result import ElsewhereResult
from lsts_edge.benchmarks.envelope import BundleFacts, Result
from lsts_edge.benchmarks.headline import find_headline
from lsts_edge.benchmarks.latency_result import LatencyResult
from lsts_edge.benchmarks.op_result import CudaOpResult, OpResult
from lsts_edge.benchmarks.paper import PAPER_HARDWARE, PAPER_PER_FRAME_FPS, paper_table
from lsts_edge.benchmarks.report_tables import (
    accuracy_table,
    cuda_op_table,
    elsewhere_table,
    facts,
    latency_tables,
    op_table,
    summary_sentence,
    sweep_table,
)
from lsts_edge.benchmarks.results import require_one_device
from lsts_edge.benchmarks.sweep_result import SweepResult
from lsts_edge.benchmarks.targets import check_targets, target_table
from lsts_edge.benchmarks.timed_clip import ClipFacts
from lsts_edge.errors import BenchmarkResult
from lsts_edge.page.document import Table, escaped, fact_tiles, figure, folded, page, picture, table
from lsts_edge.page.front_plot import FrontPlot
from lsts_edge.tables import markdown_table

__all__ = ["report_html", "report_markdown"]

_MOST_SENTENCES = 3
Cells = tuple[Sequence[str], Sequence[Sequence[str]]]
_HOW_COMPARED = (
    "A keyframe every {keyframe_interval} frames; {segments} segments of {frames_per_segment} frames after "
    "{warmup_segments} of warm-up, {threads} threads for every engine. Each entry runs a whole segment at a time, in "
    "an order drawn per round; a ratio is the median over paired segments, model-only."
)
_ABOUT_ACCURACY = (
    "Up and left is better. The line is the front: nothing as fast is more accurate. Its dots are named, the ringed "
    "one is what to run; point at any dot for what it is. Thin lines are 95 % intervals over the sequences. Ours was "
    "trained on the training part of the same data set, the peers on COCO; boxes of other objects are ignored, not "
    "counted as wrong."
)
_ABOUT_PAPER = (
    "Paper: {paper}. Ours: {ours}, random weights where the bundle says so. Frames per second of two devices do not "
    "compare; what compares is each one's ratio to its own per-frame detector (the paper's runs at {fps} fps). No "
    "ImageNet VID was at hand: the paper's mAP stands alone."
)
_ABOUT_ROOFLINE = (
    "Useful multiply-adds per second under this processor's measured peaks. All forms do the same useful work; a form "
    "that moves more bytes than it must lies lower."
)


@dataclass(frozen=True)
class _Figure:
    """Drawn by matplotlib, in its own colours."""

    caption: str
    draw: Callable[[], str]


_Part = str | tuple[str, Cells] | _Figure | FrontPlot


@dataclass(frozen=True)
class _Section:
    """A heading with paragraphs, tables and figures in order; ``warnings`` stand first."""

    title: str
    parts: tuple[_Part, ...]
    warnings: tuple[str, ...] = ()


def report_html(results: Sequence[Result], pictures: Sequence[Path] = ()) -> str:
    """One page that needs no other file and no network.

    Args:
        results: of one device.
        pictures: PNG or JPEG files to show at the top (a contact sheet, say).

    Raises:
        BenchmarkDevice: if the results come from different devices.
        BenchmarkResult: if there is no result, or a picture cannot be read.
    """
    sections = _sections(results)
    title = f"lsts-edge on {results[0].origin.device.name}"
    headline = find_headline(results)
    body = [f"<h1>{escaped(title)}</h1>"]
    lead = list(headline.sentences()) if headline else list(_sentences(results))[:_MOST_SENTENCES]
    body += [f'<p class="lead">{escaped(sentence)}</p>' for sentence in lead[:1]]
    body += [f"<p>{escaped(sentence)}</p>" for sentence in lead[1:]]
    if headline:
        body += [f'<div class="warn">{escaped(text)}</div>' for text in _warnings(headline.result)]
        body += [fact_tiles(headline.tiles()), figure(headline.plot().svg, _ABOUT_ACCURACY)]
        body.append(table(headline.table(), fold=False))
    body += [_picture(path) for path in pictures]
    told = "".join(f"<p>{escaped(sentence)}</p>" for sentence in _sentences(results))
    body += [folded("Each run in a sentence", told, heading="h2")] if told else []
    for section in sections:
        parts = [f'<div class="warn">{escaped(text)}</div>' for text in section.warnings]
        body.append(folded(section.title, "".join([*parts, *map(_html_part, section.parts)]), heading="h2"))
    return page("lsts-edge: benchmark report", body)


def report_markdown(results: Sequence[Result]) -> str:
    """The page's text and tables; the figures are in the HTML file only.

    Raises:
        BenchmarkDevice: if the results come from different devices.
        BenchmarkResult: if there is no result.
    """
    sections = _sections(results)
    lines = [f"# lsts-edge on {results[0].origin.device.name}", ""]
    headline = find_headline(results)
    for sentence in headline.sentences() if headline else _sentences(results):
        lines += [sentence, ""]
    if headline:
        content = headline.table()
        lines += [markdown_table(content.header, content.rows), ""]
    for section in sections:
        lines += [f"## {section.title}", ""]
        for warning in section.warnings:
            lines += [f"> {warning}", ""]
        for part in section.parts:
            if isinstance(part, str):
                lines += [part, ""]
            elif isinstance(part, tuple):
                caption, (header, rows) = part
                lines += [*([f"### {caption}", ""] if caption else []), markdown_table(header, rows), ""]
    return "\n".join(lines)


def _sections(results: Sequence[Result]) -> list[_Section]:
    if not results:
        raise BenchmarkResult("report", got="no result file", expected="at least one", fix="Give files of bench.")
    require_one_device(results)
    comparisons = [result for result in results if isinstance(result, CompareResult)]
    found = _target_sections(results)
    found += map(_compare_section, comparisons)
    found += [_latency_section(result) for result in results if isinstance(result, LatencyResult)]
    found += [_sweep_section(result) for result in results if isinstance(result, SweepResult)]
    found += [_accuracy_section(result) for result in results if isinstance(result, AccuracyResult)]
    found += [_elsewhere_section(result) for result in results if isinstance(result, ElsewhereResult)]
    found += [_study_section(result) for result in results if isinstance(result, StudyResult)]
    found += [_op_section(result) for result in results if isinstance(result, OpResult)]
    found += [_cuda_op_section(result) for result in results if isinstance(result, CudaOpResult)]
    if comparisons:
        found.append(_paper_section(comparisons))
    return [*found, _machine_section(results)]


def _target_sections(results: Sequence[Result]) -> list[_Section]:
    """None where no result tells about a target."""
    rows = [row for row in check_targets(results) if row.share is not None]
    return [_Section("Targets", (("", target_table(rows)),))] if rows else []


def _sentences(results: Sequence[Result]) -> Iterator[str]:
    for result in results:
        sentence = summary_sentence(result)
        if sentence:
            yield sentence


def _warnings(result: Result) -> tuple[str, ...]:
    """What makes a reader doubt the numbers."""
    found = []
    conditions, bundle = result.conditions, result.bundle
    if conditions is not None:
        busy = conditions.busy_by_others
        if busy is not None and busy > 0.05:
            found.append(
                f"Other programs took {100 * busy:.0f} % of the processor during this run: the times are too long."
            )
        if conditions.throttle_events:
            found.append(f"The processor throttled {conditions.throttle_events} times during this run.")
    if bundle is not None and bundle.random_weights:
        found.append("Random weights: latency only, the boxes mean nothing.")
    return tuple(found)


def _title(what: str, bundle: BundleFacts, clip: ClipFacts) -> str:
    height, width = bundle.input_px
    return f"{what}: {bundle.name} at {width}x{height}, {clip.name}"


def _compare_section(result: CompareResult) -> _Section:
    settings = result.settings
    parts: list[Any] = [
        _HOW_COMPARED.format(**vars(settings)),
        ("", comparison_table(result)),
        _Figure(
            "Mean time per frame, with the range from propagated to keyframe.", lambda: plots.comparison_plot(result)
        ),
    ]
    headline = find_headline([result])
    if headline:
        parts += [headline.plot(), *_difference_tables(result)]
    parts += [f"Left out: {name}: {reason}" for name, reason in result.data.left_out.items()]
    parts.append(("Methods", (("method", "what it does"), [list(pair) for pair in settings.methods.items()])))
    title = _title(f"Side by side, interval {settings.keyframe_interval}", result.bundle, settings.clip)
    return _Section(title, tuple(parts), _warnings(result))


def _difference_tables(result: CompareResult) -> Iterator[tuple[str, Cells]]:
    """Accuracy against each other entry; entries with the very same detections are left out."""
    for ours, others in result.data.accuracy_differences.items():
        rows = [
            [name, *(f"{100 * value:+.1f}" for value in (found.difference, found.low, found.high))]
            for name, found in others.items()
            if found.difference or found.low or found.high
        ]
        caption = f"Class-agnostic AP50 of {ours} minus that of others, points, paired over sequences"
        yield caption, (("other entry", "difference", "95 % from", "to"), rows)


def _latency_section(result: LatencyResult) -> _Section:
    kinds, stages, graphs, others = latency_tables(result)
    parts = (
        ("Milliseconds per frame", kinds),
        _Figure("How often a frame takes at most so long.", lambda: plots.distribution_plot(result)),
        _Figure("Every timed frame in order.", lambda: plots.timeline_plot(result)),
        _Figure("Where the time goes.", lambda: plots.stage_plot(result)),
        ("Stages", stages),
        ("Subgraphs", graphs),
        ("Also measured", others),
    )
    title = _title(f"Latency, {result.label}", result.bundle, result.settings.clip)
    return _Section(title, parts, _warnings(result))


def _sweep_section(result: SweepResult) -> _Section:
    parts = (
        ("", sweep_table(result)),
        _Figure("Time per frame and accuracy by keyframe interval.", lambda: plots.interval_plot(result)),
    )
    return _Section(_title("Keyframe interval", result.bundle, result.settings.clip), parts, _warnings(result))


def _accuracy_section(result: AccuracyResult) -> _Section:
    row = result.data.rows[0]  # all of them are of the same sequences
    classes = " All classes count as one." if row.class_agnostic else ""
    about = f"Boxes under the file's key ignore count neither as found nor as false.{classes}"
    title = f"Accuracy on {row.annotations}, {row.sequences} sequences"
    return _Section(title, (about, ("", accuracy_table(result))), ())


def _elsewhere_section(result: ElsewhereResult) -> _Section:
    truth = "; ".join(f"`{name}`: {who}" for name, who in result.settings.truth.items())
    about = f"Picture by picture. The truth is, for {truth}. Differences are paired over the sequences, 95 % intervals."
    return _Section("Accuracy elsewhere", (about, ("", elsewhere_table(result))), ())


def _study_section(result: StudyResult) -> _Section:
    ran = sum(bool(row.runs) for row in result.data.rows)
    about = (
        f"{ran} of {len(result.data.rows)} rows of the study were run on {result.settings.validation}; every table is "
        "on its page, `docs/study.md` or one like it. Differences are points of AP50 there, those of the paper points "
        "of mAP on ImageNet VID."
    )
    return _Section(f"The paper's claims, on {result.settings.validation}", (about, ("", claims_table(result))), ())


def _op_section(result: OpResult) -> _Section:
    parts: list[Any] = []
    for size, found in result.data.sizes.items():
        shape = (
            f"Size {size}: K {found.locations}, {found.taps} taps, E {found.embedding_channels}, "
            f"C {found.feature_channels}, {found.width_cells}x{found.height_cells} cells"
        )
        parts.append((shape, op_table(result, size)))
        parts.append(_Figure(_ABOUT_ROOFLINE, functools.partial(plots.roofline_plot, result, size)))
    return _Section("The LSTS op alone", tuple(parts), _warnings(result))


def _cuda_op_section(result: CudaOpResult) -> _Section:
    checked = result.data.checked
    worst = ", ".join(f"{dtype} {share:.2f}" for dtype, share in checked.share_of_allowed_error.items())
    parts: list[Any] = [
        f"Checked on {checked.cases} random sizes; largest error as a share of what is allowed: {worst}.",
        ("", cuda_op_table(result)),
        *(f"Target missed: {text}" for text in result.data.missed),
    ]
    return _Section(f"The LSTS op on {result.settings.device}", tuple(parts), ())


def _paper_section(comparisons: list[CompareResult]) -> _Section:
    hardware = comparisons[0].origin.device.name
    parts: list[Any] = [_ABOUT_PAPER.format(paper=PAPER_HARDWARE, ours=hardware, fps=PAPER_PER_FRAME_FPS)]
    parts += [(f"Table {table}", paper_table(table, comparisons)) for table in (1, 2, 3, 4)]
    return _Section("Beside the paper", tuple(parts))


def _machine_section(results: Sequence[Result]) -> _Section:
    return _Section("The machine and the runs", tuple(("", table) for table in facts(results)))


def _html_part(part: _Part) -> str:
    if isinstance(part, str):
        return f'<p class="note">{escaped(part)}</p>'
    if isinstance(part, FrontPlot):
        return figure(part.svg, _ABOUT_ACCURACY)
    if isinstance(part, _Figure):
        return f'<figure class="paper">{part.draw()}<figcaption>{escaped(part.caption)}</figcaption></figure>'
    caption, (header, rows) = part
    return table(Table(header, rows), caption=caption, fold=False)


def _picture(path: Path) -> str:
    kinds = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}
    kind = kinds.get(path.suffix.lower())
    if kind is None or not path.is_file():
        raise BenchmarkResult(
            f"picture {path}", got="no such PNG or JPEG", expected="one", fix="Give another --picture."
        )
    return f'<figure><img alt="{escaped(path.name)}" src="{picture(path.read_bytes(), kind)}"></figure>'
