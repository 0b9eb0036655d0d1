"""The training loop on lsts-tiny: the loss falls, a seed fixes every weight, a resumed run equals a whole one."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch
from toy_data import write_toy_data

from lsts_edge.errors import CheckpointUnsafe, OptionError, TrainingError
from lsts_edge.evaluation.annotations import read_annotations
from lsts_edge.model import VideoNetwork, build_network
from lsts_edge.presets import FIVE_GROUPS, get_preset
from lsts_edge.train.augment import Augmentation
from lsts_edge.train.losses import LossOptions
from lsts_edge.train.optimizer import phase_optimizer
from lsts_edge.train.options import TrainOptions
from lsts_edge.train.store import ImageStore
from lsts_edge.train.trainer import Trainer
from lsts_edge.variants import varied

TINY = get_preset("lsts-tiny")
LOSS = LossOptions(rpn_batch=32, proposals=16, hard=8, jittered=2)
SHORT = TrainOptions(
    steps=6, batch=2, video_batch=2, video_fraction=0.5, warmup=0, save_every=2, train_low=True, loss=LOSS
)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    path = write_toy_data(tmp_path_factory.mktemp("toy"))
    return ImageStore.load([read_annotations(path, FIVE_GROUPS)], color_order="bgr", max_side_px=96)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(store: ImageStore, options: TrainOptions, **arguments: object) -> VideoNetwork:
    network = build_network(get_preset("lsts-tiny"), seed=options.seed)
    return Trainer(network, store, options, torch.device("cpu"), **arguments).run()


def same(a: VideoNetwork, b: VideoNetwork) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_both_losses_fall(store: ImageStore):
    seen: list[tuple[str, dict[str, float]]] = []
    options = dataclasses.replace(
        SHORT, steps=80, batch=3, video_batch=3, small_fraction=0.0, learning_rate=4e-3, backbone_rate=4e-3,
        train_heavy=True, augmentation=Augmentation.none(),
    )  # fmt: skip
    trainer = Trainer(build_network(get_preset("lsts-tiny"), seed=0), store, options, torch.device("cpu"))
    trainer.progress = lambda *_: seen.append((trainer.phase, trainer.losses))
    trainer.run()
    detector, video = ([losses["loss"] for p, losses in seen if p == phase] for phase in ("detector", "video"))
    assert len(detector) == len(video) == 4
    assert detector[-1] < 0.7 * detector[0]
    assert video[-1] < 0.8 * video[0]


def test_every_part_is_trained_and_only_in_its_phase(store: ImageStore):
    start = build_network(get_preset("lsts-tiny"), seed=0).state_dict()

    def moved(video_fraction: float) -> set[str]:
        after = train(store, dataclasses.replace(SHORT, video_fraction=video_fraction, ema=0.0)).state_dict()
        return {name.split(".")[0] for name, value in after.items() if not torch.equal(value, start[name])}

    assert moved(0.0) == {"backbone", "head"}
    assert moved(1.0) == {"backbone", "head", "transform", "lsts", "srfu", "dfa"}


@pytest.mark.parametrize("train_low", [True, False])
def test_a_light_path_at_half_size_is_trained(store: ImageStore, train_low: bool):
    preset = dataclasses.replace(get_preset("lsts-tiny"), light_scale=0.5)
    options = dataclasses.replace(SHORT, video_fraction=1.0, train_low=train_low, ema=0.0)
    start = build_network(preset, seed=0).state_dict()
    trained = Trainer(build_network(preset, seed=0), store, options, torch.device("cpu")).run()
    assert trained.preset == preset
    moved = {name for name, value in trained.state_dict().items() if not torch.equal(value, start[name])}
    assert any(name.startswith("transform.") for name in moved)
    assert any(name.startswith("backbone.conv1.") for name in moved) is train_low


@pytest.mark.parametrize(
    ("choices", "trained"),
    [
        ({"alignment": "non-local"}, {"transform", "srfu", "dfa"}),
        ({"alignment": "match-trans", "row": "c"}, {"transform", "srfu", "dfa"}),
        ({"alignment": "flow-warp", "row": "f"}, {"transform", "srfu", "dfa"}),
        ({"alignment": "flow-warp", "row": "a"}, set()),
        ({"alignment": "copy"}, {"transform", "srfu", "dfa"}),
        ({"alignment": "none"}, {"transform"}),
        ({"learn_offsets": False, "spread_cells": 2.0}, {"transform", "srfu", "dfa"}),
    ],
    ids=str,
)
def test_every_variant_is_trained(store: ImageStore, choices: dict[str, object], trained: set[str]):
    preset = varied(get_preset("lsts-tiny"), choices)
    options = dataclasses.replace(SHORT, steps=2, video_fraction=1.0, ema=0.0)
    start = build_network(preset, seed=0).state_dict()
    after = Trainer(build_network(preset, seed=0), store, options, torch.device("cpu")).run().state_dict()
    moved = {name.split(".")[0] for name, value in after.items() if not torch.equal(value, start[name])}
    assert moved == {"backbone", "head"} | trained


def test_video_phase_leaves_the_heavy_path_alone(store: ImageStore):
    options = dataclasses.replace(SHORT, train_low=False)
    network = build_network(get_preset("lsts-tiny"), seed=0)
    trainer = Trainer(network, store, options, torch.device("cpu"))
    phase_optimizer(trainer.network, "video", options)
    trained = {name for name, parameter in trainer.network.named_parameters() if parameter.requires_grad}
    assert trained and not any(name.startswith("backbone.") for name in trained)


@pytest.mark.parametrize(("train_low", "left_alone"), [(False, {"conv1", "bn1", "conv2", "conv3"}), (True, set())])
def test_the_low_part_is_what_the_backbone_says(store: ImageStore, train_low: bool, left_alone: set[str]):
    """Not what its parameters are called: the low part of ``tiny`` is ``conv1`` to ``conv3``."""
    network = build_network(get_preset("lsts-tiny"), seed=0)
    options = dataclasses.replace(SHORT, train_low=train_low)
    trainer = Trainer(network, store, options, torch.device("cpu"))
    optimizer = phase_optimizer(trainer.network, "detector", options)
    backbone = dict(network.backbone.named_parameters())
    assert {name.split(".")[0] for name, p in backbone.items() if not p.requires_grad} == left_alone
    rates = {id(p): group["full"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[id(backbone["feature.weight"])] == options.learning_rate
    assert rates[id(backbone["conv4.weight"])] == options.backbone_rate


def test_a_seed_fixes_every_weight(store: ImageStore):
    assert same(train(store, SHORT), train(store, SHORT))
    assert not same(train(store, SHORT), train(store, dataclasses.replace(SHORT, seed=1)))


@pytest.mark.parametrize(
    ("stop_after", "changed"),
    [
        (2, {}),
        (4, {}),
        (4, {"optimizer": "sgd", "schedule": "steps", "decay_at": (0.5,), "ema": 0.0}),
        (4, {"precision": "bf16"}),
        (4, {"precision": "fp16"}),
    ],
    ids=str,
)
def test_resumed_run_ends_where_a_whole_one_does(
    store: ImageStore, tmp_path: Path, stop_after: int, changed: dict[str, object]
):
    options = dataclasses.replace(SHORT, **changed)

    class Stop(Exception):
        pass

    def interrupt(what: str, done: int, total: int) -> None:
        if done == stop_after + 1:
            raise Stop

    file = tmp_path / "x.resume"
    with pytest.raises(Stop):
        train(store, options, progress=interrupt, report_every=1, resume_file=file)
    network = build_network(get_preset("lsts-tiny"), seed=0)
    resumed = Trainer(network, store, options, torch.device("cpu"), resume_file=file).run(resume=True)
    assert same(resumed, train(store, options))


@pytest.mark.parametrize("stops", [(1,), (3,), (2, 4, 5)], ids=str)
def test_a_run_that_stops_and_goes_on_ends_where_a_whole_one_does(
    store: ImageStore, tmp_path: Path, stops: tuple[int, ...]
):
    options, file = dataclasses.replace(SHORT, save_every=100), tmp_path / "x.resume"
    for place, last in enumerate(stops):
        trainer = Trainer(build_network(TINY, seed=0), store, options, torch.device("cpu"), resume_file=file)
        trainer.stop = lambda trainer=trainer, last=last: trainer.step >= last
        assert trainer.run(resume=place > 0) is None and trainer.step == last
    trainer = Trainer(build_network(TINY, seed=0), store, options, torch.device("cpu"), resume_file=file)
    resumed = trainer.run(resume=True)
    assert resumed is not None and same(resumed, train(store, options))


def test_a_run_is_not_stopped_once_all_steps_are_done(store: ImageStore, tmp_path: Path):
    network, file = build_network(TINY, seed=0), tmp_path / "x.resume"
    options = dataclasses.replace(SHORT, steps=1, video_fraction=0.0)
    trainer = Trainer(network, store, options, torch.device("cpu"), resume_file=file, stop=lambda: True)
    assert trainer.run() is not None and not file.exists()


def test_resume_of_another_run_is_refused(store: ImageStore, tmp_path: Path):
    file = tmp_path / "x.resume"
    train(store, SHORT, resume_file=file)
    network = build_network(get_preset("lsts-tiny"), seed=0)
    other = dataclasses.replace(SHORT, learning_rate=0.5)
    with pytest.raises(TrainingError, match="another run"):
        Trainer(network, store, other, torch.device("cpu"), resume_file=file).run(resume=True)
    torch.save({"step": 3}, tmp_path / "other.resume")
    (tmp_path / "cut.resume").write_bytes(file.read_bytes()[:1000])
    for name, error, told in (("other", TrainingError, "no resume file"), ("cut", CheckpointUnsafe, "no plain set")):
        with pytest.raises(error, match=told):
            trainer = Trainer(network, store, SHORT, torch.device("cpu"), resume_file=tmp_path / f"{name}.resume")
            trainer.run(resume=True)
    with pytest.raises(TrainingError, match="nothing to resume"):
        Trainer(network, store, SHORT, torch.device("cpu"), resume_file=tmp_path / "none").run(resume=True)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_near_the_whole(store: ImageStore, precision: str):
    def curve(precision: str) -> list[float]:
        seen: list[float] = []
        options = dataclasses.replace(SHORT, steps=10, precision=precision, augmentation=Augmentation.none())
        trainer = Trainer(build_network(TINY, seed=0), store, options, torch.device("cpu"), report_every=1)
        if precision == "fp16":  # the first scale is large on purpose, and steps are left out until it fits
            trainer.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        kinds = set()
        trainer.progress = lambda *_: seen.append(trainer.losses["loss"])
        trainer.network.backbone.feature.register_forward_hook(lambda _, inputs, output: kinds.add(output.dtype))
        trainer.run()
        assert ({torch.float32} == kinds) is (precision == "fp32")
        return seen

    whole, half = curve("fp32"), curve(precision)
    assert half != whole
    assert half[0] == pytest.approx(whole[0], rel=0.01)
    assert sum(half) == pytest.approx(sum(whole), rel=0.05), "which proposals are hard may turn on a rounding"


def test_fp16_leaves_out_steps_that_overflow(store: ImageStore):
    options = dataclasses.replace(SHORT, steps=3, video_fraction=0.0, precision="fp16", clip_norm=0.0)
    trainer = Trainer(build_network(TINY, seed=0), store, options, torch.device("cpu"))
    start = trainer.network.state_dict()["head.rpn_score.weight"].clone()
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**60, backoff_factor=0.5)
    trained = trainer.run()
    assert trainer.scaler.get_scale() == 2.0**57
    assert torch.equal(trained.state_dict()["head.rpn_score.weight"], start)


def test_curves_and_the_time_left(store: ImageStore, tmp_path: Path):
    """Event files read by TensorBoard's own reader; a resumed run goes on where the interrupted one was saved."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told: list[str] = []
    options = dataclasses.replace(SHORT, save_every=4)

    def watch(what: str, done: int = 0, total: int = 0) -> None:
        told.append(what)
        if done == 5 and len(told) == 5:
            raise KeyboardInterrupt

    arguments = {
        "progress": watch,
        "report_every": 1,
        "resume_file": tmp_path / "x.resume",
        "log_dir": tmp_path / "logs",
    }
    with pytest.raises(KeyboardInterrupt):
        train(store, options, **arguments)
    trainer = Trainer(build_network(TINY, seed=0), store, options, torch.device("cpu"), **arguments)
    trainer.run(resume=True)
    assert all(re.search(r"\d it/s, \d+:\d\d:\d\d left, loss \d", line) for line in told), told
    assert "0:00:00 left" in told[-1]
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    assert {"loss/loss", "loss/class", "rate/new", "rate/offsets", "speed/steps_per_s"} <= set(events.Tags()["scalars"])
    points = events.Scalars("loss/loss")
    assert [point.step for point in points] == [1, 2, 3, 4, 5, 6], "step 5 once"
    assert points[-1].value == pytest.approx(trainer.losses["loss"], rel=1e-6)


def test_loss_that_is_not_finite_stops_the_run(store: ImageStore):
    network = build_network(get_preset("lsts-tiny"), seed=0)
    with torch.no_grad():
        network.head.class_maps.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="step 0"):
        Trainer(network, store, SHORT, torch.device("cpu")).run()


@pytest.mark.parametrize(
    ("name", "value"), [("steps", 0), ("video_fraction", 2.0), ("ema", 1.0), ("learning_rate", -1)]
)
def test_absurd_options_are_refused(name: str, value: float):
    with pytest.raises(OptionError, match=name):
        dataclasses.replace(SHORT, **{name: value})
