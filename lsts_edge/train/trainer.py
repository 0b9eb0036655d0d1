"""The training loop: batches in, averaged weights out; resumable, seeded, one device."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from lsts_edge.errors import TrainingError
from lsts_edge.model.checkpoint import read_torch_file
from lsts_edge.model.interfaces import Backbone
from lsts_edge.model.network import VideoNetwork
from lsts_edge.progress import Progress, silent
from lsts_edge.train.absorb import AbsorbedConv2d, absorb_batch_norms, release_batch_norms
from lsts_edge.train.augment import Batch, draw_batch
from lsts_edge.train.losses import DetectionLoss, Truth
from lsts_edge.train.options import TrainOptions
from lsts_edge.train.store import ImageStore
from lsts_edge.train.triplet import losses_from_features, make_optimizer
from lsts_edge.train.warm_start import warm_start_embeddings

__all__ = ["Trainer", "triplet_losses"]

logger = logging.getLogger(__name__)

_CLIP_NORM = 10.0
_WARM_BATCHES = 4
_SIZE_MULTIPLE = 32  # of the reduced input: both strides and the mosaic's halves stay whole


class Trainer:
    """Trains one network on one device.

    Args:
        network: changed in place; after ``run`` it holds the averaged weights, on the CPU.
        store: training images, on the CPU or the device.
        options: the run.
        device: where to compute.
        progress: told every ``report_every`` steps: the phase, steps a second and the losses.
        shares: how often each annotation set of the store is drawn; ``None`` goes by ``still_fraction``.
        resume_file: where to keep what ``run(resume=True)`` needs; ``None`` keeps nothing.
        report_every: steps between two reports.

    Attributes:
        phase: ``detector``, then ``video``.
        losses: means of the losses over the steps that the latest report told of.
    """

    def __init__(
        self,
        network: VideoNetwork,
        store: ImageStore,
        options: TrainOptions,
        device: torch.device,
        *,
        shares: Sequence[float] | None = None,
        progress: Progress = silent,
        resume_file: Path | None = None,
        report_every: int = 10,
    ) -> None:
        self.options = options
        self.device = device
        self.preset = network.preset
        absorb_batch_norms(network.backbone)
        self.network = network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.store = store.to(device)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.criterion = DetectionLoss(self.network.head, options.loss)
        classes = self.preset.head.classes
        by_label = {classes.index(name): weight for name, weight in options.class_weights.items()}
        self.shares = None if shares is None else tuple(shares)
        self.weights = store.sampling_weights(
            by_label, options.still_fraction, shares=shares, balance=options.class_balance
        ).to(device)
        self.generator = torch.Generator(device=device).manual_seed(options.seed)
        self.progress = progress
        self.phase = ""
        self.losses: dict[str, float] = {}
        self.report_every = report_every
        self.resume_file = resume_file
        self.step = 0
        self.mean = torch.tensor(self.preset.input.mean, device=device).view(3, 1, 1)
        self.std = torch.tensor(self.preset.input.std, device=device).view(3, 1, 1)
        self.detector_steps = options.steps if self.preset.lsts is None else options.detector_steps
        self.optimizer: torch.optim.Optimizer | None = None

    def run(self, *, resume: bool = False) -> VideoNetwork:
        """Do all steps (or those that are left) and return the network with the averaged weights.

        Raises:
            TrainingError: if a loss is not finite, or the resume file is of another run.
        """
        if resume:
            self._resume()
        sums: dict[str, float] = {}
        counted, since = 0, time.perf_counter()
        while self.step < self.options.steps:
            phase = self.phase = "detector" if self.step < self.detector_steps else "video"
            if self.optimizer is None or self.step == self.detector_steps:
                if self.step and self.options.ema:  # what the video phase builds on is what will be saved
                    self.network.load_state_dict(self.average.state_dict())
                if phase == "video" and self.options.warm_start:
                    self._warm_start()
                self.optimizer = self._make_optimizer(phase)
            losses = self._train_step(phase)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value
            counted += 1
            self.step += 1
            if self.step % self.report_every == 0 or self.step == self.options.steps:
                now = time.perf_counter()
                self.losses = {name: value / counted for name, value in sums.items()}
                told = " ".join(f"{name} {value:.3f}" for name, value in self.losses.items())
                self.progress(f"{phase} {counted / (now - since):.2f} it/s {told}", self.step, self.options.steps)
                sums, counted, since = {}, 0, now
            if self.resume_file and self.step % self.options.save_every == 0:
                self._save()
        return self.finished()

    def finished(self) -> VideoNetwork:
        """A copy of the weights to save: averaged if ``ema`` is on, batch norms in place, on the CPU."""
        source = self.average if self.options.ema else self.network
        result = copy.deepcopy(source).to("cpu", memory_format=torch.contiguous_format)
        release_batch_norms(result.backbone)
        return result.eval().requires_grad_(True)  # type: ignore[no-any-return]

    def _train_step(self, phase: str) -> dict[str, float]:
        options = self.options
        assert self.optimizer is not None
        self._set_rates(phase)
        size = self._size(phase)
        batch = self._draw(phase)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            if phase == "detector":
                losses = self._detector_losses(batch, size)
            else:
                losses = triplet_losses(self.network, self.criterion, batch, size, options, self.generator)
        total = torch.stack(list(losses.values())).sum()
        if not bool(torch.isfinite(total)):
            raise TrainingError(
                f"loss at step {self.step}",
                got={name: float(value.detach()) for name, value in losses.items()},
                expected="finite numbers",
                fix="Lower the learning rate.",
            )
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(trained, _CLIP_NORM)
        self.optimizer.step()
        self._follow()
        return {"loss": float(total.detach())} | {name: float(value.detach()) for name, value in losses.items()}

    def _draw(self, phase: str) -> Batch:
        """The next normalised batch of a phase."""
        options = self.options
        batch = draw_batch(
            self.store,
            self.weights,
            options.batch if phase == "detector" else options.video_batch,
            self._size(phase),
            options.augmentation,
            self.generator,
            frames=1 if phase == "detector" else 3,
            segment=self.preset.keyframe_interval,
            pad_value=float(self.preset.input.pad_value),
        )
        batch.images = (batch.images - self.mean) / self.std
        return batch

    def _detector_losses(self, batch: Batch, size: tuple[int, int]) -> dict[str, torch.Tensor]:
        image = batch.images[:, -1].contiguous(memory_format=torch.channels_last)
        with torch.set_grad_enabled(self.options.train_low):
            low = self.network.backbone.low(image)
        maps = self.network.head.maps(self.network.backbone.rest(low))
        truth = Truth.of(batch.boxes[:, -1], batch.labels[:, -1], batch.ignore[:, -1], batch.trust[:, -1])
        return self.criterion(maps, truth, size, self.generator)

    @torch.no_grad()
    def _warm_start(self) -> None:
        features = []
        for _ in range(_WARM_BATCHES):
            image = self._draw("video").images[:, -1].contiguous(memory_format=torch.channels_last)
            features.append(self.network.heavy(image))
        warm_start_embeddings(self.network, torch.cat(features))
        self.average.load_state_dict(self.network.state_dict())

    def _size(self, phase: str) -> tuple[int, int]:
        full = (self.preset.input.height_px, self.preset.input.width_px)
        if phase == "video" or self.step >= self.detector_steps * self.options.small_fraction:
            return full
        height, width = (max(_SIZE_MULTIPLE, round(s * self.options.small_scale / _SIZE_MULTIPLE) * _SIZE_MULTIPLE)
                         for s in full)  # fmt: skip
        return height, width

    def _make_optimizer(self, phase: str) -> torch.optim.Optimizer:
        """Parameter groups of a phase; parts that do not train lose their gradient."""
        options = self.options
        backbone = cast(Backbone, self.network.backbone)
        low, new = ({id(p) for p in own} for own in (backbone.low_parameters(), backbone.new_parameters()))
        groups: dict[str, list[nn.Parameter]] = {"new": [], "pretrained": [], "offsets": []}
        for name, parameter in self.network.named_parameters():
            group = self._group(name, phase, is_low=id(parameter) in low, is_new=id(parameter) in new)
            module = self.network.get_submodule(name.rsplit(".", 1)[0])
            if isinstance(module, AbsorbedConv2d) and module.groups > 1 and not options.train_depthwise:
                group = group if name.endswith("bias") else None
            if name == "lsts.offsets" and self.preset.lsts is not None and not self.preset.lsts.learn_offsets:
                group = None
            parameter.requires_grad_(group is not None)
            if group is not None:
                groups[group].append(parameter)
        rates = {
            "new": options.learning_rate,
            "pretrained": options.backbone_rate,
            "offsets": options.learning_rate * options.offset_factor,
        }
        return make_optimizer(groups, rates, options.weight_decay)

    def _group(self, name: str, phase: str, *, is_low: bool, is_new: bool) -> str | None:
        """The optimiser's group of a parameter in a phase; None where it stays as it is."""
        if name.startswith("backbone."):
            trained = self.options.train_low if is_low else phase == "detector" or self.options.heavy_in_video
            return ("new" if is_new else "pretrained") if trained else None
        if name.startswith("head."):
            return "new" if phase == "detector" or self.options.heavy_in_video else "pretrained"
        if phase == "detector":
            return None
        return "offsets" if name == "lsts.offsets" else "new"

    def _set_rates(self, phase: str) -> None:
        """Warm-up, then a cosine to a hundredth, in each phase."""
        assert self.optimizer is not None
        start = 0 if phase == "detector" else self.detector_steps
        length = self.detector_steps if phase == "detector" else self.options.steps - self.detector_steps
        position = self.step - start
        warm = min(1.0, (position + 1) / (min(self.options.warmup, length // 5) + 1))
        factor = warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * position / length)))
        for group in self.optimizer.param_groups:
            group["lr"] = group["full"] * factor

    @torch.no_grad()
    def _follow(self) -> None:
        decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
        for slow, fast in zip(self.average.parameters(), self.network.parameters(), strict=True):
            if fast.requires_grad:
                slow.lerp_(fast, 1 - decay)

    def _identity(self) -> str:
        parts = [dataclasses.asdict(self.options), self.preset.to_dict(), len(self.store), self.shares]
        return json.dumps(parts, sort_keys=True)

    def _save(self) -> None:
        assert self.resume_file is not None and self.optimizer is not None
        state = {
            "identity": self._identity(),
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }
        temporary = self.resume_file.with_name(self.resume_file.name + ".part")
        torch.save(state, temporary)
        os.replace(temporary, self.resume_file)

    def _resume(self) -> None:
        path = self.resume_file
        if path is None or not path.is_file():
            raise TrainingError("nothing to resume", got=path, expected="a resume file", fix="Start without --resume.")
        state: Any = read_torch_file(path)
        if not isinstance(state, dict) or not {"identity", "step", "network", "average", "optimizer"} <= set(state):
            raise TrainingError(f"{path} is no resume file", got="other contents", expected="one", fix="Start anew.")
        if state["identity"] != self._identity():
            raise TrainingError(
                f"{path} is of another run",
                got="other options, preset or data",
                expected="the same",
                fix="Repeat the first command exactly, or start without --resume.",
            )
        self.step = int(state["step"])
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.generator.set_state(state["generator"].cpu())
        if self.step != self.detector_steps:
            self.optimizer = self._make_optimizer("detector" if self.step < self.detector_steps else "video")
            self.optimizer.load_state_dict(state["optimizer"])


