"""Toy training runs that one process and several must do alike; as a program, what one of several processes does."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import torch

from lsts_edge.evaluation.annotations import read_annotations
from lsts_edge.model import VideoNetwork, build_network
from lsts_edge.presets import FIVE_GROUPS, ModelPreset, get_preset
from lsts_edge.train.augment import Augmentation
from lsts_edge.train.losses import LossOptions
from lsts_edge.train.options import TrainOptions
from lsts_edge.train.processes import ALONE, Processes, joined
from lsts_edge.train.store import ImageStore
from lsts_edge.train.trainer import Trainer

__all__ = ["LOSS", "RUNS", "STOP_AFTER", "train_toy"]

STOP_AFTER = 3
TINY = get_preset("lsts-tiny")
LOSS = LossOptions(rpn_batch=32, proposals=16, hard=8, jittered=2)
_PLAIN = TrainOptions(
    steps=6, batch=6, video_batch=4, video_fraction=0.5, warmup=0, save_every=1, train_low=True, loss=LOSS
)  # fmt: skip
RUNS = {
    "frames, then triplets": _PLAIN,
    "as the paper": dataclasses.replace(
        _PLAIN, steps=5, video_fraction=1.0, optimizer="sgd", schedule="steps", decay_at=(0.5,), gradient="sum",
        ema=0.0, clip_norm=0.0, learning_rate=1e-4, backbone_rate=1e-4, sampling="offline", bypass=True, keyframes=3,
        warm_start=False, augmentation=Augmentation.none(flip=0.5), loss=dataclasses.replace(LOSS, mined="image"),
    ),
    "in bf16": dataclasses.replace(_PLAIN, steps=4, precision="bf16"),
}  # fmt: skip


class _Stop(Exception):
    """Ends a run early, in every process at the same step."""


def train_toy(
    data: Path,
    options: TrainOptions,
    processes: Processes = ALONE,
    *,
    preset: ModelPreset = TINY,
    interrupted: Path | None = None,
) -> tuple[VideoNetwork, list[dict[str, float]]]:
    """The trained network and the losses of each step; ``interrupted`` keeps what the second half resumes from."""
    annotations = read_annotations(data, FIVE_GROUPS)
    store = ImageStore.load([annotations], color_order="bgr", max_side_px=96)
    curve: list[dict[str, float]] = []

    def trainer(last: int) -> Trainer:
        def told(what: str, done: int = 0, total: int = 0, /) -> None:
            curve.append(made.losses)
            if done == last:
                raise _Stop

        network = build_network(preset, seed=0)
        made = Trainer(
            network, store, options, torch.device("cpu"), progress=told, report_every=1, processes=processes,
            resume_file=interrupted,
        )  # fmt: skip
        return made

    if interrupted is None:
        return trainer(0).run(), curve
    try:
        trainer(STOP_AFTER + 1).run()
    except _Stop:
        del curve[STOP_AFTER:]
    return trainer(0).run(resume=True), curve


def main(data: Path, folder: Path) -> None:
    """Every run, whole and resumed; the first process writes the curves and weights."""
    torch.set_num_threads(1)
    with joined("cpu") as (processes, _):
        for number, (name, options) in enumerate(RUNS.items()):
            for interrupted in (None, folder / f"{number}.resume"):
                network, curve = train_toy(data, dataclasses.replace(options), processes, interrupted=interrupted)
                if processes.is_first:
                    stem = folder / f"{number}{'-resumed' if interrupted else ''}"
                    stem.with_suffix(".json").write_text(json.dumps({"name": name, "curve": curve}))
                    torch.save(network.state_dict(), stem.with_suffix(".pth"))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
