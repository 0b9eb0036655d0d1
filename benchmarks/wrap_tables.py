"""What README and docs/what-pays.md show of wrapped detectors, generated from committed results, never typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from lsts_edge.benchmarks.readme import replace_between
from lsts_edge.benchmarks.wrap_result import PREFIX, WrapResult, read_wrap_result
from lsts_edge.bundle.propagation import schedule_text
from lsts_edge.errors import BenchmarkDevice, FileUnwritable
from lsts_edge.publish.wrap.study import Study
from lsts_edge.tables import markdown_table, number

__all__ = ["WRAP_BEGIN", "WRAP_END", "study_block", "update_documents", "wrap_block"]

WRAP_BEGIN = "<!-- wrap:begin -->"
WRAP_END = "<!-- wrap:end -->"

_Row = Mapping[str, Any]
_NOTHING = "No detector's study is committed yet: `lsts-edge wrap` prints one of your own.\n"
_RIVALS = ("hold", "smaller-input")


def wrap_block(results: Sequence[WrapResult]) -> str:
    """A line for each detector: what to run, how fast, what it keeps, and the best simple rival at no more time.

    Raises:
        BenchmarkDevice: if times come from several machines.
    """
    if not results:
        return _NOTHING
    labelled = any(result.chosen["ap50"] is not None for result in results)
    header = ["detector", "every frame ms", "run", "ms", "x faster", "agreement, 95 %", "best simple rival", "verdict"]
    if labelled:
        header.insert(6, "AP50, every frame")
    lines = [_line(result, labelled) for result in results]
    return f"{_ground(results)}\n\n{markdown_table(header, lines)}\n"


def study_block(results: Sequence[WrapResult]) -> str:
    """A table for each detector: the chosen way, its rivals, and everything that loses to nothing cheaper.

    Raises:
        BenchmarkDevice: if times come from several machines.
    """
    if not results:
        return _NOTHING
    parts = [_ground(results), ""]
    for result in results:
        parts += [f"### {result.name}", "", f"{result.verdict} Measured on {result.sample.words}.", ""]
        parts += [f"True: boxes that score {result.truth.words}.", ""]
        kinds = dict.fromkeys(str(row["way"]) for row in result.rows)
        best = [max(rows, key=lambda row: row["agreement"] or 0.0) for rows in _no_dearer(result, kinds) if rows]
        shown = [
            row
            for row in result.alike()
            if row["on_front"] or row["chosen"] or row["reason"] or any(row is b for b in best)
        ]
        shown.sort(key=lambda row: row["mean_ms"])  # type: ignore[arg-type,return-value]
        header = [
            "",
            "ms",
            "x faster",
            "agreement, 95 %",
            "truth lower / higher",
            "new objects",
            "misplaced",
            "AP50, 95 %",
        ]
        parts += [markdown_table(header, [_study_line(row) for row in shown]), ""]
    return "\n".join(parts)


def update_documents(checkout: Path, studies: Sequence[Path] = ()) -> list[Path]:
    """Add studies to the committed results, and write the tables of README.md and docs/what-pays.md anew.

    Args:
        checkout: the project's folder.
        studies: files that ``lsts-edge wrap`` wrote.
    Returns:
        The files written.

    Raises:
        BenchmarkResult: if a result is damaged, or a document has no marks.
        FileUnwritable: if a file cannot be written.
    """
    folder = checkout / "benchmarks" / "results"
    written = []
    for study in map(Study.read, studies):
        path = folder / f"{PREFIX}{study.name}.json"
        try:
            path.write_text(WrapResult.of(study).to_json(), encoding="utf-8")
        except OSError as error:
            fix = "Allow writing there."
            raise FileUnwritable(f"result {path}", got=error.strerror, expected="a writable place", fix=fix) from error
        written.append(path)
    results = [read_wrap_result(path) for path in sorted(folder.glob(f"{PREFIX}*.json"))]
    for document, block in ((checkout / "README.md", wrap_block), (checkout / "docs" / "what-pays.md", study_block)):
        replace_between(document, WRAP_BEGIN, WRAP_END, block(results))
        written.append(document)
    return written


def _ground(results: Sequence[WrapResult]) -> str:
    machines = {result.machine.key: result.machine.name for result in results}
    if len(machines) > 1:
        got = ", ".join(f"{name} ({key})" for key, name in machines.items())
        fix = "Report each device on its own."
        raise BenchmarkDevice("wrapped detectors in one table", got=got, expected="one device", fix=fix)
    return (
        f"Measured on {next(iter(machines.values()))}, picture to boxes, paired with the same detector on every frame. "
        "Agreement: AP50 with that detector's own boxes, on clips that had no part in the choice unless the verdict "
        "says *both halves*. Every figure is from a file `benchmarks/results/wrap-*.json`."
    )


def _line(result: WrapResult, labelled: bool) -> list[str]:
    row: _Row = result.chosen
    whole: _Row = next(iter(result.alike("every-frame")))
    # Not its own kind: a way is no rival of itself.
    rivals = [one for rows in _no_dearer(result, [way for way in _RIVALS if way != row["way"]]) for one in rows]
    best = max(rivals, key=lambda one: one["agreement"] or 0.0, default=None)
    line = [
        f"`{result.file}`",
        number(whole["mean_ms"]),
        f"{_label(row)}; {row['engine']} {row['precision']}",
        number(row["mean_ms"]),
        f"{row['speedup']:.2f}",
        _interval(row, "agreement"),
        "-" if best is None else f"{_label(best)}: {_figure(best['agreement'])}",
        _verdict(result, row, best),
    ]
    if labelled:
        line.insert(6, f"{_figure(row['ap50'])}, {_figure(whole['ap50'])}")
    return line


def _verdict(result: WrapResult, row: _Row, best: _Row | None) -> str:
    asked = f"{result.min_agreement:g}" if result.budget_ms is None else f"{result.budget_ms:g} ms"
    if row["way"] == "every-frame":
        return f"every frame: nothing cheaper keeps {asked}"
    words = [f"keeps {asked}" if _keeps(result, row) else f"does not keep {asked}"]
    if _refuted(result, row):
        words.append("both halves chose")
    if best is not None and (best["agreement"] or 0.0) >= (row["agreement"] or 0.0):
        words.append("a simple rival is as good")
    return "; ".join(words)


def _refuted(result: WrapResult, row: _Row) -> bool:
    """Whether the clips that choose had a cheaper way that keeps enough: then the others refuted it, and both chose."""
    least = result.min_agreement
    if result.budget_ms is not None or least is None:
        return False
    rows: Sequence[_Row] = result.rows
    cheaper = (one for one in rows if one["mean_ms"] < row["mean_ms"])
    return any(one["choosing_agreement"] is not None and one["choosing_agreement"] >= least for one in cheaper)


def _keeps(result: WrapResult, row: _Row) -> bool:
    """By the clips that state, not by those that chose."""
    if result.budget_ms is not None:
        return bool(row["mean_ms"] <= result.budget_ms)
    return row["agreement"] is not None and bool(row["agreement"] >= (result.min_agreement or 0.0))


def _no_dearer(result: WrapResult, ways: Sequence[str] | Mapping[str, None]) -> list[list[_Row]]:
    """Of each kind the rows that take no more time than the chosen one."""
    limit = float(result.chosen["mean_ms"] or 0.0)
    return [[row for row in result.alike(way) if float(row["mean_ms"] or 0.0) <= limit] for way in ways]


def _study_line(row: _Row) -> list[str]:
    name = _label(row)
    return [
        f"**{name}**" if row["chosen"] else name,
        number(row["mean_ms"]),
        f"{row['speedup']:.2f}",
        _interval(row, "agreement"),
        f"{_figure(row['agreement_at_lower'])} / {_figure(row['agreement_at_upper'])}",
        _figure(row["new_object_recall"]),
        _figure(row["misplaced_per_frame"]),
        _interval(row, "ap50"),
    ]


def _label(row: _Row) -> str:
    schedule = schedule_text(row["keyframe_interval"], row.get("keyframe_motion"))
    interval = f" {schedule}" if row["keyframe_interval"] > 1 else ""
    small = "" if row["small_width_px"] is None else f" + {row['small_width_px']}x{row['small_height_px']}"
    return f"{row['way']}{interval}, {row['width_px']}x{row['height_px']}{small}"


def _interval(row: _Row, name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return _figure(row[name]) + ("" if low is None else f" [{_figure(low)}, {_figure(high)}]")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


@click.command(help="Add each STUDY of lsts-edge wrap to benchmarks/results, and write the documents' tables anew.")
@click.argument("studies", nargs=-1, metavar="[STUDY]...", type=click.Path(path_type=Path))
def _main(studies: tuple[Path, ...]) -> None:
    for path in update_documents(Path(__file__).resolve().parents[1], studies):
        click.echo(f"wrote {path}")


if __name__ == "__main__":
    _main()
