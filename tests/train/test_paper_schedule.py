"""Training as the paper and its released code do it: optimiser, schedule, what is frozen, triplets, hard examples."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from toy_data import write_toy_data
from toy_training import LOSS, train_toy

from lsts_edge.errors import AnnotationError, OptionError
from lsts_edge.evaluation.annotations import read_annotations
from lsts_edge.model import VideoNetwork, build_network, random_network
from lsts_edge.presets import FIVE_GROUPS, get_preset
from lsts_edge.train.augment import Augmentation, Batch, draw_batch, sample_triplets
from lsts_edge.train.defaults import options_for
from lsts_edge.train.losses import DetectionLoss, Truth
from lsts_edge.train.optimizer import phase_optimizer, rate_factor
from lsts_edge.train.options import TrainOptions
from lsts_edge.train.store import ImageStore
from lsts_edge.train.triplet import triplet_losses

SIZE = (64, 96)
PAPER = options_for(get_preset("lsts-r101"), {"steps": 400})


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_data(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def store(toy: Path) -> ImageStore:
    return ImageStore.load([read_annotations(toy, FIVE_GROUPS)], color_order="bgr", max_side_px=96)


def drawn(store: ImageStore, *, still: bool = False, keyframes: int = 2) -> Batch:
    if still:
        store = dataclasses.replace(store, first=torch.arange(len(store)), last=torch.arange(len(store)))
    return draw_batch(
        store, torch.ones(len(store)), 3, SIZE, Augmentation.none(), torch.Generator().manual_seed(0),
        frames=keyframes + 1, segment=3, pad_value=0.0,
    )  # fmt: skip


def test_the_paper_s_presets_are_trained_as_the_paper_says():
    assert (PAPER.optimizer, PAPER.momentum, PAPER.weight_decay) == ("sgd", 0.9, 5e-4)
    assert (PAPER.learning_rate, PAPER.backbone_rate) == (2.5e-4, 2.5e-4)
    assert PAPER.learning_rate * PAPER.offset_factor == pytest.approx(2.5)
    assert PAPER.video_batch == 8 and PAPER.detector_steps == 0 and PAPER.heavy_in_video
    assert (PAPER.key_loss, PAPER.mimic, PAPER.align, PAPER.ema, PAPER.clip_norm) == (0, 0, 0, 0, 0)
    assert options_for(get_preset("lsts-r101"), {"steps": 1, "optimizer": "adamw"}).optimizer == "adamw"
    assert options_for(get_preset("lsts-lite"), {"steps": 1}) == TrainOptions(1), "the small ones are trained as ours"


def test_the_rate_falls_tenfold_at_two_and_a_third_of_four_epochs():
    rates = [rate_factor(PAPER, step, 400) for step in range(400)]
    assert rates[:233] == [1.0] * 233
    assert rates[233:] == pytest.approx([0.1] * 167)
    warm = dataclasses.replace(PAPER, warmup=3, decay_at=(0.5, 0.75))
    assert [rate_factor(warm, step, 400) for step in (0, 1, 2, 3)] == [0.25, 0.5, 0.75, 1.0]
    assert [rate_factor(warm, step, 400) for step in (199, 200, 300)] == pytest.approx([1.0, 0.1, 0.01])


def test_what_the_released_code_freezes_stays():
    with torch.device("meta"):
        network = VideoNetwork(get_preset("lsts-r101"))
    optimizer = phase_optimizer(network, "video", PAPER)
    left = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    frozen = {name for name, _ in network.named_parameters() if ".bn" in name}
    frozen |= {name for name, _ in network.named_parameters() if name.startswith(("backbone.conv1", "backbone.conv2"))}
    assert left == frozen and len(left) > 200
    rates = {group["name"]: group["full"] for group in optimizer.param_groups}
    assert rates == {"new": 2.5e-4, "pretrained": 2.5e-4, "offsets": pytest.approx(2.5)}
    assert isinstance(optimizer, torch.optim.SGD) and {g["momentum"] for g in optimizer.param_groups} == {0.9}
    assert [g["weight_decay"] for g in optimizer.param_groups] == [5e-4, 5e-4, 0.0]


@pytest.mark.slow
def test_lsts_r101_is_trained_by_its_defaults(toy: Path):
    """On a small picture; the step moves what is not frozen and nothing else."""
    preset = get_preset("lsts-r101").resized(64, 96)
    preset = dataclasses.replace(preset, head=dataclasses.replace(preset.head, classes=FIVE_GROUPS))
    options = options_for(preset, {"steps": 1, "video_batch": 1, "learning_rate": 1e-3, "backbone_rate": 1e-3})
    start = build_network(preset, seed=0).state_dict()
    trained, curve = train_toy(toy, options, preset=preset)
    assert set(curve[0]) == {"loss", "rpn_class", "rpn_box", "class", "box"}
    moved = {name for name, value in trained.state_dict().items() if not torch.equal(value, start[name])}
    assert not any(".bn" in name or name.startswith(("backbone.conv1", "backbone.conv2")) for name in moved)
    assert {"backbone.conv3.0.conv_a.weight", "backbone.conv5.2.conv_c.weight", "lsts.offsets"} <= moved
    assert {name.split(".")[0] for name in moved} == {"backbone", "head", "transform", "lsts", "srfu", "dfa"}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"freeze": ("backbone.conv9",)}, "backbone.conv9"),
        ({"freeze": ("backbone", "head")}, "everything frozen"),
        ({"bypass": True}, "still_shift"),
        ({"decay_at": (1.5,)}, "decay_at"),
        ({"keyframes": 1}, "keyframes"),
        ({"clip_norm": -1.0}, "clip_norm"),
        ({"optimizer": "lion"}, "optimizer"),
    ],
    ids=str,
)
def test_absurd_choices_are_refused(toy: Path, changed: dict[str, object], told: str):
    with pytest.raises(OptionError, match=told):
        train_toy(toy, dataclasses.replace(TrainOptions(2, video_fraction=0.0, loss=LOSS), **changed))


def test_frozen_scales_of_batch_norms(store: ImageStore):
    network = random_network(get_preset("lsts-tiny"), 0)
    phase_optimizer(network, "detector", TrainOptions(1, train_low=True, freeze_norms=True))
    left = {n for n, p in network.named_parameters() if not p.requires_grad and n.startswith("backbone.")}
    assert left == {"backbone.bn1.weight", "backbone.bn1.bias"}


def test_sum_of_the_items_is_so_many_times_the_mean(toy: Path):
    """With plain SGD a step on the sum is the step on the mean at as many times the rate."""
    base = TrainOptions(
        1, video_batch=4, video_fraction=1.0, optimizer="sgd", momentum=0.0, weight_decay=0.0, warmup=0, ema=0.0,
        clip_norm=0.0, warm_start=False, learning_rate=4e-3, backbone_rate=4e-3, loss=LOSS,
    )  # fmt: skip
    mean, _ = train_toy(toy, base)
    summed, _ = train_toy(toy, dataclasses.replace(base, gradient="sum", learning_rate=1e-3, backbone_rate=1e-3))
    for name, value in mean.state_dict().items():
        torch.testing.assert_close(summed.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_clipping_bounds_the_step(toy: Path):
    options = TrainOptions(
        1, batch=2, video_fraction=0.0, optimizer="sgd", momentum=0.0, weight_decay=0.0, warmup=0, ema=0.0,
        learning_rate=1.0, backbone_rate=1.0, clip_norm=1e-3, loss=LOSS,
    )  # fmt: skip
    start = build_network(get_preset("lsts-tiny"), seed=0).state_dict()
    for clip_norm, bounded in ((1e-3, True), (0.0, False)):
        after = train_toy(toy, dataclasses.replace(options, clip_norm=clip_norm))[0].state_dict()
        moved = sum(float((after[name] - value).square().sum()) for name, value in start.items()) ** 0.5
        assert (moved == pytest.approx(1e-3, rel=1e-2)) is bounded


def test_offline_triplets_lie_on_either_side(store: ImageStore):
    weights = torch.full((len(store),), 1 / len(store))
    generator = torch.Generator().manual_seed(0)
    old, new, current = sample_triplets(store, weights, 400, 4, generator, sampling="offline").unbind(1)
    assert int((new - current).max()) == 2 and int((current - new).max()) == 2
    assert (store.first[old] == store.first[current]).all() and (store.first[new] == store.first[current]).all()
    inner = current - store.first[current] >= 4
    assert set((current - old)[inner].tolist()) == {2, 3, 4}


def test_longer_unrolls_start_further_back(store: ImageStore):
    weights = torch.full((len(store),), 1 / len(store))
    index = sample_triplets(store, weights, 400, 2, torch.Generator().manual_seed(0), keyframes=4)
    assert index.shape == (400, 5) and (index[:, 1:] >= index[:, :-1]).all()
    inner = index[:, 0] > store.first[index[:, 0]]
    assert ((index[:, 1] - index[:, 0])[inner] == 2).all() and inner.any()


def test_a_longer_unroll_is_the_loop_written_out(store: ImageStore):
    """The keyframe loss of three keyframes is that of the memory updated twice, by hand."""
    network = random_network(get_preset("lsts-tiny"), 0)
    criterion = DetectionLoss(network.head, LOSS)
    batch = drawn(store, keyframes=3)
    options = TrainOptions(1, video_fraction=1.0, keyframes=3, key_loss=1.0)
    with torch.no_grad():
        found = triplet_losses(network, criterion, batch, SIZE, options, torch.Generator().manual_seed(1))
        first, second, third, current = batch.images.unbind(1)
        memory = network.heavy(first)
        for image in (second, third):
            key = network.update(image, network.heavy(image), memory)
            memory = key["memory"]
        high = network.light(current)
        slots = network.propagate(current, key["task"], network.remember(key["task"], third), high)
        generator = torch.Generator().manual_seed(1)
        truths = [Truth.of(batch.boxes[:, at], batch.labels[:, at], batch.ignore[:, at]) for at in (2, 3)]
        wanted = criterion(network.head.maps(slots["task"]), truths[1], SIZE, generator)
        keyframe = criterion(network.head.maps(key["task"]), truths[0], SIZE, generator)
    assert float(found["class"]) == pytest.approx(float(wanted["class"]), rel=1e-5)
    assert float(found["key"]) == pytest.approx(float(sum(keyframe.values())), rel=1e-5)


@pytest.mark.parametrize("still", [True, False])
def test_a_still_image_goes_past_the_alignment(store: ImageStore, still: bool):
    network = random_network(get_preset("lsts-tiny"), 0)
    criterion = DetectionLoss(network.head, LOSS)
    batch = drawn(store, still=still)
    assert bool(batch.same.all()) is still
    options = TrainOptions(
        1, video_fraction=1.0, bypass=True, key_loss=0.0, mimic=0.0, align=0.0, augmentation=Augmentation.none()
    )  # fmt: skip
    losses = triplet_losses(network, criterion, batch, SIZE, options, torch.Generator().manual_seed(1))
    sum(losses.values()).backward()
    for name, parameter in network.named_parameters():
        reached = parameter.grad is not None and float(parameter.grad.abs().sum()) > 0
        if name.startswith(("lsts", "srfu.agg", "dfa.agg", "transform")) and not name.endswith("bias"):
            assert reached is not still, name
    if still:  # what is left is the detector on the image itself
        frame = batch.images[:, -1]
        truth = Truth.of(batch.boxes[:, -1], batch.labels[:, -1], batch.ignore[:, -1])
        plain = criterion(
            network.head.maps(network.heavy(frame)), truth, SIZE, torch.Generator().manual_seed(1)
        )  # fmt: skip
        assert {k: v.item() for k, v in losses.items()} == pytest.approx({k: v.item() for k, v in plain.items()})


def test_hard_examples_of_each_image(store: ImageStore):
    """Mined by image the losses of a batch are the mean of those of its images."""
    network = random_network(get_preset("lsts-tiny"), 0)
    loss = dataclasses.replace(LOSS, jittered=0, rpn_batch=10_000, hard=4)
    batch = drawn(store)

    def found(mined: str, rows: slice) -> float:
        options = dataclasses.replace(loss, mined=mined)
        truth = Truth.of(batch.boxes[rows, -1], batch.labels[rows, -1], batch.ignore[rows, -1])
        with torch.no_grad():
            maps = network.head.maps(network.heavy(batch.images[rows, -1]))
            return float(
                DetectionLoss(network.head, options)(maps, truth, SIZE, torch.Generator().manual_seed(0))["class"]
            )

    each = [found("image", slice(at, at + 1)) for at in range(3)]
    assert found("image", slice(None)) == pytest.approx(sum(each) / 3, rel=1e-5)
    assert found("batch", slice(None)) > sum(each) / 3, "over the batch the hardest of all are kept"


def test_current_frames_are_evenly_spaced(store: ImageStore):
    weights = store.sampling_weights({}, 0.35, balance=0.0, frames_per_video=3)
    assert [int(at) % 8 for at in weights.nonzero()] == [0, 3, 6, 0, 3, 6]
    assert int((store.sampling_weights({}, 0.35, frames_per_video=50) > 0).sum()) == len(store)
    context = dataclasses.replace(store, drawn=torch.arange(16) % 4 == 1)
    chosen = context.sampling_weights({}, 0.35, frames_per_video=15).nonzero()
    assert chosen.flatten().tolist() == [1, 5, 9, 13], "what is context of others is not counted"


def test_images_without_objects_may_be_left_out(store: ImageStore):
    bare = dataclasses.replace(store, labels=store.labels.clone())
    bare.labels[4] = -1
    assert float(bare.sampling_weights({}, 0.35)[4]) > 0
    assert float(bare.sampling_weights({}, 0.35, empty=0.0)[4]) == 0
    bare.labels[:] = -1
    with pytest.raises(AnnotationError, match="nothing to draw"):
        bare.sampling_weights({}, 0.35, empty=0.0)
