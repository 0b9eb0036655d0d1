"""``lsts-edge export``: a checkpoint becomes a bundle, once every program in it has matched torch."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from lsts_edge.bundle.manifest import GraphInfo, Manifest
from lsts_edge.cli.group import examples, json_option, trusted_key_option
from lsts_edge.cli.precision_table import precision_lines
from lsts_edge.cli.show_progress import echo_progress
from lsts_edge.cli.variant_options import choices_of, variant_options
from lsts_edge.errors import OptionError

if TYPE_CHECKING:
    from lsts_edge.model.network import VideoNetwork
    from lsts_edge.publish.precision import PrecisionPlan
    from lsts_edge.publish.publish import Published

__all__ = ["command", "export_lines"]

ALL_FORMS = ("taps", "custom", "gridsample")


@click.command(
    "export",
    short_help="Turn a checkpoint into a bundle of ONNX subgraphs.",
    epilog=examples(
        "lsts-edge export --checkpoint examples/weights/lsts-lite.safetensors --output demo/bundle",
        "lsts-edge export --checkpoint random --seed 0 --preset lsts-r101 --output /tmp/r101",
        "lsts-edge export --checkpoint mine.safetensors --output b --format openvino",
        "lsts-edge export --checkpoint lsts-r101.safetensors --output b --dynamic",
        "lsts-edge export --checkpoint mine.safetensors --output b --lsts-form all --verify-video street.mp4",
        "lsts-edge export --checkpoint mine.safetensors --output b --precision auto --calibrate vid/train.json "
        "--gate-sequences swing,tennis",
    ),
)
@click.option("--checkpoint", required=True, metavar="FILE|random", help="A checkpoint, or random weights.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The bundle's directory.")
@click.option("--preset", help="Preset: for random weights, and checkpoints that state none.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of random weights.")
@click.option("--height", type=int, help="Input height in pixels [default: the preset's].")
@click.option("--width", type=int, help="Input width in pixels [default: the preset's].")
@click.option(
    "--dynamic",
    is_flag=True,
    help="The size follows the video: its shorter side becomes the shorter of height and width, the longer at most "
    "the longer of them (600 and 1000 of lsts-r101, the paper's rule).",
)
@variant_options
@click.option("--joined/--no-joined", default=None, help="One graph per kind of frame too [default: small models].")
@click.option(
    "--lsts-form",
    "forms",
    multiple=True,
    type=click.Choice([*ALL_FORMS, "all"]),
    help="May be repeated; the first is the default form [default: taps].",
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["onnx", "openvino"]),
    help="openvino: write OpenVINO IR beside the ONNX files, which are always written. May be repeated.",
)
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is there.")
@click.option("--verify-video", type=click.Path(), help="Compare on this video too, besides the built-in clip.")
@click.option("--verify-frames", type=int, default=30, show_default=True, help="Frames to compare with torch.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8", "auto"]),
    default="fp32",
    show_default=True,
    help="fp16, int8: all graphs but LSTS and head; auto: what saves time and passes the gate, graph by graph.",
)
@click.option("--lower", default="", metavar="GRAPHS", help="Only these graphs, separated by commas: heavy,light.")
@click.option("--calibrate", type=click.Path(path_type=Path), help="Annotations (.json) or a video, for int8's ranges.")
@click.option("--calibrate-sequences", default="", metavar="NAMES", help="Only these, separated by commas.")
@click.option("--gate", type=click.Path(path_type=Path), help="Annotations to measure AP50 on [default: --calibrate].")
@click.option("--gate-sequences", default="", metavar="NAMES", help="Only these [default: the checkpoint's held out].")
@click.option("--max-ap-drop", type=float, help="Largest drop in AP50 points [default: 0.5].")
@click.option("--precision-from", type=click.Path(), metavar="BUNDLE", help="Take the lowered graphs of this bundle.")
@click.option(
    "--record-video",
    "record_videos",
    multiple=True,
    metavar="FILE[@SECONDS]",
    help="Record frames of this video, from there on, in place of the built-in clip. May be repeated.",
)
@click.option("--record-licence", default="", metavar="TEXT", help="Of those frames, which the bundle then holds.")
@trusted_key_option
@json_option
def command(
    checkpoint: str,
    output: Path,
    preset: str | None,
    seed: int,
    height: int | None,
    width: int | None,
    dynamic: bool,
    light_scale: float | None,
    alignment: str | None,
    variants: tuple[str, ...],
    joined: bool | None,
    forms: tuple[str, ...],
    formats: tuple[str, ...],
    overwrite: bool,
    verify_video: str | None,
    verify_frames: int,
    precision: Literal["fp32", "fp16", "int8", "auto"],
    lower: str,
    calibrate: Path | None,
    calibrate_sequences: str,
    gate: Path | None,
    gate_sequences: str,
    max_ap_drop: float | None,
    precision_from: str | None,
    record_videos: tuple[str, ...],
    record_licence: str,
    as_json: bool,
) -> None:
    """Export a checkpoint, compare every program with torch over video, and write the bundle if all agree.

    Prints K offsets and U taps, and parameters, multiply-adds and size of each graph. An export that fails or is
    interrupted leaves nothing behind.
    """
    from lsts_edge.bundle import Bundle
    from lsts_edge.publish.filming import FilmPlan
    from lsts_edge.publish.network import load_network
    from lsts_edge.publish.publish import publish

    begin = time.perf_counter()

    def progress(what: str, done: int = 0, total: int = 0, /) -> None:
        echo_progress(f"[{time.perf_counter() - begin:6.1f} s] {what}", done, total)

    if not 0 <= seed < 2**31:
        raise OptionError("--seed", got=seed, expected="0..2147483647", fix="Give a number in this range.")
    if precision != "fp32" and precision_from is not None:
        fix = "Leave one out."
        raise OptionError("options", got="--precision and --precision-from", expected="one of them", fix=fix)
    film = FilmPlan.of(record_videos, record_licence) if record_videos else None
    taken = None if precision_from is None else Bundle.open(precision_from)
    progress(f"loading {checkpoint}")
    choices = choices_of(variants, alignment, light_scale)
    network, weights, held_out = load_network(
        checkpoint,
        preset=preset,
        seed=seed,
        height_px=height,
        width_px=width,
        choices=choices,
        follows_video=dynamic,
    )
    plan = _plan(held_out, network, precision, lower, calibrate, calibrate_sequences, gate, gate_sequences, max_ap_drop)
    chosen = ALL_FORMS if "all" in forms else forms or ALL_FORMS[:1]
    published = publish(
        network,
        weights,
        output,
        forms=chosen,
        joined=joined,
        openvino="openvino" in formats,
        overwrite=overwrite,
        frames=verify_frames,
        video=verify_video,
        precision=plan if taken is None else taken,
        film=film,
        progress=progress,
    )
    if as_json:
        bundle = published.bundle
        result = {
            "bundle": str(bundle.path),
            "bundle_digest": f"sha256:{bundle.digest}",
            "seconds": dict(published.seconds),
            "weak_recording": published.weakness,
            "parity": [report.to_dict() for report in published.reports],
            "manifest": bundle.manifest.to_dict(),
        }
        click.echo(json.dumps(result, indent=2))
        return
    for line in export_lines(published):
        click.echo(line)


def _plan(
    held_out: tuple[str, ...],
    network: VideoNetwork,
    mode: Literal["fp32", "fp16", "int8", "auto"],
    lower: str,
    calibrate: Path | None,
    calibrate_sequences: str,
    gate: Path | None,
    gate_sequences: str,
    max_ap_drop: float | None,
) -> PrecisionPlan | None:
    if mode == "fp32":
        if lower or calibrate or calibrate_sequences or gate or gate_sequences or max_ap_drop is not None:
            fix = "Add --precision auto, int8 or fp16, or leave the others out."
            raise OptionError(
                "options", got="graphs to lower, a calibration or a gate for fp32", expected="none", fix=fix
            )
        return None
    from lsts_edge.publish.gate import MAX_DROP_POINTS
    from lsts_edge.publish.precision import plan_precision

    return plan_precision(
        mode,
        tuple(network.preset.head.classes),
        calibrate=calibrate,
        calibrate_sequences=_names(calibrate_sequences),
        gate=gate,
        gate_sequences=_names(gate_sequences),
        held_out=held_out,
        max_drop_points=MAX_DROP_POINTS if max_ap_drop is None else max_ap_drop,
        graphs=_names(lower),
    )


def _names(words: str) -> tuple[str, ...]:
    return tuple(name for name in words.split(",") if name)


def export_lines(published: Published) -> Iterator[str]:
    """The report of an export, line by line; the last one states the result."""
    bundle = published.bundle
    manifest = bundle.manifest
    light = f", light path at {manifest.light_scale:g} of it" if manifest.light_scale != 1 else ""
    yield f"{manifest.name}, {manifest.input}{light}, {manifest.weights.description}"
    yield f"licence of the weights: {manifest.weights.licence}"
    if manifest.lsts is not None:
        lsts = manifest.lsts
        yield f"LSTS: K = {lsts.locations} locations, U = {lsts.taps} taps within {lsts.radius_cells} cells, constant"
    yield ""
    yield from _table(manifest)
    yield ""
    for report in published.reports:
        for program in report.programs:
            totals = program.totals
            which = f"{program.form + ', ' if program.form else ''}{'joined' if program.joined else 'split'}"
            if report.limits.loose:
                which += f", {report.backend}"
            elif report.backend.startswith("openvino"):
                which += ", IR in OpenVINO"
            yield (
                f"parity ({which}): tensor error {totals.max_tensor_error:.1e} over {totals.frames} frames, "
                f"{totals.boxes} boxes, {totals.unmatched} unmatched, {totals.near_threshold} near a threshold"
            )
    if manifest.precision is not None:
        yield ""
        yield from precision_lines(manifest.precision)
        yield ""
    seconds = ", ".join(f"{name} {value:.1f} s" for name, value in published.seconds.items())
    yield f"time: {seconds}"
    if published.weakness:
        yield f"{published.weakness}: add --record-video FILE of what the model detects"
    total = sum(info.bytes for info in manifest.files.values())
    yield f"wrote {bundle.path}: {len(manifest.files)} files, {_megabytes(total)}, sha256:{bundle.digest}"


def _table(manifest: Manifest) -> Iterator[str]:
    ir_title = f" {'IR':>10}" if any(graph.ir for graph in manifest.graphs.values()) else ""
    yield f"{'graph':<18} {'parameters':>12} {'multiply-adds':>16} {'form':<10} {'size':>10}{ir_title}"
    programs = (*manifest.programs.values(), *manifest.joined.values())
    for name in dict.fromkeys(step.graph for steps in programs for step in steps):
        graph = manifest.graphs[name]
        for index, (form, file) in enumerate(graph.forms.items()):
            row = _row(name, graph) if index == 0 else ""
            ir = f" {_megabytes(manifest.ir_bytes(name, form)):>10}" if form in graph.ir else ""
            yield f"{row:<48} {form:<10} {_megabytes(manifest.files[file].bytes):>10}{ir}"


def _row(name: str, graph: GraphInfo) -> str:
    return f"{name:<18} {graph.parameters:>12,} {graph.multiply_adds:>16,}"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.2f} MB"
