"""``lsts-edge run``: a bundle, or the one that comes with the package, over a video: JSON lines, annotated video."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lsts_edge.cli.group import examples, interval_option, json_option, trusted_key_option
from lsts_edge.cli.limits import limit_options
from lsts_edge.cli.output_options import output_options, written_paths

if TYPE_CHECKING:
    from lsts_edge.runtime.detector import Detector
    from lsts_edge.runtime.loop import RunSummary
    from lsts_edge.runtime.sinks.interface import Sink
    from lsts_edge.runtime.sinks.outputs import Outputs
    from lsts_edge.runtime.sources.interface import Source
    from lsts_edge.runtime.tracking import TrackIds

__all__ = ["command", "run_with_progress", "summary_to_dict"]


@click.command(
    "run",
    short_help="Detect objects in a video.",
    epilog=examples(
        "lsts-edge run street.mp4 --output-video out.mp4",
        "lsts-edge run demo/bundle street.mp4 --output-video out.mp4 --output-json out.jsonl",
        "lsts-edge run demo/bundle rtsp://camera/stream --output-json out.jsonl",
        "lsts-edge run rtsp://camera/stream --output-video street.mp4 --output-json street.jsonl --segment 10m",
        "lsts-edge run rtsp://camera/stream --classes person,car --track --output-json - | jq .detections",
        "lsts-edge run demo/bundle /dev/video0 --max-frames 500 --json",
    ),
)
@click.argument("words", nargs=-1, required=True, metavar="[BUNDLE] SOURCE")
@output_options
@interval_option
@click.option("--score-threshold", type=float, default=0.3, show_default=True, help="Leave out boxes scoring less.")
@click.option("--backend", default="onnxruntime", show_default=True, help="onnxruntime or openvino.")
@click.option("--provider", default="cpu", show_default=True, help="cpu, cuda, tensorrt; OpenVINO: cpu, gpu, auto.")
@click.option("--threads", type=int, help="Threads inside an operator [default: the engine's choice].")
@click.option("--lsts-form", help="taps, custom, gridsample, or auto: measured once [default: the bundle's].")
@click.option(
    "--propagator",
    metavar="WAY",
    help="Between keyframes: a way of the bundle's, hold, flow-boxes or every-frame [default: the bundle's own].",
)
@click.option(
    "--scene-cuts",
    type=click.Choice(["on", "off"]),
    default="on",
    show_default=True,
    help="on: nothing is carried from one shot into the next.",
)
@click.option(
    "--schedule",
    type=click.Choice(["online", "centred"]),
    default="online",
    show_default=True,
    help="centred: each keyframe in the middle of its interval; for files.",
)
@click.option("--policy", type=click.Choice(["every", "latest"]), help="Every frame, or the newest [default: live].")
@click.option("--every", type=int, help="Take every n-th frame.")
@click.option(
    "--reconnect", metavar="SECONDS|never|forever", help="How long to look for a lost camera [default: forever]."
)
@click.option(
    "--source-option", "pairs", metavar="KEY=VALUE", multiple=True, help="Such as rtsp_transport=udp; repeat."
)
@click.option("--classes", metavar="NAMES", help="Keep only these, by name or number, separated by commas.")
@click.option("--track", is_flag=True, help="Number the objects from frame to frame (extra [track]).")
@click.option("--max-frames", type=int, help="Stop after so many frames.")
@limit_options
@click.option("--expect-digest", metavar="SHA256", help="Refuse the bundle unless this is its digest.")
@trusted_key_option
@json_option
def command(
    words: tuple[str, ...],
    outputs: Outputs,
    backend: str,
    provider: str,
    threads: int | None,
    lsts_form: str | None,
    scene_cuts: str,
    schedule: str,
    policy: str | None,
    every: int | None,
    reconnect: str | None,
    pairs: tuple[str, ...],
    classes: str | None,
    track: bool,
    max_frames: int | None,
    limit_memory: int | None,
    limit_time: float | None,
    expect_digest: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Run BUNDLE over SOURCE: a video file, a folder of pictures, a pipe (-), a camera or a stream's URL.

    Without BUNDLE the detector that comes with the package is run: the 80 classes of COCO.
    Outputs appear at their paths when complete; Ctrl-C ends them after the current frame.
    """
    from lsts_edge.bundle import Bundle
    from lsts_edge.cli.limits import limits_of, try_within
    from lsts_edge.default_bundle import default_bundle
    from lsts_edge.errors import OptionError, StreamLost
    from lsts_edge.redact import redact
    from lsts_edge.runtime.detector import Detector
    from lsts_edge.runtime.engines.options import EngineOptions
    from lsts_edge.runtime.loop import RunSummary
    from lsts_edge.runtime.sources.open import open_source
    from lsts_edge.runtime.sources.options import SourceOptions
    from lsts_edge.runtime.tracking import TrackIds

    bundle, source = _bundle_and_source(words)
    named = {"policy": policy, "every": every, "reconnect": reconnect}
    how = SourceOptions().with_pairs((*pairs, *(f"{key}={value}" for key, value in named.items() if value is not None)))
    to_stdout = bool({"-", "/dev/stdout"} & set(outputs.names))  # the summary goes beside the rows
    paths = [os.path.realpath(path) for path in map(str, (source, *outputs.files)) if path != "-"]
    if len(set(paths)) < len(paths) or sum(name in ("-", "/dev/stdout") for name in outputs.names) > 1:
        got = ", ".join(map(redact, (source, *outputs.names)))
        raise OptionError("source and outputs", got=got, expected="different paths", fix="Choose others.")
    engine = EngineOptions(backend, provider, threads, lsts_form=lsts_form)
    checked = Bundle.open(default_bundle() if bundle is None else bundle, expect_digest)
    try_within(checked, engine, limits_of(limit_memory, limit_time, default=False))
    kept = None if classes is None else classes.split(",")
    options |= {"scene_cuts": scene_cuts == "on", "classes": kept, "centred": schedule == "centred"}
    with Detector(checked, engine, **options) as detector, open_source(source, how) as opened:
        if bundle is None:
            _tell_default(detector)
        sinks = outputs.open(detector.manifest.classes, opened.rate_fps)
        tracks = TrackIds(opened.rate_fps) if track else None
        summary, lost, received = RunSummary(), None, None
        try:
            _, received = run_with_progress(
                detector, opened, sinks, max_frames=max_frames, tracks=tracks, summary=summary
            )
        except StreamLost as error:  # told after what there is, which is kept
            lost = error
    written = written_paths(sinks, outputs)
    if as_json:
        told = {"bundle": detector.manifest.name, "bundle_digest": detector.bundle.digest, "outputs": written}
        click.echo(json.dumps({**summary_to_dict(summary), **told}), err=to_stdout)
    else:
        for line in _lines(summary, written):
            click.echo(line, err=to_stdout)
    if lost is not None:
        raise lost
    if received is not None:
        sys.exit(128 + received)


