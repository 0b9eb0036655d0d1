"""``lsts-edge evaluate``: accuracy of a bundle, a checkpoint or ready detections on annotated video."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from lsts_edge.cli.group import examples, json_option, trusted_key_option
from lsts_edge.cli.show_progress import rewritten_line
from lsts_edge.errors import OptionError
from lsts_edge.progress import Progress, renamed

if TYPE_CHECKING:
    from lsts_edge.benchmarks.accuracy.result import AccuracyResult, AccuracyRow
    from lsts_edge.boxes import Boxes
    from lsts_edge.evaluation.annotations import AnnotationSet
    from lsts_edge.evaluation.rescoring import Rescoring
    from lsts_edge.evaluation.streaming import Latencies, Streamed, Worker
    from lsts_edge.runtime.engines.options import EngineOptions

__all__ = ["command"]


@click.command(
    "evaluate",
    short_help="Measure the accuracy of a bundle, checkpoint or detections.",
    epilog=examples(
        "lsts-edge evaluate demo/bundle vid/val.json",
        "lsts-edge evaluate examples/weights/lsts-lite.safetensors vid/val.json --per-frame --json",
        "lsts-edge evaluate demo/bundle vid/val.json --per-frame --keyframe-interval 5 --keyframe-interval 10",
        "lsts-edge evaluate demo/bundle vid/val.json --schedule centred --keyframe-interval 10",
        "lsts-edge evaluate demo/bundle vid/val.json --metric all --output val.html --output val.json",
        "lsts-edge evaluate demo/bundle vid/val.json --latency live --fps 25",
        "lsts-edge evaluate demo/bundle vid/val.json --latency-ms 40,12 --fps 30",
        "lsts-edge evaluate detections.json vid/val.json --metric vid --metric flicker",
        "lsts-edge evaluate demo/bundle vid/val.json --seq-nms online",
        "lsts-edge evaluate rows.jsonl vid/val.json --sequences cows --metric distance",
    ),
)
@click.argument("model", metavar="MODEL", type=click.Path())
@click.argument("annotations", metavar="ANNOTATIONS.json", type=click.Path())
@click.option(
    "--metric",
    "metrics",
    type=click.Choice(["vid", "distance", "delay", "flicker", "all"]),
    multiple=True,
    help="Measure more than COCO's AP50 and AP; may be repeated. vid: ImageNet VID's mean AP, and by motion. "
    "distance: AP50 by frames since the keyframe. delay: frames until an object is found. flicker: of shown boxes.",
)
@click.option("--per-frame", is_flag=True, help="The heavy path on every frame, without memory.")
@click.option(
    "--keyframe-interval",
    "keyframe_intervals",
    type=int,
    multiple=True,
    help="Frames from one keyframe to the next; default: the model's. May be repeated.",
)
@click.option(
    "--schedule",
    type=click.Choice(["online", "centred"]),
    default="online",
    show_default=True,
    help="centred: each keyframe in the middle of its interval, as the paper's offline loop has it.",
)
@click.option(
    "--seq-nms",
    "rescoring",
    type=click.Choice(["offline", "online"]),
    help="Link boxes from frame to frame and share their scores: over whole sequences, or by the past alone.",
)
@click.option("--class-agnostic", is_flag=True, help="Count all classes as one.")
@click.option("--sequences", default="", metavar="NAMES", help="Only these sequences, separated by commas.")
@click.option(
    "--shown-score", type=float, default=0.3, show_default=True, help="For delay and flicker: of shown boxes."
)
@click.option("--latency-ms", metavar="KEY,PROP", help="Streaming AP with these times of both kinds of frame.")
@click.option("--latency", metavar="RESULT.json", help="The same, drawn from a bench latency result; or 'live'.")
@click.option("--fps", type=float, default=30.0, show_default=True, help="Streaming: frames per second that come.")
@click.option("--pipeline", is_flag=True, help="Streaming: process every frame; default: the newest when free.")
@click.option("--preset", help="Preset of a checkpoint that states none.")
@click.option("--device", default="cpu", show_default=True, help="For checkpoints: cpu, cuda or cuda:N.")
@click.option("--backend", default="onnxruntime", show_default=True, help="For bundles: onnxruntime or openvino.")
@click.option("--provider", default="cpu", show_default=True, help="For bundles: the backend's device.")
@click.option("--threads", type=int, help="CPU threads; default: all.")
@click.option("--batch", type=int, default=8, show_default=True, help="For checkpoints: frames or sequences at a time.")
@click.option(
    "--output",
    "outputs",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Write a result file for bench report (.json), a table (.md) or a page (.html). May be repeated.",
)
@trusted_key_option
@json_option
def command(
    model: str,
    annotations: str,
    metrics: tuple[str, ...],
    per_frame: bool,
    keyframe_intervals: tuple[int, ...],
    schedule: Literal["online", "centred"],
    rescoring: Rescoring | None,
    class_agnostic: bool,
    sequences: str,
    shown_score: float,
    latency_ms: str | None,
    latency: str | None,
    fps: float,
    pipeline: bool,
    preset: str | None,
    device: str,
    backend: str,
    provider: str,
    threads: int | None,
    batch: int,
    outputs: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Run MODEL over the sequences of ANNOTATIONS.json and print how accurate it is.

    MODEL is a bundle, a checkpoint, or ready detections: COCO's result file (.json), what lsts-edge run wrote of one
    sequence (.jsonl, .csv, MOT's .txt), or a folder with such a file for each, named after it.

    The annotations are COCO-VID style; boxes under the key ignore count neither as found nor as false. --per-frame
    and --keyframe-interval may be given together, and the latter repeatedly: each schedule is measured.

    --latency-ms and --latency add streaming AP: each frame is judged by the newest boxes that are there when it comes.
    """
    _check(keyframe_intervals, shown_score, outputs)
    centred = schedule == "centred"
    from lsts_edge.benchmarks.accuracy.measures import METRICS, measure_video, rounded
    from lsts_edge.benchmarks.accuracy.result import AccuracyRow
    from lsts_edge.benchmarks.accuracy.tables import accuracy_text
    from lsts_edge.evaluation.centred_order import check_centred
    from lsts_edge.evaluation.coco import measure
    from lsts_edge.evaluation.rescoring import rescored
    from lsts_edge.evaluation.streaming import measure_streaming
    from lsts_edge.runtime.engines.options import EngineOptions

    path = Path(model)
    names = {name for name in sequences.split(",") if name}
    stream = _stream(latency_ms, latency, fps, pipeline)
    if stream is not None and rescoring is not None:
        got, fix = "both", "Measure streaming AP without it."
        raise OptionError("--seq-nms and streaming AP", got=got, expected="one of them", fix=fix)
    if centred and stream is not None:
        fix = "Measure streaming AP with the schedule online."
        raise OptionError("streaming AP", got="schedule centred, which looks ahead", expected="online", fix=fix)
    if centred and not keyframe_intervals and (per_frame or _is_detections(path)):
        check_centred(None)
    engine = EngineOptions(backend, provider, threads)
    wanted = METRICS if "all" in metrics else metrics
    if {"delay", "flicker"} & set(wanted):
        _require_objects(annotations)  # now, and not after everything has been run
    rows: list[AccuracyRow] = []
    schedules = [_Schedule(True)] if per_frame else []
    schedules += [_Schedule(False, interval, centred) for interval in keyframe_intervals]
    for one in schedules or [_Schedule(False, None, centred)]:
        with rewritten_line(sys.stderr) as shown:
            progress = renamed(shown, f"frames, {one}")
            if _is_detections(path):
                run = _detections(path, annotations, names, one, class_agnostic, stream)
            elif path.is_dir():
                run = _bundle(path, annotations, names, one, engine, stream, progress)
            else:
                run = _checkpoint(path, preset, annotations, names, one, device, batch, threads, stream, progress)
        if rescoring is not None:
            run = replace(run, boxes=rescored(run.truth, run.boxes, rescoring))
        accuracy = measure(run.truth, run.boxes, class_agnostic=class_agnostic)
        streaming = None
        if stream is not None and run.streamed is not None:
            streaming = measure_streaming(
                run.truth,
                run.streamed,
                frames_per_s=stream.frames_per_s,
                worker=stream.worker,
                latency=stream.told,
                class_agnostic=class_agnostic,
            )
        video = measure_video(
            run.truth,
            run.boxes,
            run.distances,
            wanted,
            shown_score=shown_score,
            class_agnostic=class_agnostic,
            streaming=streaming,
        )
        facts = asdict(rounded(accuracy)) | run.facts
        rows.append(AccuracyRow(**facts, annotations=Path(annotations).name, seq_nms=rescoring, video=video))
        if not as_json:
            click.echo(accuracy_text(rows[-1]))
    if outputs:
        _write(outputs, names, rows, as_json)
    if as_json:
        told = [asdict(row) for row in rows]
        click.echo(json.dumps(told[0] if len(told) == 1 else told, indent=2))


