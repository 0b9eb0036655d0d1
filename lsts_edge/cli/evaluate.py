"""``lsts-edge evaluate``: accuracy of a bundle or checkpoint on annotated video."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lsts_edge.cli.group import examples, json_option
from lsts_edge.cli.show_progress import rewritten_line
from lsts_edge.errors import OptionError
from lsts_edge.progress import Progress, renamed

if TYPE_CHECKING:
    from lsts_edge.benchmarks.accuracy_result import AccuracyRow
    from lsts_edge.boxes import Boxes
    from lsts_edge.evaluation.annotations import AnnotationSet
    from lsts_edge.runtime.engines.options import EngineOptions

__all__ = ["command"]


@click.command(
    "evaluate",
    short_help="Measure the accuracy of a bundle or checkpoint.",
    epilog=examples(
        "lsts-edge evaluate demo/bundle vid/val.json",
        "lsts-edge evaluate examples/weights/lsts-lite.safetensors vid/val.json --per-frame --json",
        "lsts-edge evaluate demo/bundle vid/val.json --keyframe-interval 5 --class-agnostic",
        "lsts-edge evaluate demo/bundle vid/val.json --per-frame --keyframe-interval 5 --keyframe-interval 10",
    ),
)
@click.argument("model", metavar="BUNDLE_OR_CHECKPOINT", type=click.Path())
@click.argument("annotations", metavar="ANNOTATIONS.json", type=click.Path())
@click.option("--per-frame", is_flag=True, help="The heavy path on every frame, without memory.")
@click.option(
    "--keyframe-interval",
    "keyframe_intervals",
    type=int,
    multiple=True,
    help="Frames from one keyframe to the next; default: the model's. May be repeated.",
)
@click.option("--class-agnostic", is_flag=True, help="Count all classes as one.")
@click.option("--sequences", default="", metavar="NAMES", help="Only these sequences, separated by commas.")
@click.option("--preset", help="Preset of a checkpoint that states none.")
@click.option("--device", default="cpu", show_default=True, help="For checkpoints: cpu, cuda or cuda:N.")
@click.option("--backend", default="onnxruntime", show_default=True, help="For bundles: onnxruntime or openvino.")
@click.option("--provider", default="cpu", show_default=True, help="For bundles: the backend's device.")
@click.option("--threads", type=int, help="CPU threads; default: all.")
@click.option("--batch", type=int, default=8, show_default=True, help="For checkpoints: frames or sequences at a time.")
@click.option("--output", type=click.Path(path_type=Path), help="Write a result file for bench report (JSON).")
@json_option
def command(
    model: str,
    annotations: str,
    per_frame: bool,
    keyframe_intervals: tuple[int, ...],
    class_agnostic: bool,
    sequences: str,
    preset: str | None,
    device: str,
    backend: str,
    provider: str,
    threads: int | None,
    batch: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Run BUNDLE_OR_CHECKPOINT over the sequences of ANNOTATIONS.json and print AP50 and AP.

    The file is COCO-VID style; boxes under its key ``ignore`` count neither as found nor as false. --per-frame and
    --keyframe-interval may be given together, and the latter repeatedly: each schedule is measured.
    """
    if any(interval < 1 for interval in keyframe_intervals):
        got, fix = min(keyframe_intervals), "Give a positive number."
        raise OptionError("--keyframe-interval", got=got, expected=">= 1", fix=fix)
    from lsts_edge.benchmarks.accuracy_result import AccuracyRow
    from lsts_edge.evaluation.coco import measure
    from lsts_edge.runtime.engines.options import EngineOptions

    path = Path(model)
    names = {name for name in sequences.split(",") if name}
    rows: list[AccuracyRow] = []
    schedules: list[int | str] = [*(["per-frame"] if per_frame else []), *keyframe_intervals] or ["the model's own"]
    for schedule in schedules:
        frame_by_frame, interval = schedule == "per-frame", schedule if isinstance(schedule, int) else None
        with rewritten_line(sys.stderr) as shown:
            progress = renamed(shown, f"frames, {schedule}")
            if path.is_dir():
                engine = EngineOptions(backend, provider, threads)
                row, found, truth = _bundle(path, annotations, names, frame_by_frame, interval, engine, progress)
            else:
                row, found, truth = _checkpoint(
                    path, preset, annotations, names, frame_by_frame, interval, device, batch, threads, progress
                )
        accuracy = measure(truth, found, class_agnostic=class_agnostic)
        rows.append(AccuracyRow(**asdict(accuracy.rounded()), annotations=Path(annotations).name, **row))
        if not as_json:
            _show(rows[-1])
    if output is not None:
        from lsts_edge.benchmarks.accuracy_result import AccuracyData, AccuracyResult, AccuracySettings
        from lsts_edge.benchmarks.envelope import Origin
        from lsts_edge.benchmarks.results import write_result

        settings, data = AccuracySettings(tuple(sorted(names))), AccuracyData(tuple(rows))
        write_result(output, AccuracyResult(origin=Origin.here(), settings=settings, data=data))
        click.echo(f"written: {output}", err=as_json)
    if as_json:
        told = [asdict(row) for row in rows]
        click.echo(json.dumps(told[0] if len(told) == 1 else told, indent=2))


