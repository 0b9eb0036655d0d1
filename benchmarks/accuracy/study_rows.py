"""What one row of the study shows on the held-out frames with one seed: trained if it must be, and kept on disk."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from lsts_edge.benchmarks.accuracy.detections_store import load_boxes, save_boxes
from lsts_edge.benchmarks.accuracy.recipes import RowRecipe
from lsts_edge.benchmarks.detector_boxes import DETECTOR_SUFFIXES, run_detector
from lsts_edge.boxes import Boxes
from lsts_edge.errors import CheckFailed
from lsts_edge.evaluation.annotations import AnnotationSet
from lsts_edge.evaluation.bundles import read_image
from lsts_edge.evaluation.detection_files import read_detections
from lsts_edge.evaluation.rescoring import rescored
from lsts_edge.model.build import build_network
from lsts_edge.model.checkpoint import load_checkpoint
from lsts_edge.model.counts import total_parameters
from lsts_edge.model.network import VideoNetwork
from lsts_edge.presets import ModelPreset
from lsts_edge.progress import Progress, renamed, silent
from lsts_edge.runtime.propagators.flow_boxes import FlowBoxes
from lsts_edge.train.frozen_features import FrozenFeatures
from lsts_edge.train.frozen_inference import run_on_features
from lsts_edge.train.frozen_training import FrozenOptions, train_on_features
from lsts_edge.train.inference import run_checkpoint
from lsts_edge.train.job import code_digest

__all__ = ["RowRun", "StudyRunner"]


@dataclass(frozen=True)
class RowRun:
    """What a row found.

    Attributes:
        boxes: by image id.
        parameters: of the whole network; None where there is none of ours.
        train_s: seconds of training.
        losses: at the end of it.
        code_sha256: over the sources of model and training that ran.
        offsets_start: ``(K, 2)`` sampling locations before training; None where nothing samples.
        offsets: after it.
    """

    boxes: Mapping[int, Boxes]
    parameters: int | None
    train_s: float = 0.0
    losses: Mapping[str, float] = dataclasses.field(default_factory=dict)
    code_sha256: str = dataclasses.field(default_factory=code_digest)
    offsets_start: np.ndarray | None = None
    offsets: np.ndarray | None = None


class StudyRunner:
    """Runs rows, one at a time; what is on disk is not run again.

    Args:
        checkpoint: whose backbone is frozen, and whose head every row starts from.
        train: features of the training frames; called when first needed.
        validation: features of the frames that are measured on, likewise.
        truth: annotations of those.
        options: of every training.
        folder: where runs are kept.
        given: detections or detectors by row, for rows of kind ``detections``.
        identity: what the training data are, and what is measured on: another one is another run.
        progress: told of steps and frames.
    """

    def __init__(
        self,
        checkpoint: Path,
        train: Callable[[], FrozenFeatures],
        validation: Callable[[], FrozenFeatures],
        truth: AnnotationSet,
        options: FrozenOptions,
        folder: Path,
        given: Mapping[str, Path],
        identity: tuple[str, str],
        progress: Progress = silent,
    ) -> None:
        self._checkpoint = checkpoint
        self._network, self._info = load_checkpoint(checkpoint)
        self._train, self._validation = train, validation
        self._truth = truth
        self._options = options
        self._folder = folder
        self._given = given
        self._identity = identity
        self._progress = progress

    @property
    def preset(self) -> ModelPreset:
        """Of the detector."""
        return self._info.preset

    def needs_seeds(self, recipe: RowRecipe) -> bool:
        """Whether another seed gives another result."""
        return recipe.kind in ("trained", "schedule", "seq-nms")

    def why_not(self, recipe: RowRecipe) -> str:
        """Why a row cannot be run here; empty where it can."""
        if recipe.kind == "not-built":
            return recipe.why_not
        if recipe.kind == "detections" and recipe.row not in self._given:
            return "no detections given"
        return ""

    def finished(self, recipe: RowRecipe, seed: int, weights_of: RowRecipe | None = None) -> RowRun | None:
        """The row from disk; None where it has not been run."""
        place = self.place(recipe, seed, weights_of)
        return _load(place) if (place / "run.json").exists() else None

    def run(self, recipe: RowRecipe, seed: int, weights_of: RowRecipe | None = None) -> RowRun:
        """The row from disk, or run now.

        Args:
            recipe: of any kind but ``same-as`` and ``not-built``.
            seed: of everything random.
            weights_of: the trained row that a ``schedule`` or ``seq-nms`` starts from.
        Raises:
            CheckFailed: if that row has not been trained with that seed.
        """
        known = self.finished(recipe, seed, weights_of)
        if known is not None:
            return known
        place = self.place(recipe, seed, weights_of)
        place.mkdir(parents=True, exist_ok=True)
        if recipe.kind == "trained":
            run = self._trained(recipe, seed, place)
        elif recipe.kind == "schedule":
            assert weights_of is not None
            run = self._scheduled(recipe, seed, weights_of)
        elif recipe.kind == "seq-nms":
            assert weights_of is not None
            run = self._rescored(recipe, seed, weights_of)
        elif recipe.kind == "smaller-input":
            run = self._smaller(recipe)
        elif recipe.kind == "detections":
            run = RowRun(self._given_boxes(self._given[recipe.row]), None)
        else:
            run = self._untrained(recipe)
        _save(place, run)
        return run

    def _given_boxes(self, path: Path) -> Mapping[int, Boxes]:
        if path.suffix in DETECTOR_SUFFIXES:
            return run_detector(path, self._truth, progress=self._progress)[0]
        return read_detections(path, self._truth).boxes

    def place(self, recipe: RowRecipe, seed: int, weights_of: RowRecipe | None = None) -> Path:
        """A folder of its own for whatever would give another result."""
        train, validation = self._identity
        told: list[object] = [self._info.sha256, validation, recipe.kind, recipe.interval, recipe.input_px]
        if self.needs_seeds(recipe):
            variant = (weights_of or recipe).variant
            told += [train, dict(variant), dataclasses.asdict(self._options)]
        if recipe.kind == "detections":
            told.append(str(self._given[recipe.row].absolute()))
        name = f"seed-{seed}" if self.needs_seeds(recipe) else "only"
        return self._folder / f"{recipe.row}-{_digest(told)}" / name

    def _variant(self, recipe: RowRecipe, seed: int) -> VideoNetwork:
        """Backbone and head of the detector; everything between them untrained."""
        network = build_network(recipe.preset(self.preset), seed=seed)
        trained = self._network.state_dict()
        kept = {name: value for name, value in trained.items() if name.startswith(("backbone.", "head."))}
        network.load_state_dict(network.state_dict() | kept)
        return network

    def _trained(self, recipe: RowRecipe, seed: int, place: Path) -> RowRun:
        network = self._variant(recipe, seed)
        start = _offsets(network)
        weights, note = place / "weights.pt", place / "trained.json"
        if not note.exists():
            begin = time.monotonic()
            told = renamed(self._progress, f"steps, {recipe.row}, seed {seed}")
            losses = train_on_features(network, self._train(), self._options, seed=seed, progress=told)
            own = {name: value for name, value in network.state_dict().items() if not name.startswith("backbone.")}
            torch.save(own, place / "weights.part")
            os.replace(place / "weights.part", weights)
            (place / "trained.part").write_text(json.dumps([time.monotonic() - begin, losses]))
            os.replace(place / "trained.part", note)
        else:  # interrupted after the training
            network.load_state_dict(network.state_dict() | torch.load(weights, weights_only=True))
        train_s, losses = json.loads(note.read_text())
        boxes = self._over_validation(network.eval(), recipe, seed)
        return RowRun(boxes, total_parameters(network), train_s, losses, offsets_start=start, offsets=_offsets(network))

    def _scheduled(self, recipe: RowRecipe, seed: int, weights_of: RowRecipe) -> RowRun:
        weights = self.place(weights_of, seed) / "weights.pt"
        if not weights.exists():
            fix = f"Run the row {weights_of.row} first."
            raise CheckFailed(f"row {recipe.row}", got="no weights", expected=weights_of.row, fix=fix)
        network = self._variant(weights_of, seed)
        network.load_state_dict(network.state_dict() | torch.load(weights, weights_only=True))
        return RowRun(self._over_validation(network.eval(), recipe, seed), total_parameters(network))

    def _rescored(self, recipe: RowRecipe, seed: int, weights_of: RowRecipe) -> RowRun:
        before = self.finished(weights_of, seed)
        if before is None:
            fix = f"Run the row {weights_of.row} first."
            raise CheckFailed(f"row {recipe.row}", got="no boxes", expected=weights_of.row, fix=fix)
        return RowRun(rescored(self._truth, before.boxes, "offline"), before.parameters)

    def _over_validation(self, network: VideoNetwork, recipe: RowRecipe, seed: int) -> dict[int, Boxes]:
        told = renamed(self._progress, f"frames, {recipe.row}, seed {seed}")
        return run_on_features(network, self._validation(), keyframe_interval=recipe.interval, progress=told)

    def _untrained(self, recipe: RowRecipe) -> RowRun:
        boxes = self._every_frame()
        if recipe.kind == "hold":
            boxes = _held(self._truth, boxes, recipe.interval)
        elif recipe.kind == "flow-boxes":
            boxes = _moved(self._truth, boxes, recipe.interval)
        per_frame = dataclasses.replace(self.preset, lsts=None, transform=(), aggregation=None)
        return RowRun(boxes, total_parameters(per_frame))

    def _every_frame(self) -> dict[int, Boxes]:
        """What the detector itself finds, which several rows start from."""
        path = self._folder / f"every-frame-{_digest([self._info.sha256, self._identity[1]])}.npz"
        if not path.exists():
            told = renamed(self._progress, "frames, the detector on every frame")
            save_boxes(path, run_on_features(self._network, self._validation(), keyframe_interval=None, progress=told))
        return load_boxes(path)

    def _smaller(self, recipe: RowRecipe) -> RowRun:
        assert recipe.input_px is not None
        network, _ = load_checkpoint(self._checkpoint, self.preset.resized(*recipe.input_px))
        told = renamed(self._progress, f"frames, {recipe.row}")
        boxes = run_checkpoint(network, self._truth, keyframe_interval=None, progress=told)
        per_frame = dataclasses.replace(self.preset, lsts=None, transform=(), aggregation=None)
        return RowRun(boxes, total_parameters(per_frame))


def _digest(told: list[object]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def _held(truth: AnnotationSet, boxes: Mapping[int, Boxes], interval: int) -> dict[int, Boxes]:
    held: dict[int, Boxes] = {}
    for records in truth.sequences().values():
        for index, record in enumerate(records):
            held[record.image_id] = boxes[records[index - index % interval].image_id]
    return held


def _moved(truth: AnnotationSet, boxes: Mapping[int, Boxes], interval: int) -> dict[int, Boxes]:
    moved: dict[int, Boxes] = {}
    propagator = FlowBoxes()
    for records in truth.sequences().values():
        propagator.reset()
        for index, record in enumerate(records):
            luma = cv2.cvtColor(read_image(record), cv2.COLOR_BGR2GRAY)
            if index % interval == 0:
                propagator.keyframe(luma, boxes[record.image_id])
                moved[record.image_id] = boxes[record.image_id]
            else:
                moved[record.image_id] = propagator.propagate(luma).boxes.as_edges()
    return moved


def _offsets(network: VideoNetwork) -> np.ndarray | None:
    lsts = network.lsts
    return None if lsts is None else lsts.offsets.detach().numpy().copy()


def _save(place: Path, run: RowRun) -> None:
    """The note comes last: where it is, all is."""
    save_boxes(place / "boxes.npz", run.boxes)
    note = {
        "parameters": run.parameters,
        "train_s": run.train_s,
        "losses": dict(run.losses),
        "code_sha256": run.code_sha256,
        "offsets_start": None if run.offsets_start is None else run.offsets_start.tolist(),
        "offsets": None if run.offsets is None else run.offsets.tolist(),
    }
    part = place / "run.part"
    part.write_text(json.dumps(note))
    os.replace(part, place / "run.json")


def _load(place: Path) -> RowRun:
    note = json.loads((place / "run.json").read_text())
    start, offsets = (None if note[name] is None else np.array(note[name]) for name in ("offsets_start", "offsets"))
    return RowRun(
        load_boxes(place / "boxes.npz"),
        note["parameters"],
        note["train_s"],
        note["losses"],
        note["code_sha256"],
        start,
        offsets,
    )
