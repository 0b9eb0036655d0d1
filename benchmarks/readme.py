"""The tables and the plot in our documents, generated from committed results, never typed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from lsts_edge.benchmarks import plots
from lsts_edge.benchmarks.compare_result import CompareResult, CompareRow
from lsts_edge.benchmarks.envelope import Result
from lsts_edge.benchmarks.headline import MOST_ROWS, find_headline
from lsts_edge.benchmarks.latency_result import LatencyResult
from lsts_edge.benchmarks.results import require_one_device
from lsts_edge.benchmarks.targets import TARGETS_BEGIN, TARGETS_END, check_targets, targets_block
from lsts_edge.errors import BenchmarkResult, FileUnwritable
from lsts_edge.read_file import read_file
from lsts_edge.tables import markdown_table, number

__all__ = [
    "BEGIN",
    "END",
    "TABLES_BEGIN",
    "TABLES_END",
    "readme_block",
    "replace_between",
    "tables_block",
    "update_document",
    "update_readme",
]

BEGIN = "<!-- results:begin -->"
END = "<!-- results:end -->"
TABLES_BEGIN = "<!-- tables:begin -->"
TABLES_END = "<!-- tables:end -->"
PLOT = "docs/images/bench.svg"
NARROW_PLOT = "docs/images/bench-narrow.svg"
_PLOTS_PX = {PLOT: 860, NARROW_PLOT: 370}


def readme_block(results: Sequence[Result]) -> str:
    """The README's text between the marks: what to run, one short table, and the plot.

    Args:
        results: of one device; those that the table does not show are in ``tables_block``.

    Raises:
        BenchmarkDevice: if the results come from different devices.
        BenchmarkResult: if none of them is a comparison.
    """
    comparisons, headline = _comparisons(results), find_headline(results)
    lines = [_measured(results), ""]
    if headline is None:
        header, rows = _table(comparisons[0])
        lines += [_sentence(comparisons[0]), "", markdown_table(header, rows[:MOST_ROWS]), ""]
    else:
        table = headline.table()
        lines += [" ".join(itertools.islice(headline.sentences(), 2)), _about_accuracy(headline.result), ""]
        lines += [markdown_table(table.header, table.rows), ""]
    lines += [_verdicts(results), ""]
    shown = f'<img src="{PLOT}" alt="Accuracy and time of each method">'
    if headline is not None:
        narrow = f'<source media="(max-width: 600px)" srcset="{NARROW_PLOT}">'
        shown = f"<picture>{narrow}{shown}</picture>"
    return "\n".join([*lines, shown, ""])


def tables_block(results: Sequence[Result]) -> str:
    """Every comparison and every latency run as tables, for the documents.

    Raises:
        BenchmarkDevice: if the results come from different devices.
        BenchmarkResult: if none of them is a comparison.
    """
    lines = [_measured(results), ""]
    for result in _comparisons(results):
        lines += [_sentence(result), "", markdown_table(*_table(result)), ""]
    latencies = [result for result in results if isinstance(result, LatencyResult)]
    if latencies:
        lines += [markdown_table(*_latency_table(latencies)), ""]
    return "\n".join(lines)


def update_readme(readme: Path, results: Sequence[Result]) -> list[Path]:
    """Replace what stands between the marks, and write the plots beside; returns the files written.

    Args:
        readme: a file with both marks, each once.
        results: of one device.

    Raises:
        BenchmarkResult: if the marks are missing, or no result is a comparison.
        FileUnwritable: if a file cannot be written.
    """
    replace_between(readme, BEGIN, END, readme_block(results))
    written = [readme]
    for name, content in _plots(results).items():
        plot = readme.parent / name
        try:
            plot.parent.mkdir(parents=True, exist_ok=True)
            plot.write_text(content, encoding="utf-8")
        except OSError as error:
            fix = "Choose another README."
            raise FileUnwritable(f"plot {plot}", got=error.strerror, expected="a writable place", fix=fix) from error
        written.append(plot)
    return written


def update_document(document: Path, results: Sequence[Result]) -> Path:
    """Put the targets and all tables between their marks; returns the file.

    Args:
        document: a file with the four marks, each once.
        results: of one device.

    Raises:
        BenchmarkResult: if marks are missing, no result is a comparison, or none tells about a target.
        FileUnwritable: if the file cannot be written.
    """
    tables = tables_block(results)
    targets = f"Measured on {results[0].origin.device.name}.\n\n{targets_block(results)}\n"
    replace_between(document, TARGETS_BEGIN, TARGETS_END, targets)
    replace_between(document, TABLES_BEGIN, TABLES_END, tables)
    return document


def replace_between(document: Path, begin: str, end: str, block: str) -> None:
    """Write ``block`` between two marks of a text file.

    Raises:
        BenchmarkResult: if the marks are not there once each, in this order.
        FileUnwritable: if the file cannot be read or written.
    """
    try:
        text = read_file(document).decode("utf-8")
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise BenchmarkResult(
                f"marks in {document.name}",
                got=f"{text.count(begin)} begin, {text.count(end)} end",
                expected=f"one {begin} and one {end} after it",
                fix="Add them where the table belongs.",
            )
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        document.write_text(f"{before}{begin}\n{block}{end}{after}", encoding="utf-8")
    except OSError as error:
        raise FileUnwritable(
            f"document {document}", got=error.strerror, expected="a readable and writable file", fix="Choose another."
        ) from error


def _plots(results: Sequence[Result]) -> dict[str, str]:
    """SVG by path: the front, wide and narrow; without accuracy the bars of the first comparison."""
    headline = find_headline(results)
    if headline is None:
        return {PLOT: plots.comparison_plot(_comparisons(results)[0])}
    return {name: headline.plot().svg(width_px, alone=True) for name, width_px in _PLOTS_PX.items()}


def _comparisons(results: Sequence[Result]) -> list[CompareResult]:
    require_one_device(results)
    found = [result for result in results if isinstance(result, CompareResult)]
    if not found:
        raise BenchmarkResult("README table", got="no comparison", expected="one", fix="Run lsts-edge bench compare.")
    return found


def _measured(results: Sequence[Result]) -> str:
    return f"Measured on {results[0].origin.device.name}; every figure is from a file in `benchmarks/results/`."


def _about_accuracy(result: CompareResult) -> str:
    if not any(row.accuracy for row in result.data.rows):
        return ""
    return "AP50 is class-agnostic on DAVIS-VID5 val, with ignore boxes: ours was trained on DAVIS, the peers on COCO."


def _verdicts(results: Sequence[Result]) -> str:
    """How many targets are met, and each one that is not."""
    rows = check_targets(results)
    missed = [row for row in rows if row.share is not None and row.share < 1]
    unknown = sum(row.share is None for row in rows)
    counts = {"met": len(rows) - len(missed) - unknown, "not measured": unknown, "missed": len(missed)}
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    text = f"`docs/benchmarks.md` holds {len(rows)} targets against these files: {told}{':' if missed else '.'}\n"
    return "\n".join([text, *(f"- {row.what}: {row.measured}; wanted {row.wanted}" for row in missed)])


def _sentence(result: CompareResult) -> str:
    bundle, settings = result.bundle, result.settings
    height, width = bundle.input_px
    weights = " **Random weights: latency only.**" if bundle.random_weights else ""
    text = (
        f"`{bundle.name}`, {width}x{height}, keyframe interval {settings.keyframe_interval}, "
        f"{settings.threads} threads, one run, paired segments; times of the sessions alone.{weights}"
    )
    return f"{text} {_about_accuracy(result)}".rstrip()


def _table(result: CompareResult) -> tuple[list[str], list[list[str]]]:
    """The fastest entry of each method and variant: at fp32, and on each engine in lower precision; fastest first."""
    chosen: dict[tuple[str, str | None, str | None], CompareRow] = {}
    for row in sorted(result.data.rows, key=lambda row: row.model.all.mean_ms):
        lowered = None if row.entry.precision.is_fp32 else row.entry.where
        chosen.setdefault((row.entry.method, row.entry.variant, lowered), row)
    accurate = any(row.accuracy for row in chosen.values())
    header = ["", "engine", "keyframe ms", "propagated ms", "fps", "x per-frame, same engine"]
    lines = []
    for row in chosen.values():
        model, ratio = row.model, row.model.ratio_same_engine
        line = [
            ", ".join(filter(None, (row.entry.what, row.entry.variant))),
            row.entry.where,
            number((model.keyframe or model.all).p50_ms),
            number(model.propagated.p50_ms) if model.propagated else "-",
            number(model.all.fps),
            f"{ratio.median:.2f}" if ratio else "-",
        ]
        if accurate:
            line.append(f"{row.accuracy.ap50_class_agnostic:.3f}" if row.accuracy else "-")
        lines.append(line)
    return header + (["AP50"] if accurate else []), lines


def _latency_table(results: Sequence[LatencyResult]) -> tuple[list[str], list[list[str]]]:
    header = [
        "end to end",
        "clip",
        "fps",
        "p50 ms",
        "p99 ms",
        "runtime outside sessions ms",
        "cold start ms",
        "resident MiB",
    ]
    lines = []
    for result in results:
        whole, cold = result.data.times.all, result.data.cold_start
        lines.append(
            [
                f"{result.bundle.name}, {result.label}",
                result.settings.clip.label,
                number(whole.end_to_end.fps),
                number(whole.end_to_end.p50_ms),
                number(whole.end_to_end.p99_ms),
                number(whole.overhead.p50_ms),
                number(cold.phases["total"].p50_ms if cold else None),
                number(cold.memory.get("rss_mib") if cold else None),
            ]
        )
    return header, lines