def _show(row: AccuracyRow) -> None:
    low, high = row.ap50_interval
    click.echo(f"{'class':12} {'AP50':>6} {'AP':>6}")
    for name, value in row.ap50_per_class.items():
        click.echo(f"{name:12} {_figure(value)} {_figure(row.ap_per_class[name])}")
    click.echo(f"{'all':12} {_figure(row.ap50)} {_figure(row.ap)}")
    schedule = "per frame" if row.keyframe_interval is None else f"keyframe interval {row.keyframe_interval}"
    click.echo(
        f"AP50 {row.ap50:.3f} (95 % {low:.3f}..{high:.3f} over {row.sequences} sequences), {schedule}, "
        f"{row.images} images"
    )


Measured = tuple[dict[str, Any], "dict[int, Boxes]", "AnnotationSet"]


def _bundle(
    path: Path,
    annotations: str,
    names: set[str],
    per_frame: bool,
    interval: int | None,
    engine: EngineOptions,
    progress: Progress,
) -> Measured:
    from lsts_edge.benchmarks.envelope import bundle_facts
    from lsts_edge.bundle import Bundle
    from lsts_edge.evaluation.bundles import run_bundle

    bundle = Bundle.open(path)
    truth = _truth(annotations, tuple(bundle.manifest.classes), names)
    chosen = None if per_frame else interval or bundle.manifest.keyframe_interval
    found = run_bundle(bundle, truth, keyframe_interval=chosen, engine=engine, progress=progress)
    row = {
        "model": bundle.manifest.name,
        "bundle_digest": f"sha256:{bundle.digest}",
        "engine": engine.name,
        "provider": engine.provider,
        "precision": bundle_facts(bundle).precision(engine.precision),
        "keyframe_interval": chosen,
    }
    return row, found, truth


def _checkpoint(
    path: Path,
    preset: str | None,
    annotations: str,
    names: set[str],
    per_frame: bool,
    interval: int | None,
    device: str,
    batch: int,
    threads: int | None,
    progress: Progress,
) -> Measured:
    from lsts_edge.benchmarks.envelope import Precision
    from lsts_edge.model.checkpoint import load_checkpoint
    from lsts_edge.train.inference import run_checkpoint

    network, info = load_checkpoint(path, preset)
    truth = _truth(annotations, info.preset.head.classes, names)
    chosen = None if per_frame or network.preset.per_frame else interval or info.preset.keyframe_interval
    found = run_checkpoint(
        network, truth, keyframe_interval=chosen, device=device, batch=batch, threads=threads, progress=progress
    )
    row = {
        "model": info.preset.name,
        "checkpoint": info.file,
        "checkpoint_sha256": info.sha256,
        "engine": "torch",
        "provider": device,
        "precision": Precision(),
        "keyframe_interval": chosen,
    }
    return row, found, truth


def _truth(annotations: str, classes: tuple[str, ...], names: set[str]) -> AnnotationSet:
    from lsts_edge.evaluation.annotations import read_annotations

    truth = read_annotations(Path(annotations), classes)
    unknown = sorted(names - set(truth.sequences()))
    if unknown:
        raise OptionError("--sequences", got=unknown, expected="names in the annotations", fix="Correct them.")
    return truth.only(names) if names else truth


def _figure(value: float | None) -> str:
    return "     -" if value is None else f"{value:6.3f}"
