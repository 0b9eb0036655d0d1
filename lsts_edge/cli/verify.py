"""``lsts-edge verify``: a bundle on this machine's engine against torch, live or as recorded in the bundle."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from lsts_edge.bundle import Bundle
from lsts_edge.cli.group import examples, json_option, trusted_key_option
from lsts_edge.cli.limits import limit_options, limits_of, try_within
from lsts_edge.cli.show_progress import echo_progress
from lsts_edge.errors import CheckpointError, OptionError

if TYPE_CHECKING:
    from lsts_edge.model.network import VideoNetwork
    from lsts_edge.verify.compare import ParityReport
    from lsts_edge.verify.references import Reference

__all__ = ["command"]


@click.command(
    "verify",
    short_help="Compare a bundle with torch, frame by frame, state carried.",
    epilog=examples(
        "lsts-edge verify demo/bundle",
        "lsts-edge verify demo/bundle --backend openvino",
        "lsts-edge verify demo/bundle --checkpoint examples/weights/lsts-lite.safetensors --video street.mp4",
    ),
)
@click.argument("bundle", type=click.Path())
@click.option("--checkpoint", metavar="FILE", help="Compare with this checkpoint in torch, not with the recording.")
@click.option("--recorded", is_flag=True, help="Compare with the recording, also where torch could run.")
@click.option("--backend", default="onnxruntime", show_default=True, help="onnxruntime or openvino (float32 hint).")
@click.option("--provider", default="cpu", show_default=True, help="cpu, cuda, tensorrt; OpenVINO: cpu, gpu, auto.")
@click.option("--threads", type=int, help="Threads inside an operator [default: the engine's choice].")
@click.option("--lsts-form", "forms", multiple=True, help="May be repeated [default: every form in the bundle].")
@click.option("--joined/--no-joined", default=None, help="Only the joined or only the split graphs [default: both].")
@click.option("--frames", type=int, help="Frames to compare [default: 30, or all recorded].")
@click.option("--video", type=click.Path(), help="Compare on this video; needs torch.")
@limit_options
@click.option("--expect-digest", metavar="SHA256", help="Refuse the bundle unless this is its digest.")
@trusted_key_option
@json_option
def command(
    bundle: str,
    checkpoint: str | None,
    recorded: bool,
    backend: str,
    provider: str,
    threads: int | None,
    forms: tuple[str, ...],
    joined: bool | None,
    frames: int | None,
    video: str | None,
    limit_memory: int | None,
    limit_time: float | None,
    expect_digest: str | None,
    as_json: bool,
) -> None:
    """Run BUNDLE over a clip and compare every tensor and box with torch.

    With --checkpoint, or for random weights where torch is installed, torch runs beside it. Otherwise the outputs
    that torch gave at export are used, which needs no torch. The output says which.
    """
    from lsts_edge.runtime.engines.options import EngineOptions
    from lsts_edge.verify.compare import check_parity, comparable_forms, verify_bundle
    from lsts_edge.verify.references import RecordedReference

    opened = Bundle.open(bundle, expect_digest=expect_digest)
    engine = EngineOptions(backend, provider, threads)
    try_within(opened, engine, limits_of(limit_memory, limit_time, default=False))
    lsts = opened.manifest.lsts
    chosen = forms or comparable_forms(None if lsts is None else lsts.forms, echo_progress)
    network = _live_network(opened, checkpoint, recorded)
    with _reference(opened, network, frames, video) as reference:
        if not as_json:
            has_ir = backend == "openvino" and any(graph.ir for graph in opened.manifest.graphs.values())
            name = f"{backend}, from IR," if has_ir else backend
            click.echo(f"{opened.manifest.name} on {name} against {reference.description}")
        report = verify_bundle(
            opened,
            reference,
            engine,
            forms=chosen,
            joined=None if joined is None else (joined,),
        )
    weakness = reference.weakness if isinstance(reference, RecordedReference) else ""
    if as_json:
        facts = {"bundle_digest": f"sha256:{opened.digest}", "weak_recording": weakness}
        click.echo(json.dumps({**facts, **report.to_dict()}, indent=2))
    else:
        for line in _lines(report):
            click.echo(line)
    check_parity(report)
    if not as_json:
        if weakness:
            click.echo(weakness)
        click.echo(f"the bundle matches {report.against}")


def _live_network(bundle: Bundle, checkpoint: str | None, recorded: bool) -> VideoNetwork | None:
    """The network to run in torch, or None to use the recording."""
    manifest = bundle.manifest
    weights = manifest.weights
    if recorded:
        if checkpoint is not None:
            fix = "Leave one out."
            raise OptionError("options", got="--recorded and --checkpoint", expected="one of them", fix=fix)
        return None
    if manifest.parity is not None and manifest.parity.reference == "own-programs":
        if checkpoint is not None:
            raise OptionError(
                "--checkpoint",
                got="a bundle with graphs below float32, which are not torch's network",
                expected="its recording",
                fix="Leave it out; the bundle's float32 graphs matched torch before they were lowered.",
            )
        return None
    if manifest.preset is None:
        if checkpoint is not None:
            got, fix = "a bundle of a network that torch cannot build again", "Leave it out."
            raise OptionError("--checkpoint", got=got, expected="its recording", fix=fix)
        return None
    if checkpoint is not None:
        from lsts_edge.model import load_checkpoint

        network, info = load_checkpoint(checkpoint, manifest.preset)
        if weights.sha256 not in (None, info.sha256):
            raise CheckpointError(
                f"checkpoint {info.file} is not the one the bundle was exported from",
                got=f"sha256 {info.sha256}",
                expected=f"sha256 {weights.sha256} ({weights.file})",
                fix="Give that file, or export this one.",
            )
        return network
    if weights.source == "random" and weights.seed is not None and importlib.util.find_spec("torch"):
        from lsts_edge.model import random_network

        return random_network(manifest.preset, weights.seed)
    return None


@contextmanager
def _reference(
    bundle: Bundle, network: VideoNetwork | None, frames: int | None, video: str | None
) -> Iterator[Reference]:
    from lsts_edge.verify.compare import parity_interval
    from lsts_edge.verify.references import CLIP_FRAMES, RecordedReference, images_of
    from lsts_edge.verify.torch_reference import TorchReference

    if frames is not None and frames < 1:
        raise OptionError("--frames", got=frames, expected="at least 1", fix="Give a positive number.")
    manifest = bundle.manifest
    if network is None:
        if video is not None:
            fix = "Add --checkpoint FILE, or leave --video out: the recording is of the built-in clip."
            raise OptionError("--video", got="no torch network", expected="a checkpoint", fix=fix)
        yield RecordedReference(bundle, frames)
        return
    count = frames or CLIP_FRAMES
    interval = parity_interval(manifest, count)
    with images_of(video, manifest, count) as images:
        yield TorchReference(network, images, interval)


def _lines(report: ParityReport) -> Iterator[str]:
    for program in report.programs:
        totals = program.totals
        which = f"{program.form or 'default'}, {'joined' if program.joined else 'split'}"
        yield (
            f"{which}: tensor error {totals.max_tensor_error:.1e} ({totals.worst}), {totals.frames} frames, "
            f"{totals.boxes} boxes, {totals.unmatched} unmatched, {totals.near_threshold} near a threshold: "
            f"{'same' if totals.passed else 'DIFFERENT'}"
        )