@dataclass(frozen=True)
class _Schedule:
    """``interval`` None: the model's own."""

    per_frame: bool
    interval: int | None = None
    centred: bool = False

    def __str__(self) -> str:
        told = "the model's own" if self.interval is None else str(self.interval)
        return "per-frame" if self.per_frame else told + (", centred" if self.centred else "")


@dataclass(frozen=True)
class _Stream:
    """``latencies`` None: those that the frames take, live."""

    latencies: Latencies | None
    frames_per_s: float
    worker: Worker
    told: str


@dataclass(frozen=True)
class _Run:
    facts: dict[str, Any]
    boxes: Mapping[int, Boxes]
    distances: Mapping[int, int]
    truth: AnnotationSet
    streamed: Streamed | None


def _check(keyframe_intervals: tuple[int, ...], shown_score: float, outputs: tuple[Path, ...]) -> None:
    if any(interval < 1 for interval in keyframe_intervals):
        got, fix = min(keyframe_intervals), "Give a positive number."
        raise OptionError("--keyframe-interval", got=got, expected=">= 1", fix=fix)
    if not 0 <= shown_score <= 1:
        raise OptionError("--shown-score", got=shown_score, expected="0..1", fix="Give what your program shows.")
    for output in outputs:
        if output.suffix not in (".json", ".md", ".html"):
            fix = "Name the file so that its ending says what it is."
            raise OptionError("--output", got=output.name, expected="a name ending in .json, .md or .html", fix=fix)