def triplet_losses(
    network: VideoNetwork,
    criterion: DetectionLoss,
    batch: Batch,
    size: tuple[int, int],
    options: TrainOptions,
    generator: torch.Generator,
) -> dict[str, torch.Tensor]:
    """Losses of old keyframe, new keyframe, current frame, as the online loop would run them.

    Args:
        network: of a preset that is not per frame.
        criterion: detection losses.
        batch: normalised triplets.
        size: height and width of the images.
        options: weights of the losses and what is trained.
        generator: on the device.
    """
    count = len(batch.images)
    frames = batch.images.transpose(0, 1).reshape(3 * count, *batch.images.shape[2:])
    frames = frames.contiguous(memory_format=torch.channels_last)
    with torch.set_grad_enabled(options.train_low):
        low = network.backbone.low(frames)  # type: ignore[operator]
    heavy = 3 * count if options.mimic or options.align else 2 * count
    with torch.set_grad_enabled(options.heavy_in_video):
        features = network.backbone.rest(low[:heavy])  # type: ignore[operator]
    images = [frames[index * count : (index + 1) * count] for index in range(3)]
    high = _high(network, images[2], low[2 * count :], options) if network.preset.sees else None
    truths = [
        Truth.of(batch.boxes[:, at], batch.labels[:, at], batch.ignore[:, at], batch.trust[:, at]) for at in (1, 2)
    ]
    parts = [features[index * count : (index + 1) * count] for index in range(3)]
    return losses_from_features(network, criterion, parts, images, high, truths, size, options, generator)


def _high(network: VideoNetwork, image: torch.Tensor, low: torch.Tensor, options: TrainOptions) -> torch.Tensor:
    """The light path's feature; at full scale the low part has seen the image already, which gave ``low``."""
    shrunk = network.shrink(image)
    if network.preset.light_scale != 1.0:
        with torch.set_grad_enabled(options.train_low):
            low = network.low(shrunk)
    return network.high(low, shrunk.shape[2:])
