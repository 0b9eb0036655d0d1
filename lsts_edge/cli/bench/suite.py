"""``lsts-edge bench suite``: the main tables, measured again on this machine, and the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from lsts_edge.cli.group import examples, json_option
from lsts_edge.cli.show_progress import echo_progress

__all__ = ["command"]

_FILE = click.Path(path_type=Path)


@click.command(
    "suite",
    short_help="Every measurement on this machine, and the report.",
    epilog=examples(
        "lsts-edge bench suite --output runs/bench",
        "lsts-edge bench suite --output runs/bench --quick --no-paper-size",
        "lsts-edge bench suite --output runs/bench --yolox yolox_nano.onnx --annotations davis/val.json",
    ),
)
@click.option("--output", type=_FILE, default=Path("runs/bench"), show_default=True, help="Folder of the results.")
@click.option("--quick", is_flag=True, help="Few frames: to see that everything works, not to quote.")
@click.option("--paper-size/--no-paper-size", default=True, show_default=True, help="lsts-r101 at 1000x600 too.")
@click.option("--source", type=_FILE, help="A clip for lsts-lite; the procedural one unless given.")
@click.option("--yolox", type=_FILE, help="YOLOX-Nano ONNX file.")
@click.option("--nanodet", type=_FILE, help="NanoDet-Plus ncnn .param file, its .bin beside it.")
@click.option("--annotations", type=_FILE, help="COCO-VID style JSON: accuracy beside time.")
@click.option("--calibration", type=_FILE, help="Other such JSON, to make int8 from [default: the committed bundle].")
@json_option
def command(as_json: bool, **chosen: Any) -> None:
    """Export lsts-lite (and lsts-r101 with random weights), time, compare, sweep, and write the report.

    Takes about an hour on two cores; with --quick --no-paper-size two minutes. The machine should have nothing
    else to do: each result says how much of the processor others took.
    """
    from lsts_edge.benchmarks.suite import SuiteOptions, run_suite

    page = run_suite(SuiteOptions(**chosen), echo_progress)
    click.echo(json.dumps({"report": str(page)}) if as_json else f"report written: {page}")
