"""The training loop: batches in, averaged weights out; resumable, seeded, on one device or many."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import datetime
import json
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lsts_edge.errors import OptionError, TrainingError
from lsts_edge.model.checkpoint import read_torch_file
from lsts_edge.model.network import VideoNetwork
from lsts_edge.progress import Progress, silent
from lsts_edge.train.absorb import absorb_batch_norms, release_batch_norms
from lsts_edge.train.augment import Batch, draw_batch
from lsts_edge.train.curves import Curves
from lsts_edge.train.losses import DetectionLoss, Truth
from lsts_edge.train.optimizer import phase_optimizer, rate_factor
from lsts_edge.train.options import TrainOptions
from lsts_edge.train.processes import ALONE, Processes
from lsts_edge.train.store import ImageStore
from lsts_edge.train.triplet import triplet_losses
from lsts_edge.train.warm_start import warm_start_embeddings

__all__ = ["Trainer"]

logger = logging.getLogger(__name__)

_WARM_BATCHES = 4
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
_RESUMED = {"identity", "step", "network", "average", "optimizer", "generator", "scaler"}
_SIZE_MULTIPLE = 32  # of the reduced input: both strides and the mosaic's halves stay whole


class Trainer:
    """Trains one network on one device, or on one for each of several processes that share every batch.

    Args:
        network: changed in place; after ``run`` it holds the averaged weights, on the CPU.
        store: training images.
        options: the run.
        device: where to compute.
        progress: told every ``report_every`` steps: the phase, steps a second and the losses.
        shares: how often each annotation set of the store is drawn; ``None`` goes by ``still_fraction``.
        resume_file: where to keep what ``run(resume=True)`` needs; ``None`` keeps nothing.
        report_every: steps between two reports.
        log_dir: folder for TensorBoard's event files; None writes none.
        processes: that train together: equal batches, equal weights, and only the first tells and writes.
        stop: asked after each step but the last; once it says yes, all is kept in the resume file and the run ends.

    Attributes:
        phase: ``detector``, then ``video``.
        losses: means of the losses over the steps that the latest report told of.

    Raises:
        OptionError: if a batch cannot be shared out evenly.
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
        log_dir: Path | None = None,
        processes: Processes = ALONE,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        for name in ("batch", "video_batch"):
            if getattr(options, name) % processes.count:
                expected = f"a multiple of the {processes.count} processes, which share it"
                got, fix = getattr(options, name), "Give another number."
                raise OptionError(f"training option {name}", got=got, expected=expected, fix=fix)
        self.options = options
        self.device = device
        self.preset = network.preset
        absorb_batch_norms(network.backbone)
        self.network = network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.store = store.to(device)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.processes = processes
        self.criterion = DetectionLoss(self.network.head, options.loss, processes)
        classes = self.preset.head.classes
        by_label = {classes.index(name): weight for name, weight in options.class_weights.items()}
        self.shares = None if shares is None else tuple(shares)
        self.weights = store.sampling_weights(
            by_label,
            options.still_fraction,
            shares=shares,
            balance=options.class_balance,
            frames_per_video=options.frames_per_video,
            empty=options.empty_weight,
        )
        self.generator = torch.Generator().manual_seed(options.seed)  # CPUs draw alike, whatever GPU is beside them
        self.progress = progress
        self.phase = ""
        self.losses: dict[str, float] = {}
        self.report_every = report_every
        self.log_dir = log_dir
        self.precision = options.precision or ("bf16" if device.type == "cuda" else "fp32")
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")
        self.resume_file = resume_file
        self.stop = stop
        self.step = 0
        self.mean = torch.tensor(self.preset.input.mean, device=device).view(3, 1, 1)
        self.std = torch.tensor(self.preset.input.std, device=device).view(3, 1, 1)
        self.detector_steps = options.steps if self.preset.lsts is None else options.detector_steps
        self.optimizer: torch.optim.Optimizer | None = None
        self.losses_of: nn.Module = _Losses([])

    def run(self, *, resume: bool = False) -> VideoNetwork | None:
        """Do all steps (or those that are left) and return the network with the averaged weights; None if stopped.

        Raises:
            TrainingError: if a loss is not finite, or the resume file is of another run.
        """
        if resume:
            self._resume()
        with contextlib.ExitStack() as stack:
            curves = None
            if self.log_dir is not None and self.processes.is_first:
                curves = stack.enter_context(contextlib.closing(Curves(self.log_dir, self.step)))
            self._train(curves)
        return self.finished() if self.step == self.options.steps else None

    def _train(self, curves: Curves | None) -> None:
        sums: dict[str, float] = {}
        counted, since = 0, time.perf_counter()
        while self.step < self.options.steps:
            phase = self.phase = "detector" if self.step < self.detector_steps else "video"
            if self.optimizer is None or self.step == self.detector_steps:
                if self.step and self.options.ema:  # what the video phase builds on is what will be saved
                    self.network.load_state_dict(self.average.state_dict())
                if phase == "video" and self.options.warm_start:
                    self._warm_start()
                self._start_phase(phase)
            losses = self._train_step(phase)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value
            counted += 1
            self.step += 1
            if self.step % self.report_every == 0 or self.step == self.options.steps:
                now = time.perf_counter()
                self.losses = {name: value / counted for name, value in sums.items()}
                self._report(counted / (now - since), curves)
                sums, counted, since = {}, 0, now
            stopped = self.step < self.options.steps and self.stop()
            if stopped or self.step % self.options.save_every == 0:
                self._save()
            if stopped:
                return

    def _report(self, steps_per_s: float, curves: Curves | None) -> None:
        """Tell of the steps since the latest report; the time left is what the rest takes at their pace."""
        left = datetime.timedelta(seconds=round((self.options.steps - self.step) / steps_per_s))
        told = " ".join(f"{name} {value:.3f}" for name, value in self.losses.items())
        self.progress(f"{self.phase} {steps_per_s:.2f} it/s, {left} left, {told}", self.step, self.options.steps)
        if curves is not None:
            assert self.optimizer is not None
            points = {f"loss/{name}": value for name, value in self.losses.items()}
            points |= {f"rate/{group['name']}": group["lr"] for group in self.optimizer.param_groups}
            points["speed/steps_per_s"] = steps_per_s
            points["speed/items_per_s"] = steps_per_s * self._items(self.phase)
            curves.write(points, self.step)

    def finished(self) -> VideoNetwork:
        """A copy of the weights to save: averaged if ``ema`` is on, batch norms in place, on the CPU."""
        source = self.average if self.options.ema else self.network
        result = copy.deepcopy(source).to("cpu", memory_format=torch.contiguous_format)
        release_batch_norms(result.backbone)
        return result.eval().requires_grad_(True)  # type: ignore[no-any-return]

    def _train_step(self, phase: str) -> dict[str, float]:
        assert self.optimizer is not None
        self._set_rates(phase)
        size = self._size(phase)
        batch = self._draw(phase)
        compute = self._detector_losses if phase == "detector" else self._video_losses
        kind = _AUTOCAST.get(self.precision, torch.bfloat16)
        with torch.autocast(self.device.type, kind, enabled=self.precision != "fp32"):
            losses = self.losses_of(compute, batch, size)
        parts = torch.stack(list(losses.values()))
        values: dict[str, float] = dict(zip(losses, self.processes.sum(parts).tolist(), strict=True))
        if not all(map(math.isfinite, values.values())):  # in every process at once
            raise TrainingError(
                f"loss at step {self.step}", got=values, expected="finite numbers", fix="Lower the learning rate."
            )
        self.optimizer.zero_grad(set_to_none=True)
        # The processes' gradients are averaged, but their losses are parts of a sum.
        weight = self.processes.count * (self._items(phase) if self.options.gradient == "sum" else 1)
        self.scaler.scale(parts.sum() * weight).backward()  # type: ignore[no-untyped-call]
        if self.options.clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(_trained(self.optimizer), self.options.clip_norm)
        self.scaler.step(self.optimizer)  # which leaves out a step whose gradient is too large for fp16
        self.scaler.update()
        self._follow()
        return {"loss": sum(values.values())} | values

    def _draw(self, phase: str) -> Batch:
        """The next normalised batch of a phase."""
        options = self.options
        batch = draw_batch(
            self.store,
            self.weights,
            self._items(phase),
            self._size(phase),
            options.augmentation,
            self.generator,
            frames=1 if phase == "detector" else options.keyframes + 1,
            segment=self.preset.keyframe_interval,
            pad_value=float(self.preset.input.pad_value),
            sampling=options.sampling,
            processes=self.processes,
        )
        batch.images = (batch.images - self.mean) / self.std
        return batch

    def _items(self, phase: str) -> int:
        return self.options.batch if phase == "detector" else self.options.video_batch

    def _detector_losses(self, batch: Batch, size: tuple[int, int]) -> dict[str, torch.Tensor]:
        image = batch.images[:, -1].contiguous(memory_format=torch.channels_last)
        with torch.set_grad_enabled(self.options.train_low):
            low = self.network.backbone.low(image)
        maps = self.network.head.maps(self.network.backbone.rest(low))
        truth = Truth.of(batch.boxes[:, -1], batch.labels[:, -1], batch.ignore[:, -1], batch.trust[:, -1])
        return self.criterion(maps, truth.rows(self.processes), size, self.generator)

    def _video_losses(self, batch: Batch, size: tuple[int, int]) -> dict[str, torch.Tensor]:
        return triplet_losses(self.network, self.criterion, batch, size, self.options, self.generator)

    @torch.no_grad()
    def _warm_start(self) -> None:
        features = []
        for _ in range(_WARM_BATCHES):
            image = self._draw("video").images[:, -1].contiguous(memory_format=torch.channels_last)
            features.append(self.network.heavy(image))
        warm_start_embeddings(self.network, self.processes.gather(torch.cat(features)).flatten(0, 1))
        self.average.load_state_dict(self.network.state_dict())

    def _size(self, phase: str) -> tuple[int, int]:
        full = (self.preset.input.height_px, self.preset.input.width_px)
        if phase == "video" or self.step >= self.detector_steps * self.options.small_fraction:
            return full
        height, width = (max(_SIZE_MULTIPLE, round(s * self.options.small_scale / _SIZE_MULTIPLE) * _SIZE_MULTIPLE)
                         for s in full)  # fmt: skip
        return height, width

    def _start_phase(self, phase: str) -> None:
        """An optimiser for the phase, and where there are several processes what averages their gradients."""
        self.optimizer = phase_optimizer(self.network, phase, self.options)
        if self.processes.count > 1:
            self.losses_of = DistributedDataParallel(_Losses(_trained(self.optimizer)), static_graph=True)

    def _set_rates(self, phase: str) -> None:
        assert self.optimizer is not None
        start = 0 if phase == "detector" else self.detector_steps
        length = self.detector_steps if phase == "detector" else self.options.steps - self.detector_steps
        factor = rate_factor(self.options, self.step - start, length)
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
        if self.resume_file is None or not self.processes.is_first:
            return
        assert self.optimizer is not None
        state = {
            "identity": self._identity(),
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "scaler": self.scaler.state_dict(),
        }
        temporary = self.resume_file.with_name(self.resume_file.name + ".part")
        torch.save(state, temporary)
        os.replace(temporary, self.resume_file)

    def _resume(self) -> None:
        state = self.processes.from_first(self._read_resume)
        self.step = int(state["step"])
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.generator.set_state(state["generator"])
        self.scaler.load_state_dict(state["scaler"])
        if self.step != self.detector_steps:
            self._start_phase("detector" if self.step < self.detector_steps else "video")
            assert self.optimizer is not None
            self.optimizer.load_state_dict(state["optimizer"])

    def _read_resume(self) -> dict[str, Any]:
        path = self.resume_file
        if path is None or not path.is_file():
            raise TrainingError("nothing to resume", got=path, expected="a resume file", fix="Start without --resume.")
        state: Any = read_torch_file(path)
        if not isinstance(state, dict) or not set(state) >= _RESUMED:
            raise TrainingError(f"{path} is no resume file", got="other contents", expected="one", fix="Start anew.")
        if state["identity"] != self._identity():
            raise TrainingError(
                f"{path} is of another run",
                got="other options, preset or data",
                expected="the same",
                fix="Repeat the first command exactly, or start without --resume.",
            )
        return state


def _trained(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


class _Losses(nn.Module):
    """Gives a computation of losses to ``DistributedDataParallel``, which wants a module with what is trained."""

    def __init__(self, trained: list[nn.Parameter]) -> None:
        super().__init__()
        self.trained = nn.ParameterList(trained)

    def forward(
        self, compute: Callable[[Batch, tuple[int, int]], dict[str, torch.Tensor]], batch: Batch, size: tuple[int, int]
    ) -> dict[str, torch.Tensor]:
        """Losses by name."""
        return compute(batch, size)
