"""The tables and the plot in our documents, generated from committed results, never typed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lsts_edge.benchmarks import plots
from lsts_edge.benchmarks.compare_result import CompareResult, CompareRow
from lsts_edge.benchmarks.envelope import Result
from lsts_edge.benchmarks.latency_result import LatencyResult
from lsts_edge.benchmarks.results import require_one_device
from lsts_edge.benchmarks.tables import markdown_table, number
from lsts_edge.benchmarks.targets import TARGETS_BEGIN, TARGETS_END, check_targets, targets_block
from lsts_edge.errors import BenchmarkResult, FileUnwritable

__all__ = ["BEGIN", "END", "readme_block", "replace_between", "update_readme", "update_targets"]

BEGIN = "<!-- results:begin -->"
END = "<!-- results:end -->"
PLOT = "docs/images/bench.svg"


def readme_block(results: Sequence[Result], plot: str = PLOT) -> str:
    """The text between the marks: one table per comparison, each line from a result.

    Args:
        results: of one device; the tables show kinds ``compare`` and ``latency``, the rest is left to the report.
        plot: path of the plot, relative to the README.

    Raises:
        BenchmarkDevice: if the results come from different devices.
        BenchmarkResult: if none of them is a comparison.
    """
    require_one_device(results)
    comparisons = [result for result in results if isinstance(result, CompareResult)]
    if not comparisons:
        raise BenchmarkResult("README table", got="no comparison", expected="one", fix="Run lsts-edge bench compare.")
    lines = [
        f"Measured on {results[0].origin.device.name}; every figure is from a file in `benchmarks/results/`.",
        "",
    ]
    for result in comparisons:
        lines += [_sentence(result), "", markdown_table(*_table(result)), ""]
    latencies = [result for result in results if isinstance(result, LatencyResult)]
    if latencies:
        lines += [markdown_table(*_latency_table(latencies)), ""]
    lines += [_verdicts(results), ""]
    return "\n".join([*lines, f"![Accuracy and time of each method]({plot})", ""])


def update_readme(readme: Path, results: Sequence[Result]) -> list[Path]:
    """Replace what stands between the marks, and write the plot beside; returns the files written.

    Args:
        readme: a file with both marks, each once.
        results: of one device.

    Raises:
        BenchmarkResult: if the marks are missing, or no result is a comparison.
        FileUnwritable: if a file cannot be written.
    """
    block = readme_block(results)
    plot = readme.parent / PLOT
    replace_between(readme, BEGIN, END, block)
    try:
        plot.parent.mkdir(parents=True, exist_ok=True)
        plot.write_text(_plot(results), encoding="utf-8")
    except OSError as error:
        raise FileUnwritable(
            f"plot {plot}", got=error.strerror, expected="a writable place", fix="Choose another README."
        ) from error
    return [readme, plot]


def update_targets(document: Path, results: Sequence[Result]) -> Path:
    """Put the table of targets between its marks; returns the file.

    Args:
        document: a file with both marks, each once.
        results: of one device.

    Raises:
        BenchmarkResult: if the marks are missing, or no result tells about a target.
        FileUnwritable: if the file cannot be written.
    """
    require_one_device(results)
    text = f"Measured on {results[0].origin.device.name}.\n\n{targets_block(results)}\n"
    replace_between(document, TARGETS_BEGIN, TARGETS_END, text)
    return document


def replace_between(document: Path, begin: str, end: str, block: str) -> None:
    """Write ``block`` between two marks of a text file.

    Raises:
        BenchmarkResult: if the marks are not there once each, in this order.
        FileUnwritable: if the file cannot be read or written.
    """
    try:
        text = document.read_text(encoding="utf-8")
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


def _plot(results: Sequence[Result]) -> str:
    """The Pareto plot of the first comparison with accuracy, else the bars of the first comparison."""
    comparisons = [result for result in results if isinstance(result, CompareResult)]
    for result in comparisons:
        if any(row.accuracy for row in result.data.rows):
            return plots.pareto_plot(result)
    return plots.comparison_plot(comparisons[0])


def _verdicts(results: Sequence[Result]) -> str:
    """How many targets are met, and each one that is not."""
    rows = check_targets(results)
    missed = [row for row in rows if row.verdict.startswith("missed")]
    unknown = sum(row.share is None for row in rows)
    counts = {"met": len(rows) - len(missed) - unknown, "not measured": unknown, "missed": len(missed)}
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    text = f"`docs/benchmarks.md` holds {len(rows)} targets against these files: {told}{':' if missed else '.'}\n"
    return "\n".join([text, *(f"- {row.what}: {row.measured}; wanted {row.wanted}" for row in missed)])


def _sentence(result: CompareResult) -> str:
    bundle, settings = result.bundle, result.settings
    height, width = bundle.input_px
    weights = " **Random weights: latency only.**" if bundle.random_weights else ""
    accuracy = (
        " AP50 is class-agnostic on DAVIS-VID5 val, with ignore boxes: ours was trained on DAVIS, the peers on COCO."
        if any(row.accuracy for row in result.data.rows)
        else ""
    )
    return (
        f"`{bundle.name}`, {width}x{height}, keyframe interval {settings.keyframe_interval}, "
        f"{settings.threads} threads, one run, paired segments; times of the sessions alone.{weights}{accuracy}"
    )


def _table(result: CompareResult) -> tuple[list[str], list[list[str]]]:
    """The fastest entry of each method at fp32, and on each engine at each lower precision, fastest first."""
    chosen: dict[tuple[str, str | None], CompareRow] = {}
    for row in sorted(result.data.rows, key=lambda row: row.model.all.mean_ms):
        lowered = None if row.entry.precision.is_fp32 else row.entry.where
        chosen.setdefault((row.entry.method, lowered), row)
    accurate = any(row.accuracy for row in chosen.values())
    header = ["", "engine", "keyframe ms", "propagated ms", "fps", "x per-frame, same engine"]
    lines = []
    for row in chosen.values():
        model, ratio = row.model, row.model.ratio_same_engine
        line = [
            row.entry.what,
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
