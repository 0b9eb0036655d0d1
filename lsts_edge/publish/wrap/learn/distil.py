"""Learns propagation from what the frozen detector says of every frame; an interrupted run goes on where it was."""

from __future__ import annotations

import io
import math
import pickle
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lsts_edge.errors import TrainingError
from lsts_edge.progress import Progress, silent
from lsts_edge.publish.wrap.learn.frames import FrameShape, Shot
from lsts_edge.publish.wrap.learn.frozen import Frozen
from lsts_edge.publish.wrap.learn.losses import distillation_loss
from lsts_edge.publish.wrap.learn.network import LearntPropagation
from lsts_edge.publish.wrap.learn.options import LearnOptions
from lsts_edge.write_file import write_file

__all__ = ["distil"]

_LONG_FROM = 0.6  # of the steps: unrolled further
_CLIP_NORM = 3.0
_WARM_STEPS = 60
_SAVE_EVERY = 50
_STATISTIC_FRAMES = 64


def distil(
    frozen: Frozen,
    shots: Sequence[Shot],
    options: LearnOptions,
    resume_file: Path,
    *,
    progress: Progress = silent,
    stop_at: int | None = None,
) -> LearntPropagation:
    """Train on shots, some frames forwards or backwards at a time, at single or double speed.

    Every step draws by its own number, so a run that was interrupted ends as one that was not.

    Args:
        frozen: the detector.
        shots: its outputs.
        options: how much of what.
        resume_file: where a run that was interrupted goes on; it is of these frames and options alone.
        progress: told of the loss beside that of the keyframe's maps held.
        stop_at: leave off after this step, as an interruption would.

    Raises:
        TrainingError: if the loss is not finite.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shape = FrameShape(frozen)
    torch.manual_seed(options.seed)
    network = LearntPropagation(frozen.layout, frozen.taps, options)
    network.whiten(_statistics(shape, shots))
    network.to(device)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": [one for one in trained if one.ndim > 1], "weight_decay": 1e-3},
            {"params": [one for one in trained if one.ndim < 2], "weight_decay": 0.0},
        ],
        lr=options.learning_rate,
    )
    step = _resumed(resume_file, network, optimizer)
    mean: np.ndarray | None = None
    begin, first = time.monotonic(), step
    end = options.steps if stop_at is None else min(options.steps, stop_at)
    while step < end:
        for group in optimizer.param_groups:
            group["lr"] = _rate(options, step)
        seen = _drawn(shape, shots, options, step, device)
        wanted = [maps for maps, _, _ in seen[1:]]
        found = network.unroll(seen[0][0], [(features, light) for _, light, features in seen])
        loss, _ = distillation_loss(frozen.layout, found, wanted)
        with torch.no_grad():
            held, _ = distillation_loss(frozen.layout, [seen[0][0]] * len(wanted), wanted)
        if not bool(torch.isfinite(loss)):
            raise TrainingError(
                f"loss at step {step}", got=float(loss.detach()), expected="a finite number",
                fix="Lower the learning rate.",
            )  # fmt: skip
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, _CLIP_NORM)
        optimizer.step()
        step += 1
        now = np.array([float(loss.detach()), float(held)])
        mean = now if mean is None else 0.95 * mean + 0.05 * now
        if step % _SAVE_EVERY == 0 or step == end:
            _save(resume_file, network, optimizer, step)
            each = (time.monotonic() - begin) / (step - first)
            left = f"{each * (options.steps - step) / 60:.0f} min left"
            progress(f"learning, loss {mean[0]:.2f} where holding has {mean[1]:.2f}, {left}", step, options.steps)
    return network.to("cpu").eval()


def _rate(options: LearnOptions, step: int) -> float:
    cosine = 0.5 * (1 + math.cos(math.pi * step / options.steps))
    return options.learning_rate * min(1.0, (step + 1) / _WARM_STEPS) * (0.01 + 0.99 * cosine)


_Tensors = list[torch.Tensor]


def _drawn(
    shape: FrameShape, shots: Sequence[Shot], options: LearnOptions, step: int, device: torch.device
) -> list[tuple[_Tensors, _Tensors, _Tensors]]:
    """Maps, light maps and features of a keyframe and the frames after it, a batch of each."""
    random = np.random.default_rng((options.seed, step))
    count = options.unroll if step < _LONG_FROM * options.steps else options.long_unroll
    chances = np.array([shot.frames for shot in shots], float)
    chances = np.sqrt(chances) / np.sqrt(chances).sum()  # a long shot does not drown the others
    rows = []
    for _ in range(options.batch):
        shot = shots[random.choice(len(shots), p=chances)]
        speed = int(random.choice((1, 1, 1, 2))) if shot.frames > 2 * count else 1
        places = np.minimum(np.arange(count + 1) * speed, shot.frames - 1)
        places += random.integers(shot.frames - places[-1])
        if random.random() < 0.5:
            places = places[::-1]
        rows.append(shot.rows()[places])
    batch = np.stack(rows, axis=1)
    frames = []
    for one in batch:
        seen = shape.open(one)
        frames.append(
            (
                [torch.from_numpy(value).to(device) for value in seen.maps],
                [torch.from_numpy(value).to(device) for value in seen.light],
                [torch.from_numpy(value).to(device) for value in seen.features],
            )
        )
    return frames


def _statistics(shape: FrameShape, shots: Sequence[Shot]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and covariance of each level's feature, over some frames."""
    places = [(shot, shot.frames // 2) for shot in shots[:: max(1, len(shots) // _STATISTIC_FRAMES)]]
    seen = shape.open(np.stack([shot.rows()[place] for shot, place in places]))
    found = []
    for feature in seen.features[: shape.levels]:
        cells = feature.transpose(1, 0, 2, 3).reshape(feature.shape[1], -1).astype(np.float64)
        found.append((cells.mean(axis=1), np.cov(cells)))
    return found


def _resumed(path: Path, network: LearntPropagation, optimizer: torch.optim.Optimizer) -> int:
    """The step that a file of an earlier run leaves off at; 0 where there is none that can be used."""
    try:
        kept: Mapping[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        network.load_state_dict(kept["network"])
        optimizer.load_state_dict(kept["optimizer"])
        return int(kept["step"])
    except (OSError, RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError):
        return 0


def _save(path: Path, network: LearntPropagation, optimizer: torch.optim.Optimizer, step: int) -> None:
    buffer = io.BytesIO()
    torch.save({"network": network.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, buffer)
    write_file(path, buffer.getvalue())
