"""``lsts-edge demo``: from the committed checkpoint to boxes on a real video, in one command."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lsts_edge.cli.group import examples, json_option
from lsts_edge.cli.show_progress import echo_progress

if TYPE_CHECKING:
    from lsts_edge.bundle import Bundle
    from lsts_edge.runtime.engines.options import EngineOptions
    from lsts_edge.runtime.loop import RunSummary
    from lsts_edge.runtime.sources.interface import Source

__all__ = ["command"]

_PROCEDURAL = "the procedural clip"
_PROCEDURAL_FRAMES = 250


@click.command(
    "demo",
    short_help="Show boxes on a real video: export, verify, run, picture.",
    epilog=examples(
        "lsts-edge demo",
        "lsts-edge demo --clip bikes --output demo-bikes",
        "lsts-edge demo --clip my-video.mp4",
    ),
)
@click.option("--output", type=click.Path(path_type=Path), default="demo", show_default=True, help="Folder to fill.")
@click.option(
    "--clip",
    "clips",
    multiple=True,
    default=("cockatoo", "bikes"),
    show_default=True,
    help="cockatoo, bikes, procedural, or a video's path; may be repeated.",
)
@click.option("--checkpoint", help="Weights to export, or 'random' [default: examples/weights/lsts-lite.safetensors].")
@click.option("--preset", help="Model of a random checkpoint [default: lsts-lite].")
@click.option("--keyframe-interval", type=int, help="Frames from one keyframe to the next [default: the bundle's].")
@click.option("--score-threshold", type=float, default=0.3, show_default=True, help="Leave out boxes scoring less.")
@click.option("--backend", default="onnxruntime", show_default=True, help="onnxruntime or openvino.")
@click.option("--threads", type=int, help="Threads inside an operator [default: the engine's choice].")
@click.option("--max-frames", type=int, help="Stop after so many frames.")
@json_option
def command(
    output: Path,
    clips: tuple[str, ...],
    checkpoint: str | None,
    preset: str | None,
    backend: str,
    threads: int | None,
    max_frames: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Export the project's trained weights, verify the bundle, run it over clips and show what it found.

    Fills the output folder with bundle/, out.mp4, out.jsonl and contact_sheet.png; a second clip's three files go
    to a folder of its name in there. A bundle made before from the same weights by the same version is used again.
    """
    from lsts_edge.runtime.engines.options import EngineOptions

    engine = EngineOptions(backend, threads=threads)
    _make_folder(output)
    bundle = _bundle(output / "bundle", checkpoint, preset)
    shown: list[str] = []
    for clip in clips:
        source, title = _source(clip)
        if title == _PROCEDURAL and title in shown:
            continue  # without a network, once is enough
        folder = output if not shown else output / Path(clip).stem
        _make_folder(folder)
        shown.append(title)
        received = _show(bundle, source, title, folder, max_frames, as_json, engine, options)
        if received is not None:
            sys.exit(128 + received)


def _make_folder(path: Path) -> None:
    from lsts_edge.errors import FileUnwritable

    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileUnwritable(
            f"folder {path}", got=error.strerror, expected="a folder that can be made", fix="Choose another --output."
        ) from error


def _show(
    bundle: Bundle,
    source: Source,
    title: str,
    output: Path,
    max_frames: int | None,
    as_json: bool,
    engine: EngineOptions,
    options: dict[str, Any],
) -> int | None:
    """Run the bundle over one clip; returns the signal that stopped it, if one did."""
    from lsts_edge.cli.run import run_with_progress, summary_to_dict
    from lsts_edge.runtime.detector import Detector
    from lsts_edge.runtime.sinks.contact_sheet import ContactSheetSink
    from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
    from lsts_edge.runtime.sinks.video import VideoSink

    with Detector(bundle, engine, **options) as detector, source:
        interval = options["keyframe_interval"] or bundle.manifest.keyframe_interval
        count = min(filter(None, (source.frame_count, max_frames)), default=100)
        sinks = [
            JsonLinesSink(output / "out.jsonl"),
            VideoSink(output / "out.mp4", rate_fps=source.rate_fps),
            ContactSheetSink(
                output / "contact_sheet.png",
                title=f"{bundle.manifest.name} on {title}: keyframes, and frames propagated from them",
                frame_count=count,
                interval=interval,
            ),
        ]
        echo_progress(f"running {bundle.manifest.name} on {title}")
        summary, received = run_with_progress(detector, source, sinks, max_frames=max_frames)
    weights = bundle.manifest.weights
    data = {
        "clip": title,
        "model": bundle.manifest.name,
        "weights": weights.description,
        "licence": weights.licence,
        "bundle_digest": f"sha256:{bundle.digest}",
        **summary_to_dict(summary),
    }
    parity = bundle.manifest.parity
    if parity is not None:
        data["parity"] = {"frames": parity.frames, "max_tensor_error": parity.max_tensor_error}
    if as_json:
        click.echo(json.dumps(data))
    else:
        _print_summary(data, summary, output)
    return received


