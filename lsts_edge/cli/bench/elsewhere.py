"""``lsts-edge bench elsewhere``: accuracy on pictures that nobody was trained on, beside other detectors."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lsts_edge.cli.group import examples, json_option, trusted_key_option

__all__ = ["command"]

_FILE = click.Path(path_type=Path)


@click.command(
    "elsewhere",
    short_help="Accuracy on pictures from elsewhere, beside other detectors.",
    epilog=examples(
        "lsts-edge bench elsewhere lite.safetensors --annotations held_out/labels.json --beside yolox_nano.onnx",
        "lsts-edge bench elsewhere new.safetensors old.safetensors --annotations a.json --annotations b.json",
    ),
)
@click.argument("models", nargs=-1, required=True, type=_FILE)
@click.option("--annotations", multiple=True, required=True, type=_FILE, help="COCO or COCO-VID JSON; repeatable.")
@click.option("--beside", multiple=True, type=_FILE, help="A rival: ONNX detector, bundle or checkpoint; repeatable.")
@click.option("--keyframe-interval", type=int, multiple=True, help="Run MODELS by this schedule too; repeatable.")
@click.option("--threads", type=int, help="Threads [default: the engine's choice].")
@click.option("--output", type=_FILE, help="Write the result here (JSON).")
@trusted_key_option
@json_option
def command(
    models: tuple[Path, ...],
    annotations: tuple[Path, ...],
    beside: tuple[Path, ...],
    keyframe_interval: tuple[int, ...],
    threads: int | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Run MODELS (bundles, checkpoints, ONNX detectors) picture by picture and print AP50, all classes as one first.

    A detector of COCO's classes is judged in the five groups. Differences to each rival are paired over the sequences.
    """
    from lsts_edge.benchmarks.elsewhere import Entrant, measure_elsewhere, who_labelled
    from lsts_edge.benchmarks.elsewhere_result import ElsewhereData, ElsewhereResult, ElsewhereSettings
    from lsts_edge.benchmarks.envelope import Origin
    from lsts_edge.benchmarks.report_tables import elsewhere_table
    from lsts_edge.benchmarks.results import to_json, write_result
    from lsts_edge.cli.show_progress import rewritten_line
    from lsts_edge.presets import FIVE_GROUPS
    from lsts_edge.tables import text_table

    entrants = [Entrant(path, interval) for path in models for interval in (None, *keyframe_interval)]
    with rewritten_line(sys.stderr) as progress:
        rows = measure_elsewhere(
            entrants,
            [Entrant(path) for path in beside],
            annotations,
            FIVE_GROUPS,
            threads=threads,
            progress=progress,
        )
    truth = {f"{path.parent.name}/{path.name}": who_labelled(path) for path in annotations}
    settings = ElsewhereSettings(truth, 1000)
    result = ElsewhereResult(origin=Origin.here(), settings=settings, data=ElsewhereData(tuple(rows)))
    if output is not None:
        write_result(output, result)
    if as_json:
        click.echo(to_json(result))
        return
    click.echo(text_table(*elsewhere_table(result)))
    if output is not None:
        click.echo(f"written     {output}")
