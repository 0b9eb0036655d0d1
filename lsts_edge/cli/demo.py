"""``lsts-edge demo``: boxes on real videos in one command, with what they cost and keep beside every frame."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lsts_edge.cli.group import examples, interval_option, json_option
from lsts_edge.cli.show_progress import echo_progress

if TYPE_CHECKING:
    from lsts_edge.bundle import Bundle
    from lsts_edge.cli.demo_watch import Watched
    from lsts_edge.runtime.engines.options import EngineOptions
    from lsts_edge.runtime.loop import RunSummary
    from lsts_edge.runtime.sources.interface import Source

__all__ = ["command"]

_PROCEDURAL = "procedural"
_PROCEDURAL_FRAMES = 250
_MOST_LABELS = 8
_HONEST = (
    "the paper's network, trained here in minutes of a GPU and an hour of CPU: five groups of objects, loose boxes; it "
    "shows the method and is no detector to rely on (its accuracy: examples/weights/README.md)"
)


@click.command(
    "demo",
    short_help="Show boxes on real videos, and what they cost beside every frame.",
    epilog=examples(
        "lsts-edge demo",
        "lsts-edge demo --clip my-video.mp4 --model default",
        "lsts-edge demo --clip cockatoo --model lsts-lite --output demo-cockatoo",
    ),
)
@click.option("--output", type=click.Path(path_type=Path), default="demo", show_default=True, help="Folder to fill.")
@click.option(
    "--clip",
    "clips",
    multiple=True,
    default=("bikes", "bottle"),
    show_default=True,
    help="bikes, bottle, cockatoo, procedural, or a video's path; may be repeated.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Choice(["default", "lsts-lite"]),
    default=("default", "lsts-lite"),
    show_default=True,
    help="The detector that comes with the package, and the paper's network; may be repeated.",
)
@click.option("--checkpoint", help="Weights for lsts-lite, or 'random' [default: those in examples/weights].")
@click.option("--preset", help="Model of a random checkpoint [default: lsts-lite].")
@interval_option
@click.option("--score-threshold", type=float, default=0.4, show_default=True, help="Leave out boxes scoring less.")
@click.option("--backend", default="onnxruntime", show_default=True, help="onnxruntime or openvino.")
@click.option("--threads", type=int, help="Threads inside an operator [default: the engine's choice].")
@click.option("--max-frames", type=int, help="Stop after so many frames.")
@json_option
def command(
    output: Path,
    clips: tuple[str, ...],
    models: tuple[str, ...],
    checkpoint: str | None,
    preset: str | None,
    backend: str,
    threads: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Run the detector that comes with the package over clips, then the paper's network, and show what they found.

    Fills the output folder with a video, a contact sheet and rows for each clip, and summary.txt. Every frame is also
    run through the same detector without propagation: agreement and speed-up are measured in this run. lsts-lite is
    exported from its checkpoint and verified first, into bundle/, and shown on the first clip that has its classes.
    """
    from lsts_edge.bundle import Bundle
    from lsts_edge.cli.demo_network import checkpoint_file, lsts_bundle
    from lsts_edge.default_bundle import default_bundle
    from lsts_edge.runtime.engines.options import EngineOptions

    if "lsts-lite" in models and checkpoint != "random":
        checkpoint_file(checkpoint)  # told now, not after minutes
    shown = _Shown(output, EngineOptions(backend, threads=threads), as_json, options)
    _make_folder(output)
    found = _available(clips)
    if "default" in models:
        bundle = Bundle.open(default_bundle())
        shown.head(bundle, "comes with lsts-edge, COCO's 80 classes")
        for clip in found:
            shown.clip(bundle, clip, clip.stem)
    if "lsts-lite" in models:
        bundle = lsts_bundle(output / "bundle", checkpoint, preset)
        shown.head(bundle, _HONEST if bundle.manifest.weights.source == "file" else "random weights")
        shown.clip(bundle, _clip_for(bundle, found), "lsts-lite")
    shown.end()


