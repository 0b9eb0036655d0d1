"""``lsts-edge bench compare``: methods, LSTS forms, engines and peers side by side, over the same frames."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lsts_edge.cli.group import examples, interval_option, json_option, trusted_key_option

if TYPE_CHECKING:
    from lsts_edge.benchmarks.compare_result import CompareResult

__all__ = ["command"]

_FILE = click.Path(path_type=Path)


@click.command(
    "compare",
    short_help="Methods, forms, engines and peers side by side.",
    epilog=examples(
        "lsts-edge bench compare demo/bundle clip.mp4 --output compare.json",
        "lsts-edge bench compare demo/bundle --engine openvino:cpu:bf16 --method lsts --method per-frame",
        "lsts-edge bench compare demo/bundle clip.mp4 --yolox yolox_nano.onnx --annotations val.json",
    ),
)
@click.argument("bundle", type=_FILE)
@click.argument("source", type=_FILE, required=False)
@click.option(
    "--engine", "engines", multiple=True, help="backend[:provider[:precision]]; every installed one unless given."
)
@click.option("--method", "methods", multiple=True, help="One of the methods; all unless given.")
@click.option("--form", "forms", multiple=True, help="LSTS forms; all that the bundle has unless given.")
@click.option("--joined/--no-joined", default=True, show_default=True, help="Joined graphs too, where there are any.")
@click.option("--also", multiple=True, type=_FILE, help="A further bundle of the same model (another precision, say).")
@click.option("--yolox", type=_FILE, help="YOLOX-Nano ONNX file, run per frame on each engine.")
@click.option("--nanodet", type=_FILE, help="NanoDet-Plus ncnn .param file, its .bin beside it, run per frame.")
@click.option("--annotations", type=_FILE, help="COCO-VID style JSON: measure AP50 of everybody too.")
@click.option(
    "--segments", default=12, show_default=True, help="Timed segments: whole keyframe intervals, 10 frames at least."
)
@click.option("--warmup-segments", default=1, show_default=True, help="Segments before, not timed.")
@interval_option
@click.option("--threads", type=int, help="Threads of every engine; the cores of this machine unless given.")
@click.option("--score-floor", default=0.01, show_default=True, help="Boxes scoring less are left out, everybody's.")
@click.option("--seed", default=0, show_default=True, help="Of the order of the entries.")
@click.option("--output", type=_FILE, help="Write the result here (JSON).")
@trusted_key_option
@json_option
def command(
    bundle: Path,
    source: Path | None,
    annotations: Path | None,
    keyframe_interval: float | None,
    output: Path | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Run everybody over the same segments of SOURCE (a procedural clip unless given), in an order drawn per round.

    A ratio is the median over paired segments.
    """
    from lsts_edge.benchmarks.compare import RunSettings
    from lsts_edge.benchmarks.lineup import EngineChoice, LineupOptions, compare_bundle
    from lsts_edge.benchmarks.results import to_json, write_result
    from lsts_edge.bundle import Bundle
    from lsts_edge.cli.show_progress import rewritten_line

    opened = Bundle.open(bundle)
    run = RunSettings(
        segments=chosen["segments"],
        warmup_segments=chosen["warmup_segments"],
        keyframe_interval=keyframe_interval or opened.manifest.keyframe_interval,
        seed=chosen["seed"],
    )
    lineup: dict[str, Any] = {
        name: chosen[name] for name in ("joined", "also", "yolox", "nanodet", "threads", "score_floor")
    }
    lineup["engines"] = tuple(map(EngineChoice.parse, chosen["engines"]))
    if chosen["methods"]:
        lineup["methods"] = chosen["methods"]
    if chosen["forms"]:
        lineup["forms"] = chosen["forms"]
    with rewritten_line(sys.stderr) as progress:
        result = compare_bundle(opened, source, LineupOptions(**lineup), run, annotations, progress)
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


def _lines(result: CompareResult) -> Iterator[str]:
    from lsts_edge.benchmarks.compare_table import comparison_table
    from lsts_edge.tables import text_table

    settings, bundle, busy = result.settings, result.bundle, result.conditions.busy_by_others
    others = "an unknown share" if busy is None else f"{100 * busy:.1f} %"
    yield f"device      {result.origin.device.name}"
    yield f"bundle      {bundle.name} sha256:{bundle.digest[:12]}..., {bundle.weights}"
    yield f"clip        {settings.clip.label}; {settings.segments} segments of {settings.frames_per_segment} frames"
    yield f"threads     {settings.threads}; others took {others} of the processor"
    yield ""
    yield text_table(*comparison_table(result))
    for name, reason in result.data.left_out.items():
        yield f"left out    {name}: {reason}"
    yield ""


def _last_line(result: CompareResult) -> str:
    rows = [row for row in result.data.rows if row.entry.method == "lsts"] or result.data.rows
    best = max(rows, key=lambda row: row.model.all.fps)
    ratio = best.model.ratio_same_engine
    told = f"{best.entry.label}, {best.model.all.fps:.1f} fps"
    against = f", {ratio.median:.2f} x {ratio.against}" if ratio else ""
    return f"result      {len(result.data.rows)} entries; fastest of ours: {told}{against}"