def _require_objects(annotations: str) -> None:
    from lsts_edge.evaluation.annotations import category_names, read_annotations
    from lsts_edge.evaluation.tracks import true_tracks

    path = Path(annotations)
    true_tracks(read_annotations(path, category_names(path)))


def _write(outputs: tuple[Path, ...], names: set[str], rows: list[AccuracyRow], quiet: bool) -> None:
    from lsts_edge.benchmarks.accuracy.result import AccuracyData, AccuracyResult, AccuracySettings
    from lsts_edge.benchmarks.accuracy.tables import accuracy_markdown, accuracy_page
    from lsts_edge.benchmarks.envelope import Origin
    from lsts_edge.benchmarks.results import write_result, write_text

    settings, data = AccuracySettings(tuple(sorted(names))), AccuracyData(tuple(rows))
    result: AccuracyResult = AccuracyResult(origin=Origin.here(), settings=settings, data=data)
    for output in outputs:
        if output.suffix == ".json":
            write_result(output, result)
        else:
            write_text(output, accuracy_markdown(result) if output.suffix == ".md" else accuracy_page(result))
        click.echo(f"written: {output}", err=quiet)


def _stream(latency_ms: str | None, latency: str | None, fps: float, pipeline: bool) -> _Stream | None:
    from lsts_edge.evaluation.streaming import Latencies

    if latency_ms is not None and latency is not None:
        raise OptionError("--latency-ms and --latency", got="both", expected="one of them", fix="Leave one out.")
    if not 0 < fps < float("inf"):
        raise OptionError("--fps", got=fps, expected="above 0", fix="Give the camera's rate.")
    worker: Worker = "pipeline" if pipeline else "one"
    if latency_ms is not None:
        try:
            key, propagated = (float(word) for word in latency_ms.split(","))
        except ValueError:
            expected = "two times in ms, such as 40,12"
            raise OptionError("--latency-ms", got=repr(latency_ms), expected=expected, fix="Give KEY,PROP.") from None
        told = f"{key:g} ms a keyframe, {propagated:g} ms a propagated frame"
        return _Stream(Latencies((key,), (propagated,)), fps, worker, told)
    if latency is None:
        return None
    if latency == "live":
        return _Stream(None, fps, worker, "measured live")
    from lsts_edge.benchmarks.latency_result import LatencyResult
    from lsts_edge.benchmarks.results import read_result

    result = read_result(Path(latency))
    if not isinstance(result, LatencyResult):
        expected = "a result of bench latency"
        raise OptionError("--latency", got=f"a result of {result.kind}", expected=expected, fix="Give another file.")
    line = result.data.timeline
    times = list(zip(line.kind, line.end_to_end_ms, strict=True))
    keys = tuple(time for kind, time in times if kind != "propagated")
    others = tuple(time for kind, time in times if kind == "propagated")
    return _Stream(Latencies(keys, others), fps, worker, f"drawn from {Path(latency).name}")


def _is_detections(path: Path) -> bool:
    from lsts_edge.evaluation.detection_files import VIDEO_SUFFIXES

    if path.is_dir():
        return not (path / "manifest.json").exists() and any(file.suffix in VIDEO_SUFFIXES for file in path.iterdir())
    return path.suffix in (".json", *VIDEO_SUFFIXES)


def _drawn(
    stream: _Stream | None, truth: AnnotationSet, boxes: Mapping[int, Boxes], distances: Mapping[int, int]
) -> Streamed | None:
    """Streamed boxes of a run over all frames."""
    from lsts_edge.evaluation.streaming import drawn_stream

    if stream is None:
        return None
    if stream.latencies is None:
        fix = "Give --latency-ms or a result of bench latency."
        raise OptionError("--latency", got="live", expected="a bundle, which is run here", fix=fix)
    if len(distances) < len(truth.images):
        fix = "Give --keyframe-interval as well."
        raise OptionError("streaming AP", got="no kinds of frames in the file", expected="a schedule", fix=fix)
    return drawn_stream(
        truth, boxes, distances, stream.latencies, frames_per_s=stream.frames_per_s, worker=stream.worker
    )