@dataclass(frozen=True)
class _Clip:
    """A clip to show: the file, None for the procedural one; the classes in it, none if nobody knows."""

    path: Path | None
    stem: str
    shows: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return "the procedural clip" if self.path is None else self.path.name

    def open(self) -> Source:
        from lsts_edge.clips import moving_clip
        from lsts_edge.runtime.sources.arrays import ArraySource
        from lsts_edge.runtime.sources.open import open_source

        if self.path is not None:
            return open_source(self.path)
        source = ArraySource(moving_clip(_PROCEDURAL_FRAMES), name=self.title)
        source.frame_count = _PROCEDURAL_FRAMES
        return source


def _available(clips: Sequence[str]) -> list[_Clip]:
    """Those that can be had; the network's absence costs its clips, and is told."""
    from lsts_edge.demo_clips import CLIPS, fetch_clip
    from lsts_edge.errors import ClipUnavailable

    found: list[_Clip] = []
    missing: list[ClipUnavailable] = []
    for clip in dict.fromkeys(clips):
        if clip == _PROCEDURAL:
            found.append(_Clip(None, clip))
        elif clip not in CLIPS:
            taken = {one.stem for one in found}
            stem = Path(clip).stem
            found.append(_Clip(Path(clip), stem if stem not in taken else f"{stem}-{len(found) + 1}"))
        else:
            try:
                found.append(_Clip(fetch_clip(clip, progress=echo_progress), clip, CLIPS[clip].shows))
            except ClipUnavailable as error:
                missing.append(error)
    if not found:
        raise missing[0]
    for reason in missing:
        echo_progress(f"{reason}\ngoing on without it")
    return found


def _clip_for(bundle: Bundle, clips: Sequence[_Clip]) -> _Clip:
    """The first that may show something of the bundle's classes, else the procedural one."""
    for clip in clips:
        if not clip.shows or not set(bundle.manifest.classes).isdisjoint(clip.shows):
            return clip
    echo_progress(
        f"no clip shows a class of {bundle.manifest.name}: running it on moving shapes, where it finds nothing"
    )
    return _Clip(None, _PROCEDURAL)


def _make_folder(path: Path) -> None:
    from lsts_edge.errors import FileUnwritable

    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileUnwritable(
            f"folder {path}", got=error.strerror, expected="a folder that can be made", fix="Choose another --output."
        ) from error