def _bundle_and_source(words: tuple[str, ...]) -> tuple[str | None, str]:
    """One word is the source; of two the first is the bundle."""
    if len(words) > 2:
        raise click.UsageError(f"Got {len(words)} arguments, expected [BUNDLE] SOURCE.")
    if len(words) == 1 and (Path(words[0]) / "manifest.json").is_file():
        raise click.UsageError(f"'{words[0]}' is a bundle: SOURCE is missing behind it.")
    return (None if len(words) == 1 else words[0]), words[-1]


def _tell_default(detector: Detector) -> None:
    """Whose network runs, for nobody chose it."""
    from lsts_edge.default_bundle import DEFAULT_NOTICE

    manifest = detector.manifest
    click.echo(
        f"no bundle given: running {manifest.name}, which comes with lsts-edge ({len(manifest.classes)} classes); "
        f"licence: {manifest.weights.licence}; authors and sources: {DEFAULT_NOTICE}",
        err=True,
    )


def run_with_progress(
    detector: Detector,
    source: Source,
    sinks: Iterable[Sink],
    *,
    max_frames: int | None = None,
    tracks: TrackIds | None = None,
    summary: RunSummary | None = None,
) -> tuple[RunSummary, int | None]:
    """Run to the end with a progress bar on a terminal; a first Ctrl-C or TERM ends the run with complete outputs.

    Returns:
        The summary, and the signal's number if one ended the run.
    """
    from lsts_edge.runtime.interrupts import StopOnSignal
    from lsts_edge.runtime.loop import run_stream

    known = [count for count in (source.frame_count, max_frames) if count]
    with StopOnSignal(source) as signals, _progress(min(known) if known else None) as advance:
        summary = run_stream(
            detector,
            source,
            sinks,
            max_frames=max_frames,
            on_result=lambda *_: advance(),
            tracks=tracks,
            summary=summary,
        )
    return summary, signals.received if summary.stopped else None


