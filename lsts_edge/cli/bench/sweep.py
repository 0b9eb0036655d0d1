"""``lsts-edge bench sweep``: keyframe intervals side by side, in time, energy and accuracy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from lsts_edge.cli.group import examples, json_option, trusted_key_option
from lsts_edge.errors import OptionError

__all__ = ["command"]

_FILE = click.Path(path_type=Path)


@click.command(
    "sweep",
    short_help="Keyframe intervals side by side.",
    epilog=examples(
        "lsts-edge bench sweep demo/bundle",
        "lsts-edge bench sweep demo/bundle clip.mp4 --intervals 2,5,10 --annotations val.json --output sweep.json",
    ),
)
@click.argument("bundle", type=_FILE)
@click.argument("source", type=_FILE, required=False)
@click.option("--intervals", default="2,5,10,20,30", show_default=True, help="Keyframe intervals, by commas.")
@click.option("--rounds", default=6, show_default=True, help="Timed rounds of as many frames as all intervals divide.")
@click.option("--backend", default="onnxruntime", show_default=True, help="onnxruntime or openvino.")
@click.option("--provider", default="cpu", show_default=True, help="cpu, cuda, tensorrt; openvino: cpu, gpu, auto.")
@click.option("--threads", type=int, help="Threads inside an operator; the engine's choice unless given.")
@click.option("--precision", default="fp32", show_default=True, help="OpenVINO's precision: fp32, bf16, fp16.")
@click.option("--annotations", type=_FILE, help="COCO-VID style JSON: measure AP50 at each interval too.")
@click.option("--output", type=_FILE, help="Write the result here (JSON).")
@trusted_key_option
@json_option
def command(
    bundle: Path,
    source: Path | None,
    intervals: str,
    annotations: Path | None,
    output: Path | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Run BUNDLE over SOURCE (a procedural clip unless given) at each keyframe interval, in rounds of drawn order."""
    from lsts_edge.benchmarks.report_tables import sweep_table
    from lsts_edge.benchmarks.results import to_json, write_result
    from lsts_edge.benchmarks.sweep import SweepOptions, measure_sweep
    from lsts_edge.bundle import Bundle
    from lsts_edge.cli.show_progress import rewritten_line
    from lsts_edge.runtime.engines.options import EngineOptions
    from lsts_edge.tables import text_table

    engine = EngineOptions(**{name: chosen.pop(name) for name in ("backend", "provider", "threads", "precision")})
    options = SweepOptions(intervals=_numbers(intervals), engine=engine, **chosen)
    with rewritten_line(sys.stderr) as progress:
        result = measure_sweep(Bundle.open(bundle), source, options, annotations, progress)
    if output is not None:
        write_result(output, result)
    if as_json:
        click.echo(to_json(result))
        return
    click.echo(text_table(*sweep_table(result)))
    if output is not None:
        click.echo(f"written     {output}")
    fastest = max(result.data.rows, key=lambda row: row.model.fps)
    click.echo(f"result      fastest at interval {fastest.keyframe_interval}: {fastest.model.fps:.1f} fps")


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError("intervals", got=repr(text), expected="numbers by commas", fix="Give 2,5,10.") from error