def _source(clip: str) -> tuple[Source, str]:
    """The clip asked for; the procedural one, with a clear word, where the network does not give it."""
    from lsts_edge.clips import moving_clip
    from lsts_edge.demo_clips import CLIPS, fetch_clip
    from lsts_edge.errors import ClipUnavailable
    from lsts_edge.runtime.sources.arrays import ArraySource
    from lsts_edge.runtime.sources.open import open_source

    if clip in CLIPS:
        try:
            path = fetch_clip(clip, progress=echo_progress)
            return open_source(path), path.name
        except ClipUnavailable as error:
            echo_progress(
                f"{error}\nshowing the procedural clip instead: moving shapes, nothing the weights were trained for"
            )
    elif clip != "procedural":
        return open_source(clip), Path(clip).name
    source = ArraySource(moving_clip(_PROCEDURAL_FRAMES), name=_PROCEDURAL)
    source.frame_count = _PROCEDURAL_FRAMES
    return source, _PROCEDURAL


def _bundle(path: Path, checkpoint: str | None, preset: str | None) -> Bundle:
    """Export and verify, unless ``path`` holds what that would give."""
    from lsts_edge import __version__
    from lsts_edge.bundle import Bundle
    from lsts_edge.errors import BundleError

    file = None if checkpoint == "random" else _checkpoint_file(checkpoint)
    name = preset or "lsts-lite"
    if (path / "manifest.json").is_file():
        try:
            bundle = Bundle.open(path)
        except BundleError as error:
            echo_progress(f"{error}\nexporting it again")
        else:
            manifest, weights = bundle.manifest, bundle.manifest.weights
            made_here = manifest.tools.get("lsts_edge") == __version__ and manifest.parity is not None
            same = weights.source == "random" and weights.seed == 0 and manifest.name == name
            if file is not None:
                same = weights.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
            if made_here and same:
                echo_progress(f"using {path}, every file as its manifest says")
                return bundle
    echo_progress(f"exporting {file or f'{name} with random weights'} to {path}")
    from lsts_edge.publish.network import load_network
    from lsts_edge.publish.publish import publish

    network, weights, _ = load_network(str(file or "random"), preset=None if file else name)
    published = publish(network, weights, path, overwrite=True, progress=echo_progress)
    return published.bundle


def _checkpoint_file(checkpoint: str | None) -> Path:
    import lsts_edge
    from lsts_edge.errors import CheckpointError

    default = Path(lsts_edge.__file__).resolve().parent.parent / "examples" / "weights" / "lsts-lite.safetensors"
    path = default if checkpoint is None else Path(checkpoint)
    if not path.is_file():
        raise CheckpointError(
            f"no checkpoint {path}",
            got="nothing there",
            expected="a .safetensors file",
            fix="Run the demo from a checkout of the project, or give --checkpoint FILE or random.",
        )
    return path


def _print_summary(data: dict[str, Any], summary: RunSummary, output: Path) -> None:
    labels = ", ".join(f"{label} {count}" for label, count in summary.labels.most_common())
    click.echo(f"weights     {data['weights']}; licence: {data['licence']}")
    if "parity" in data:
        parity = data["parity"]
        error, frames = parity["max_tensor_error"], parity["frames"]
        click.echo(f"verified    {data['model']} against torch: tensor error {error:.1e} over {frames} frames")
    click.echo(f"clip        {data['clip']}, {summary.frames} frames, {summary.video_s:.1f} s")
    click.echo(f"detections  {summary.detections}{f' ({labels})' if labels else ''}")
    for kind in ("keyframe", "propagated"):
        latency = data["latency"].get(kind)
        if latency is not None:
            click.echo(
                f"{kind:<11} p50 {latency['p50_ms']:.1f} ms, p95 {latency['p95_ms']:.1f} ms over {latency['n']} frames"
            )
    for reason, count in summary.resets.items():
        click.echo(f"reset       {reason}: {count}")
    click.echo(f"speed       {summary.frames_per_s:.1f} fps, {summary.real_time_factor:.2f} x real time, video written")
    stopped = "stopped; " if summary.stopped else ""
    click.echo(f"{stopped}see {output / 'out.mp4'}, {output / 'contact_sheet.png'} and {output / 'out.jsonl'}")