class _Shown:
    """Runs bundles over clips, and tells: as lines, in summary.txt too, or as one JSON document."""

    def __init__(self, output: Path, engine: EngineOptions, as_json: bool, options: dict[str, Any]) -> None:
        self._output = output
        self._engine = engine
        self._as_json = as_json
        self._interval: float | None = options["keyframe_interval"]
        self._score: float = options["score_threshold"]
        self._max_frames: int | None = options["max_frames"]
        self._lines: list[str] = []
        self._rows: list[dict[str, Any]] = []

    def head(self, bundle: Bundle, words: str) -> None:
        """Name what is run next."""
        manifest = bundle.manifest
        self._tell(f"{manifest.name}: {words}", f"weights     {manifest.weights.description}")
        self._tell(f"licence     {manifest.weights.licence}")
        parity = manifest.parity
        if parity is not None:
            self._tell(f"verified    tensor error {parity.max_tensor_error:.1e} over {parity.frames} frames")

    def clip(self, bundle: Bundle, clip: _Clip, name: str) -> None:
        """Run one clip to its end, or to a signal, which ends the demo after this clip's outputs are whole."""
        from lsts_edge.bundle.propagation import schedule_text
        from lsts_edge.cli.demo_watch import LEAST_SCORE, BesidePerFrame
        from lsts_edge.cli.run import run_with_progress
        from lsts_edge.runtime.detector import Detector
        from lsts_edge.runtime.sinks.contact_sheet import ContactSheetSink
        from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
        from lsts_edge.runtime.sinks.video import VideoSink

        manifest = bundle.manifest
        files = {kind: self._output / f"{name}.{kind}" for kind in ("mp4", "png", "jsonl")}
        interval = self._interval or manifest.keyframe_interval
        motion = manifest.propagation.chosen.most_motion if self._interval is None else None
        kept = min(self._score, LEAST_SCORE)
        with (
            Detector(bundle, self._engine, score_threshold=kept, keyframe_interval=self._interval) as detector,
            Detector(bundle, self._engine, score_threshold=kept, propagator="every-frame") as per_frame,
            clip.open() as source,
        ):
            count = min(filter(None, (source.frame_count, self._max_frames)), default=100)
            title = f"{manifest.name} on {clip.title}: keyframes, and frames propagated from them"
            sinks = [
                JsonLinesSink(files["jsonl"]),
                VideoSink(files["mp4"], rate_fps=source.rate_fps),
                ContactSheetSink(files["png"], title=title, frame_count=count, interval=math.ceil(interval)),
            ]
            expected = [label for label in manifest.classes if label in clip.shows]
            beside = BesidePerFrame(per_frame, sinks, shown_score=self._score, expected=expected)
            echo_progress(f"running {manifest.name} on {clip.title}")
            summary, received = run_with_progress(detector, source, [beside], max_frames=self._max_frames)
        watched = beside.watched()
        schedule = schedule_text(interval, motion)
        self._tell(*_lines(clip, manifest.propagation.default, schedule, expected, summary, watched))
        self._tell(f"see         {files['mp4']} and {files['png']}", "")
        self._rows.append(
            {
                "clip": clip.title,
                "model": manifest.name,
                "weights": manifest.weights.description,
                "licence": manifest.weights.licence,
                "bundle_digest": f"sha256:{bundle.digest}",
                "way": manifest.propagation.default,
                "keyframe_interval": interval,
                "keyframe_motion": motion,
                "frames": watched.frames,
                "expected": expected,
                "frames_with_expected": watched.found if expected else None,
                "per_frame_frames_with_expected": watched.per_frame_found if expected else None,
                "labels": dict(watched.labels),
                "agreement": {str(score): value for score, value in watched.agreement.items()},
                "mean_ms": round(watched.mean_ms, 3),
                "per_frame_ms": round(watched.per_frame_ms, 3),
                "speedup": round(watched.speedup, 3),
                "resets": dict(summary.resets),
                "outputs": [str(path) for path in files.values()],
            }
        )
        if received is not None:
            self.end()
            sys.exit(128 + received)

    def end(self) -> None:
        """Write the summary."""
        from lsts_edge.runtime.sinks.partial_file import PartialFile

        summary = PartialFile(self._output / "summary.txt")
        summary.create().write_text("\n".join(self._lines) + "\n", encoding="utf-8")
        summary.publish()
        summary.settle()
        click.echo(json.dumps(self._rows, indent=2) if self._as_json else f"summary: {self._output / 'summary.txt'}")

    def _tell(self, *lines: str) -> None:
        self._lines += lines
        if not self._as_json:
            click.echo("\n".join(lines))


def _lines(
    clip: _Clip, way: str, schedule: str, expected: Sequence[str], summary: RunSummary, watched: Watched
) -> Iterator[str]:
    stopped = ", stopped" if summary.stopped else ""
    yield f"clip        {clip.title}: {watched.frames} frames{stopped}; {way} at keyframe interval {schedule}"
    if expected:
        yield (
            f"found       {' or '.join(expected)} in {watched.found} of {watched.frames} frames; "
            f"on every frame it finds it in {watched.per_frame_found}"
        )
    labels = [f"{label} {count}" for label, count in watched.labels.most_common()]
    rest = f", and {len(labels) - _MOST_LABELS} classes more" if len(labels) > _MOST_LABELS else ""
    yield f"boxes       {', '.join(labels[:_MOST_LABELS]) or 'none'}{rest}"
    values = " / ".join("undefined" if value is None else f"{value:.3f}" for value in watched.agreement.values())
    scores = " / ".join(f"{score:g}" for score in watched.agreement)
    yield f"agreement   {values} with itself on every frame (AP50; true: its boxes that score {scores} or more)"
    yield (
        f"time        {watched.mean_ms:.1f} ms a frame instead of {watched.per_frame_ms:.1f} on every frame: "
        f"{watched.speedup:.2f} x faster, picture to boxes, taking turns"
    )
    for reason, count in summary.resets.items():
        yield f"reset       {reason}: {count}"
