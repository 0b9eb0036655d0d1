"""``lsts-edge bench op``: the LSTS op's forms on every engine, and the compiled op beside the processor's best."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lsts_edge.cli.group import examples, json_option
from lsts_edge.cli.show_progress import rewritten_line

if TYPE_CHECKING:
    from lsts_edge.benchmarks.op_result import Floor, OpResult

__all__ = ["command"]


@click.command(
    "op",
    short_help="The LSTS op's forms and kernels, one by one.",
    epilog=examples(
        "lsts-edge bench op",
        "lsts-edge bench op --size r101 --threads 1",
        "lsts-edge bench op --json --output op.json",
    ),
)
@click.option("--size", "sizes", multiple=True, help="r101 or lite; both unless given.")
@click.option("--threads", type=int, help="Threads of every engine; all cores unless given.")
@click.option("--runs", default=31, show_default=True, help="Timed rounds.")
@click.option("--slow-runs", default=5, show_default=True, help="Timed rounds of the GridSample forms.")
@click.option("--warmup-runs", default=3, show_default=True, help="Rounds before, not timed.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the result here (JSON).")
@json_option
def command(
    sizes: tuple[str, ...],
    threads: int | None,
    runs: int,
    slow_runs: int,
    warmup_runs: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Time taps, the custom op and GridSample in ONNX Runtime, OpenVINO and torch, paired in one process."""
    from lsts_edge.benchmarks.op import OpOptions, measure_op
    from lsts_edge.benchmarks.results import to_json, write_result

    options = OpOptions(sizes or ("r101", "lite"), threads, runs, slow_runs, warmup_runs)
    with rewritten_line(sys.stderr) as progress:
        result = measure_op(options, progress)
    if output is not None:
        write_result(output, result)
    if as_json:
        click.echo(to_json(result))
        return
    for line in _lines(result):
        click.echo(line)
    if output is not None:
        click.echo(f"written     {output}")
    click.echo(_last_line(result))


def _lines(result: OpResult) -> Iterator[str]:
    from lsts_edge.tables import number, text_table

    device, settings = result.origin.device, result.settings
    yield f"device      {device.name}; {settings.threads} threads everywhere"
    yield f"kernels     {', '.join(settings.library.cpu_kernels)}; the first is used"
    for size, found in result.data.sizes.items():
        yield ""
        yield (
            f"{size}: K {found.locations}, {found.taps} taps, E {found.embedding_channels}, "
            f"C {found.feature_channels}, {found.width_cells}x{found.height_cells} cells"
        )
        rows = [
            (
                f"{row.form}, {row.engine}",
                str(row.n),
                number(row.p50_ms),
                number(row.min_ms),
                number(row.times_the_op.median),
                number(None if row.scratch_bytes is None else row.scratch_bytes / 1024),
                f"{row.max_error:.1e}",
            )
            for row in result.data.rows
            if row.size == size
        ]
        yield text_table(("form, engine", "n", "p50 ms", "min ms", "x the op", "scratch KiB", "max error"), rows)
        yield from _floor_lines(found.floor)
        for name, target in found.targets.items():
            bound = "<=" if name == "floor" else ">="
            against = f" ({target.other})" if target.other else ""
            verdict = "met   " if target.met else "missed"
            yield f"{verdict}      {name}{against}: {target.got:.2f}, wanted {bound} {target.wanted:g}"


def _floor_lines(floor: Floor) -> Iterator[str]:
    from lsts_edge.tables import number

    yield (
        f"peaks       {floor.peak_multiply_adds_per_s / 1e9:.1f} G multiply-adds/s, "
        f"{floor.peak_copied_bytes_per_s / 1e9:.1f} GB/s copied"
    )
    if floor.refused:
        yield f"floor       refused: {floor.refused}"
        return
    yield (
        f"floor       {number(floor.floor_ms)} ms: {floor.multiply_adds / 1e6:.1f} M multiply-adds in "
        f"{number(floor.compute_ms)} ms, {floor.moved_bytes / 1e6:.1f} MB in {number(floor.move_ms)} ms"
    )


def _last_line(result: OpResult) -> str:
    targets = [target.met for found in result.data.sizes.values() for target in found.targets.values()]
    return f"{sum(targets)} of {len(targets)} targets met"