def _detections(
    path: Path,
    annotations: str,
    names: set[str],
    schedule: _Schedule,
    class_agnostic: bool,
    stream: _Stream | None,
) -> _Run:
    from lsts_edge.benchmarks.envelope import Precision
    from lsts_edge.evaluation.annotations import category_names
    from lsts_edge.evaluation.detection_files import read_detections
    from lsts_edge.evaluation.keyframe_distance import schedule_distances

    truth = _truth(annotations, category_names(Path(annotations)), names)
    read = read_detections(path, truth, class_agnostic=class_agnostic)
    interval, centred = schedule.interval, schedule.centred
    distances = read.distances if interval is None else schedule_distances(truth, interval, centred=centred)
    facts = {
        "model": path.stem,
        "detections": path.name,
        "engine": "file",
        "provider": "cpu",
        "precision": Precision(),
        "keyframe_interval": interval,
        "centred": centred,
    }
    return _Run(facts, read.boxes, distances, truth, _drawn(stream, truth, read.boxes, distances))


def _bundle(
    path: Path,
    annotations: str,
    names: set[str],
    schedule: _Schedule,
    engine: EngineOptions,
    stream: _Stream | None,
    progress: Progress,
) -> _Run:
    from lsts_edge.benchmarks.envelope import bundle_facts
    from lsts_edge.bundle import Bundle
    from lsts_edge.evaluation.bundle_stream import stream_bundle
    from lsts_edge.evaluation.bundles import AskedInterval, run_bundle

    bundle = Bundle.open(path)
    truth = _truth(annotations, tuple(bundle.manifest.classes), names)
    chosen = None if schedule.per_frame else schedule.interval or bundle.manifest.keyframe_interval
    centred = schedule.centred
    own = schedule.interval is None and not schedule.per_frame and not centred
    asked: AskedInterval = "own" if own else chosen
    ages: dict[int, int] = {}
    found = run_bundle(
        bundle, truth, keyframe_interval=asked, centred=centred, engine=engine, ages=ages, progress=progress
    )
    streamed = None
    if stream is not None:
        streamed = stream_bundle(
            bundle,
            truth,
            keyframe_interval=asked,
            frames_per_s=stream.frames_per_s,
            worker=stream.worker,
            latencies=stream.latencies,
            engine=engine,
            progress=progress,
        )
    facts = {
        "model": bundle.manifest.name,
        "bundle_digest": f"sha256:{bundle.digest}",
        "engine": engine.name,
        "provider": engine.provider,
        "precision": bundle_facts(bundle).precision(engine.precision),
        "keyframe_interval": chosen,
        "centred": centred,
    }
    return _Run(facts, found, ages, truth, streamed)


def _checkpoint(
    path: Path,
    preset: str | None,
    annotations: str,
    names: set[str],
    schedule: _Schedule,
    device: str,
    batch: int,
    threads: int | None,
    stream: _Stream | None,
    progress: Progress,
) -> _Run:
    from lsts_edge.benchmarks.envelope import Precision
    from lsts_edge.evaluation.keyframe_distance import schedule_distances
    from lsts_edge.model.checkpoint import load_checkpoint
    from lsts_edge.train.inference import run_checkpoint

    network, info = load_checkpoint(path, preset)
    truth = _truth(annotations, info.preset.head.classes, names)
    afresh = schedule.per_frame or network.preset.per_frame
    chosen = None if afresh else schedule.interval or info.preset.keyframe_interval
    centred = schedule.centred
    found = run_checkpoint(
        network,
        truth,
        keyframe_interval=chosen,
        centred=centred,
        device=device,
        batch=batch,
        threads=threads,
        progress=progress,
    )
    distances = schedule_distances(truth, chosen, centred=centred)
    facts = {
        "model": info.preset.name,
        "checkpoint": info.file,
        "checkpoint_sha256": info.sha256,
        "engine": "torch",
        "provider": device,
        "precision": Precision(),
        "keyframe_interval": chosen,
        "centred": centred,
    }
    return _Run(facts, found, distances, truth, _drawn(stream, truth, found, distances))


def _truth(annotations: str, classes: tuple[str, ...], names: set[str]) -> AnnotationSet:
    from lsts_edge.evaluation.annotations import read_annotations

    truth = read_annotations(Path(annotations), classes)
    unknown = sorted(names - set(truth.sequences()))
    if unknown:
        raise OptionError("--sequences", got=unknown, expected="names in the annotations", fix="Correct them.")
    return truth.only(names) if names else truth