@contextmanager
def _progress(total: int | None) -> Iterator[Any]:
    """A bar with the frame rate on standard error; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    import time

    shown: Any = range(total) if total else iter(int, 1)
    begin, done = time.monotonic(), 0
    with click.progressbar(
        shown,
        length=total,
        file=sys.stderr,
        show_pos=True,
        item_show_func=lambda rate: None if rate is None else f"{rate} fps",
        update_min_steps=5,
    ) as bar:

        def advance() -> None:
            nonlocal done
            done += 1
            bar.update(1, f"{done / max(time.monotonic() - begin, 1e-6):.1f}")

        yield advance


def summary_to_dict(summary: RunSummary) -> dict[str, Any]:
    """JSON-ready counts, percentiles and rates."""
    from lsts_edge.statistics import nearest_rank

    latency = {
        kind: {
            "n": summary.kinds[kind],
            "p50_ms": round(nearest_rank(values, 50), 3),
            "p95_ms": round(nearest_rank(values, 95), 3),
        }
        for kind, values in summary.latency_ms.items()
    }
    return {
        "frames": summary.frames,
        "detections": summary.detections,
        "kinds": dict(summary.kinds),
        "labels": dict(summary.labels),
        "resets": dict(summary.resets),
        "damaged": summary.damaged,
        "lost": summary.lost,
        "skipped": summary.skipped,
        "dropped": summary.dropped,
        "reconnects": summary.reconnects,
        "latency": latency,
        "stage_ms": {stage: round(total / summary.frames, 4) for stage, total in summary.stage_ms.items()},
        "graph_ms": {graph: round(total / summary.frames, 4) for graph, total in summary.graph_ms.items()},
        "wall_s": round(summary.wall_s, 3),
        "frames_per_s": round(summary.frames_per_s, 2),
        "real_time_factor": round(summary.real_time_factor, 3),
        "stopped": summary.stopped,
    }


def _lines(summary: RunSummary, outputs: list[str]) -> Iterator[str]:
    data = summary_to_dict(summary)
    for kind, latency in data["latency"].items():
        yield f"{kind:<11} {latency['n']:>6} frames  p50 {latency['p50_ms']:.2f} ms  p95 {latency['p95_ms']:.2f} ms"
    if summary.frames:
        for label, part in (("stages", "stage_ms"), ("graphs", "graph_ms")):
            yield (
                f"{label:<11} "
                + "  ".join(f"{name} {value:.2f}" for name, value in data[part].items())
                + "  (ms a frame)"
            )
    for reason, count in summary.resets.items():
        yield f"reset       {reason}: {count}"
    if summary.damaged or summary.lost or summary.dropped:
        yield f"stream      {summary.damaged} damaged frames, {summary.lost} packets lost, {summary.dropped} dropped"
    if summary.skipped:
        yield f"skipped     {summary.skipped} files that are no pictures"
    if summary.reconnects:
        yield f"reconnects  {summary.reconnects}"
    ended = "stopped: " if summary.stopped else ""
    written = f"; wrote {', '.join(outputs)}" if outputs else ""
    yield f"{ended}{summary.frames} frames, {summary.detections} detections, {summary.frames_per_s:.1f} fps{written}"
