"""One training job from files to a file: read, build, train, write, with what a reader of the checkpoint must know."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import lsts_edge
from lsts_edge.errors import FileUnwritable, OptionError, TrainingError
from lsts_edge.evaluation.annotations import AnnotationSet
from lsts_edge.model import VideoNetwork, build_network
from lsts_edge.model.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from lsts_edge.model.imagenet import load_imagenet_backbone
from lsts_edge.presets import ModelPreset, get_preset
from lsts_edge.progress import Progress, silent
from lsts_edge.train.allocator import keep_freed_pages
from lsts_edge.train.defaults import options_for
from lsts_edge.train.options import TrainOptions
from lsts_edge.train.processes import ALONE, Processes
from lsts_edge.train.recipe import DataSource
from lsts_edge.train.sources import read_sources
from lsts_edge.train.store import ImageStore
from lsts_edge.train.threads import set_threads
from lsts_edge.train.trainer import Trainer
from lsts_edge.variants import varied

__all__ = ["JobEnd", "TrainJob", "code_digest", "run_job"]


@dataclass(frozen=True)
class TrainJob:
    """What ``lsts-edge train`` was asked to do.

    ``options`` are fields of ``TrainOptions`` beside the preset's defaults, ``choices`` what ``varied`` changes in the
    preset. ``hold_out`` names sequences of any source; ``must_not_see`` is a file of names that stop the run if they
    are there. ``minutes`` ends it after the step that passes them, reading included; None: when all steps are done.
    """

    data: tuple[DataSource, ...]
    output: str
    preset: str
    device: str = "cpu"
    threads: int | None = None
    init: tuple[str, ...] = ()
    hold_out: tuple[str, ...] = ()
    licence: str = "not stated"
    must_not_see: str | None = None
    resume: bool = False
    log_dir: str | None = None
    minutes: float | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class JobEnd:
    """Where a job ended: at ``step`` of ``steps``, after ``minutes``; no checkpoint before the last step."""

    checkpoint: Path | None
    step: int
    steps: int
    minutes: float


def run_job(
    job: TrainJob,
    progress: Progress = silent,
    processes: Processes = ALONE,
    clock_s: Callable[[], float] = time.monotonic,
) -> JobEnd:
    """Train and write the checkpoint, or stop in time and keep what ``resume`` goes on from.

    With ``resume``, a job that has not kept anything yet starts.

    Args:
        job: files and options.
        progress: told of the data, the start and the steps.
        processes: that do this job together; only the first writes and tells.
        clock_s: that ``minutes`` are counted by.

    Raises:
        OptionError: if an option is out of range, a class or sequence is unknown, or there is no such device.
        AnnotationError: if the data cannot be read.
        CheckpointError: if the weights to start from do not fit.
        TrainingError: if a loss is not finite, or the run to resume is another one or is finished.
        FileUnwritable: if the output cannot be written.
    """
    begin_s = clock_s()
    progress = progress if processes.is_first else silent
    preset = varied(get_preset(job.preset), job.choices)
    options = options_for(preset, job.options)
    _check(job, preset, options)
    device = _device(job.device)
    code = code_digest()  # of what runs, not of what the files are when it ends
    set_threads(job.threads)
    if device.type == "cpu":
        keep_freed_pages()
    output = Path(job.output)
    log_dir = None if job.log_dir is None else Path(job.log_dir)
    if processes.is_first:
        _make_folder(output.parent)
        if log_dir is not None:
            _make_folder(log_dir)
            importlib.import_module("torch.utils.tensorboard")  # a package that is missing is missed before the work
    resume_file = output.with_name(output.name + ".resume")
    resume = job.resume and processes.from_first(lambda: _has_begun(output, resume_file, progress))
    classes = preset.head.classes
    data = read_sources(job.data, classes, hold_out=job.hold_out, must_not_see=job.must_not_see)
    shares = None if job.data[0].share is None else [one.share or 0.0 for one in job.data]
    store = ImageStore.load(
        list(data.sets),
        color_order=preset.input.color_order,
        max_side_px=max(preset.input.height_px, preset.input.width_px),
        images=options.images,
    )
    several = f" in {processes.count} processes" if processes.count > 1 else ""
    progress(f"{len(store)} images of {len(store.names)} sequences, {preset.name} on {device}{several}")
    network = build_network(preset, seed=options.seed)
    start, before = _start(network, job.init)
    progress(f"start: {start}")

    def minutes() -> float:
        return (clock_s() - begin_s) / 60

    def is_late() -> bool:
        return job.minutes is not None and processes.from_first(minutes) >= job.minutes

    trainer = Trainer(
        network,
        store,
        options,
        device,
        shares=shares,
        progress=progress,
        resume_file=resume_file,
        log_dir=log_dir,
        processes=processes,
        stop=is_late,
    )
    trained = trainer.run(resume=resume)
    end = JobEnd(None if trained is None else output, trainer.step, options.steps, minutes())
    if trained is None or not processes.is_first:
        return end
    metadata = {
        "licence": job.licence,
        "description": f"{preset.name} trained for {options.steps} steps, seed {options.seed}",
        "steps": str(options.steps),
        "seed": str(options.seed),
        "processes": str(processes.count),
        "precision": trainer.precision,
        "command": _command_line(job),
        "data": "; ".join(_describe(*pair) for pair in zip(job.data, data.sets, strict=True)),
        "sequences": json.dumps([name for name in data.sequences if "/" not in name]),  # stills go by their file's path
        "start": start,
        "earlier": _stated(before),
        "code_sha256": code,
        "lsts_edge": lsts_edge.__version__,
        "torch": torch.__version__,
    }
    held_out = data.held_out.intersection(*(info.held_out for info in before))
    save_checkpoint(trained, output, metadata, held_out=held_out, half=True)
    resume_file.unlink(missing_ok=True)
    return end


def code_digest() -> str:
    """SHA-256 over the sources a training result depends on: presets and their variants, model, train."""
    root = Path(lsts_edge.__file__).parent
    digest = hashlib.sha256()
    folders = (path for folder in ("model", "train") for path in sorted((root / folder).rglob("*.py")))
    for path in [root / "presets.py", root / "variants.py", *folders]:
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _has_begun(output: Path, resume_file: Path, progress: Progress) -> bool:
    """Whether there is something to go on from; a job that is finished is not begun anew."""
    if os.path.lexists(resume_file):
        return True
    if os.path.lexists(output):
        got, fix = f"{output}, which is there, without {resume_file.name}", "Remove it, or start without --resume."
        raise TrainingError("nothing to resume", got=got, expected="a resume file, or neither", fix=fix)
    progress(f"no {resume_file.name} yet: starts at step 0")
    return False


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        expected = "a folder that can be written"
        raise FileUnwritable(f"output {folder}", got=str(error), expected=expected, fix="Choose another.") from error


def _check(job: TrainJob, preset: ModelPreset, options: TrainOptions) -> None:
    unknown = sorted(set(options.class_weights) - set(preset.head.classes))
    if unknown:
        raise OptionError("--class-weight", got=unknown, expected=preset.head.classes, fix="Name a class.")
    if job.minutes is not None and not 0 < job.minutes < 1e6:
        raise OptionError("--minutes", got=job.minutes, expected="above 0, below 1000000", fix="Correct it.")
    if not job.output.endswith(".safetensors"):
        raise OptionError("--output", got=job.output, expected="a name ending in .safetensors", fix="Add the ending.")


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise OptionError("--device", got=repr(name), expected="a device torch can use here", fix="Use cpu.") from error
    return device


def _start(network: VideoNetwork, init: tuple[str, ...]) -> tuple[str, tuple[CheckpointInfo, ...]]:
    """Fill the network as asked; by nothing ImageNet is meant for EfficientNet-Lite, and no weights for the others.

    Of several checkpoints the mean is taken, parameter by parameter (Wortsman et al., *Model soups*, 2022).

    Returns:
        One line about the start, and what earlier checkpoints say of their own training.
    """
    lite = network.preset.backbone.name.startswith("efficientnet-lite")
    first, *others = init or ("imagenet" if lite else "none",)
    if others:
        return _mean_start(network, init)
    if first == "none":
        return "untrained", ()
    if first == "imagenet":
        load_imagenet_backbone(network)
        return f"ImageNet {network.preset.backbone.name}", ()
    path = Path(first)
    if path.suffix == ".safetensors":
        loaded, info = load_checkpoint(path, network.preset)
        network.load_state_dict(loaded.state_dict())
        return f"checkpoint {info.file} sha256 {info.sha256}", (info,)
    load_imagenet_backbone(network, path)
    return f"backbone file {path.name}", ()


def _mean_start(network: VideoNetwork, init: tuple[str, ...]) -> tuple[str, tuple[CheckpointInfo, ...]]:
    read = [load_checkpoint(Path(name), network.preset) for name in init]
    states = [loaded.state_dict() for loaded, _ in read]
    network.load_state_dict({name: torch.stack([one[name] for one in states]).mean(dim=0) for name in states[0]})
    told = ", ".join(f"{info.file} sha256 {info.sha256}" for _, info in read)
    return f"mean of the checkpoints {told}", tuple(info for _, info in read)


def _stated(before: tuple[CheckpointInfo, ...]) -> str:
    """What the checkpoint that was gone on from states, as JSON; of several a list."""
    stated = [dict(info.metadata) for info in before]
    return json.dumps(stated if len(stated) > 1 else stated[0], sort_keys=True) if stated else ""


def _command_line(job: TrainJob) -> str:
    """The command without folders, which are nobody's business."""
    words = sys.argv[1:] if sys.argv[1:2] == ["train"] else ["train", "--preset", job.preset]
    return shlex.join(["lsts-edge", *(Path(w).name if "/" in w else w for w in words)])


def _describe(source: DataSource, annotations: AnnotationSet) -> str:
    name = annotations.path.parent.name + "/" + annotations.path.name
    told = [f"{len(annotations.images)} images", f"{len(annotations.sequences())} sequences"]
    told += [f"share {source.share:g}"] if source.share is not None else []
    told += [source.licence] if source.licence else []
    told += [f"of it only {' / '.join(source.licences)}"] if source.licences else []
    return f"{name}: {', '.join(told)}"
