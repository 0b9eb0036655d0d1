"""``lsts-edge bench latency``: how fast a bundle is on this device, keyframe and propagated frames apart."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lsts_edge.cli.group import examples, json_option, trusted_key_option

if TYPE_CHECKING:
    from lsts_edge.benchmarks.conditions import Conditions
    from lsts_edge.benchmarks.latency_result import LatencyData, LatencyResult

__all__ = ["command"]


@click.command(
    "latency",
    short_help="Milliseconds per keyframe and propagated frame.",
    epilog=examples(
        "lsts-edge bench latency demo/bundle",
        "lsts-edge bench latency demo/bundle clip.mp4 --pace 30 --output latency.json",
        "lsts-edge bench latency demo/bundle --clip-size 1280x720 --write-video",
        "lsts-edge bench latency demo/bundle --clip-size 640x360 --passes 20",
        "lsts-edge bench latency demo/bundle --backend openvino --threads 2 --json",
    ),
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("source", type=click.Path(path_type=Path), required=False)
@click.option("--frames", default=300, show_default=True, help="Frames to time.")
@click.option("--warmup-frames", default=20, show_default=True, help="Frames before, not timed.")
@click.option("--split-frames", default=60, show_default=True, help="Frames with joined subgraphs taken apart.")
@click.option("--cold-starts", default=5, show_default=True, help="Fresh processes to start; 0 for none.")
@click.option("--passes", default=0, show_default=True, help="Pairs of runs, decoding beside and in turn.")
@click.option("--camera-fps", default=30.0, show_default=True, help="Rate that deadlines are counted against.")
@click.option("--pace", "pace_fps", type=float, help="Feed frames at this rate, in place of as fast as possible.")
@click.option("--draw/--no-draw", default=True, show_default=True, help="Draw the boxes, as part of end to end.")
@click.option("--write-video", is_flag=True, help="Encode H.264 too, into a temporary file.")
@click.option(
    "--clip-size", metavar="WxH", help="Without SOURCE: encode the procedural clip at this size, and decode it."
)
@click.option("--backend", default="onnxruntime", show_default=True, help="onnxruntime or openvino.")
@click.option("--provider", default="cpu", show_default=True, help="cpu, cuda, tensorrt; openvino: cpu, gpu, auto.")
@click.option("--threads", type=int, help="Threads inside an operator; the engine's choice unless given.")
@click.option("--precision", default="fp32", show_default=True, help="OpenVINO's precision: fp32, bf16, fp16.")
@click.option("--lsts-form", help="taps, custom or gridsample; the bundle's default unless given.")
@click.option(
    "--joined/--split", "joined", default=None, help="Joined graphs or subgraphs; joined where there are any."
)
@click.option("--keyframe-interval", type=int, help="Frames from keyframe to keyframe; the bundle's unless given.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the result here (JSON).")
@trusted_key_option
@json_option
def command(bundle: Path, source: Path | None, output: Path | None, as_json: bool, **chosen: Any) -> None:
    """Time BUNDLE on the video SOURCE (a procedural clip unless given), model-only and end to end.

    Also measured: each stage and subgraph, cold start in fresh processes, deadline misses, jitter, processor time,
    peak memory, and energy where the device tells it. Frames are decoded in turn; with --passes the video is also run
    with decoding beside detection (--source-option read_ahead=4 of run).
    """
    from lsts_edge.benchmarks.latency import LatencyOptions, measure_latency
    from lsts_edge.benchmarks.results import to_json, write_result
    from lsts_edge.cli.show_progress import rewritten_line
    from lsts_edge.runtime.engines.options import EngineOptions

    names = ("backend", "provider", "threads", "precision", "lsts_form", "joined")
    options = LatencyOptions(engine=EngineOptions(**{name: chosen.pop(name) for name in names}), **chosen)
    with rewritten_line(sys.stderr) as progress:
        result = measure_latency(bundle, source, options, progress)
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


def _lines(result: LatencyResult) -> Iterator[str]:
    from lsts_edge.benchmarks.report_tables import latency_tables
    from lsts_edge.tables import text_table

    yield from _heading(result)
    yield ""
    for table in latency_tables(result)[:3]:
        yield text_table(*table)
        yield ""
    yield from _footing(result.data, result.conditions)


def _heading(result: LatencyResult) -> Iterator[str]:
    settings, engine, bundle = result.settings, result.settings.engine, result.bundle
    yield f"device      {result.origin.device.name}"
    yield (
        f"engine      {engine.backend} {engine.version} on {engine.provider}, "
        f"{engine.threads or 'own choice of'} threads, {bundle.precision(engine.precision).label}"
    )
    yield (
        f"model       {'joined' if engine.joined else 'split'} graphs, lsts {engine.lsts_form}, "
        f"a keyframe every {settings.keyframe_interval}"
    )
    yield f"bundle      {bundle.name} sha256:{bundle.digest[:12]}..., {bundle.weights}"
    yield f"clip        {settings.clip.label}; {settings.frames} frames after {settings.warmup_frames} of warm-up"


def _footing(data: LatencyData, conditions: Conditions) -> Iterator[str]:
    from lsts_edge.tables import number

    deadlines, jitter, per_frame = data.times.deadlines, data.times.jitter.end_to_end, data.per_frame
    yield (
        f"deadlines   at {deadlines.camera_fps:g} fps: {deadlines.late} of {deadlines.frames} late, "
        f"{deadlines.over_budget} over budget, {number(deadlines.backlog_end_ms)} ms behind at the end"
    )
    if data.paced is not None:
        paced = data.paced
        ages = f"p50 {number(paced.result_age.p50_ms)}, p99 {number(paced.result_age.p99_ms)}"
        yield f"paced       at {paced.pace_fps:g} fps: {paced.late} of {paced.frames} late; age {ages} ms"
    yield f"jitter      p99 - p50 {number(jitter.p99_minus_p50_ms)} ms, mean step {number(jitter.mean_step_ms)} ms"
    ahead = data.read_ahead
    if ahead is not None:
        yield (
            f"read ahead  {ahead.beside.fps:.1f} fps decoding beside detection, {ahead.in_turn.fps:.1f} in turn: "
            f"{ahead.speedup.median:.2f} x (median of {ahead.speedup.n} pairs of passes, {ahead.frames} frames each)"
        )
    energy = per_frame.energy_mj
    told = f"{number(energy)} mJ" if energy is not None else f"not told: {per_frame.energy_reason}"
    yield f"processor   {number(per_frame.cpu_time_ms)} ms of processor time a frame; energy {told}"
    yield f"memory      {conditions.peak_rss_mib} MiB at most (this process, clip included)"
    cold = data.cold_start
    if cold is not None:
        steps = ", ".join(f"{name.replace('_', ' ')} {number(found.p50_ms)}" for name, found in cold.phases.items())
        resident = number(cold.memory.get("rss_mib"))
        yield f"cold start  {steps} ms (p50 of {cold.repeats}); resident {resident} MiB"
    yield f"machine     {_conditions(conditions)}"


def _conditions(conditions: Conditions) -> str:
    busy, throttled = conditions.busy_by_others, conditions.throttle_events
    return ", ".join(
        (
            "load of others not told" if busy is None else f"others took {100 * busy:.1f} % of the processor",
            f"governor {conditions.governor or 'not told'}",
            f"throttling {'not told' if throttled is None else f'{throttled} times'}",
        )
    )


def _last_line(result: LatencyResult) -> str:
    kinds, whole = result.data.times.by_kind, result.data.times.all
    key = kinds.get("keyframe") or next(iter(kinds.values()))
    parts = [f"keyframe p50 {key.model.p50_ms:.2f} ms"]
    if "propagated" in kinds:
        parts.append(f"propagated p50 {kinds['propagated'].model.p50_ms:.2f} ms")
    rates = f"{whole.model.fps:.1f} fps model-only, {whole.end_to_end.fps:.1f} fps end to end"
    return f"result      {', '.join(parts)}; {rates}"
