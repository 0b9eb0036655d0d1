"""The network as users take it: presets, parts of their own, both forms of the loop, odd sizes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from lsts_edge.errors import OptionError
from lsts_edge.model import VideoLoop, VideoNetwork, build_network, random_network
from lsts_edge.model.interfaces import Backbone, Head
from lsts_edge.model.network import Normalize, build_backbone
from lsts_edge.presets import AggregationPreset, ConvLayer, ModelPreset, get_preset, preset_names

TINY = get_preset("lsts-tiny")


def video(preset: ModelPreset, frames: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    size = (preset.input.height_px, preset.input.width_px)
    frame = torch.randint(
        0, 256, (1, size[0] + frames, size[1] + 2 * frames, 3), generator=generator, dtype=torch.uint8
    )
    normalize = Normalize(preset.input)
    return [normalize(frame[:, i : i + size[0], 2 * i : 2 * i + size[1]]) for i in range(frames)]


@pytest.mark.parametrize("name", [name for name in preset_names() if "r101" not in name])
def test_random_networks_are_lively(name: str) -> None:
    """Features of the size of one, scores neither all alike nor all certain, boxes of several sizes."""
    preset = get_preset(name)
    loop = VideoLoop(random_network(preset, 0))
    for index, image in enumerate(video(preset, 3)):
        slots = loop.step(image, is_keyframe=index == 1)
        for slot in ("feature", "high", "aligned", "task"):
            if slot in slots:
                assert 0.05 < slots[slot].std() < 10, (slot, index)
        assert (slots["scores"] >= 0.05).sum() >= 5
        assert 0.1 < slots["scores"].max() < 0.999
        assert slots["scores"].std() > 0.01
        assert len(slots["labels"].unique()) >= 2
        size = (slots["boxes"][:, 2:] - slots["boxes"][:, :2] + 1).prod(dim=1)
        assert size.max() > 1.5 * size.min()


def test_the_seed_decides_everything() -> None:
    one, same, other = random_network(TINY, 5), random_network(TINY, 5), random_network(TINY, 6)
    torch.manual_seed(123)
    for (name, a), b, c in zip(one.named_parameters(), same.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name
        assert not torch.equal(a, c), name


def test_released_loop_by_hand() -> None:
    network = random_network(TINY, 0)
    images = video(TINY, 3)
    loop = VideoLoop(network)
    slots = [loop.step(image, is_keyframe=index == 1) for index, image in enumerate(images)]
    with torch.no_grad():
        first = network.heavy(images[0])
        feature = network.heavy(images[1])
        aligned = network.align(first, *network.embed_key(first, feature))
        task = network.aggregate_key(feature, aligned)
        high = network.light(images[2])
        moved = network.align(task, network.embed_memory(task), network.embed_current(high))
        current = network.aggregate_current(high, moved)
    for found, expected in zip(slots, (first, task, current), strict=True):
        torch.testing.assert_close(found["task"], expected, rtol=0, atol=0)
    assert torch.equal(slots[1]["memory"], slots[1]["task"])
    loop.reset()
    assert torch.equal(loop.step(images[2], is_keyframe=False)["task"], network.heavy(images[2]))


def test_recursion_keeps_part_of_the_new_feature() -> None:
    network = random_network(dataclasses.replace(TINY, recursion=0.25), 0)
    loop = VideoLoop(network)
    images = video(TINY, 3)
    loop.step(images[0], is_keyframe=True)
    slots = loop.step(images[1], is_keyframe=True)
    torch.testing.assert_close(slots["memory"], 0.25 * slots["task"] + 0.75 * slots["feature"])
    # Propagated frames align the task feature, not the memory.
    high = loop.step(images[2], is_keyframe=False)
    aligned = network.align(slots["task"], network.embed_memory(slots["task"]), high["high_embedding"])
    torch.testing.assert_close(high["aligned"], aligned)


def test_paper_form_aggregates_twice_and_carries_the_memory() -> None:
    assert TINY.aggregation is not None
    aggregation = AggregationPreset((ConvLayer(3, 8), ConvLayer(1, 4), ConvLayer(1, 1)), form="concat")
    network = random_network(dataclasses.replace(TINY, form="paper", aggregation=aggregation), 0)
    loop = VideoLoop(network)
    images = video(TINY, 3)
    first = loop.step(images[0], is_keyframe=True)
    key = loop.step(images[1], is_keyframe=True)
    torch.testing.assert_close(key["memory"], network.aggregate_key(key["feature"], key["aligned"]))
    torch.testing.assert_close(key["task"], network.aggregate_task(key["memory"], key["feature"]))
    assert not torch.equal(key["memory"], key["task"])
    current = loop.step(images[2], is_keyframe=False)
    aligned = network.align(key["memory"], network.embed_memory(key["memory"]), current["high_embedding"])
    torch.testing.assert_close(current["aligned"], aligned)
    assert torch.equal(first["task"], first["feature"])


def test_weights_of_an_aggregation_sum_to_one() -> None:
    network = random_network(TINY, 0)
    first, second = torch.randn(2, 1, 32, 4, 6)
    aggregation = network.dfa.aggregation
    weight = aggregation.weight_of_first(first, second)
    scores = torch.cat((aggregation.stack(first), aggregation.stack(second)), dim=1)
    torch.testing.assert_close(weight, scores.softmax(dim=1)[:, :1])
    torch.testing.assert_close(aggregation(first, first), first)


@pytest.mark.parametrize("layers", [(), (ConvLayer(1, 2),), (ConvLayer(3, 4, stride=2), ConvLayer(1, 1))])
def test_an_aggregation_that_gives_no_single_score_is_refused(layers: tuple[ConvLayer, ...]) -> None:
    with pytest.raises(OptionError, match="aggregation layers"):
        build_network(dataclasses.replace(TINY, aggregation=AggregationPreset(layers)))


def test_without_lsts_every_frame_is_heavy() -> None:
    preset = dataclasses.replace(TINY, name="per-frame", lsts=None, transform=(), aggregation=None)
    network = random_network(preset, 0)
    loop = VideoLoop(network)
    for image in video(preset, 2):
        slots = loop.step(image, is_keyframe=False)
        assert torch.equal(slots["task"], network.heavy(image)) and "high" not in slots
    with pytest.raises(OptionError, match="does not have that part"):
        network.light(image)


class OwnBackbone(nn.Module):
    """What a user might bring: other widths, another stride."""

    low_channels, low_stride, feature_channels, stride = 6, 4, 24, 8

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 7, 4, 3)
        self.second = nn.Conv2d(6, 24, 3, 2, 1)

    def low(self, image: torch.Tensor) -> torch.Tensor:
        return self.first(image)

    def rest(self, low: torch.Tensor) -> torch.Tensor:
        return self.second(low.relu()).relu()

    def low_parameters(self):
        return self.first.parameters()

    def new_parameters(self):
        return self.second.parameters()


class OwnHead(nn.Module):
    """One box per image, of the brightest cell."""

    def detect(self, task: torch.Tensor, height_px: int, width_px: int):
        best = task.sum(1).flatten().argmax()
        box = torch.tensor([[0.0, 0.0, width_px - 1.0, height_px - 1.0]])
        return box, task.new_ones(1), best[None] % 5


def own_preset() -> ModelPreset:
    backbone = dataclasses.replace(TINY.backbone, low_channels=6, low_stride=4, feature_channels=24, stride=8)
    head = dataclasses.replace(TINY.head, rpn_channels=24, rfcn_channels=8, classes=("cat", "dog"), bins=2)
    transform = (ConvLayer(3, 12, stride=2), ConvLayer(1, 24))
    return dataclasses.replace(TINY, name="own", backbone=backbone, head=head, transform=transform)


@pytest.mark.parametrize("size", [(64, 96), (73, 91), (33, 32)])
def test_somebody_elses_backbone_and_head(size: tuple[int, int]) -> None:
    preset = own_preset().resized(*size)
    assert isinstance(OwnBackbone(), Backbone) and isinstance(OwnHead(), Head)
    for head in (OwnHead(), None):
        loop = VideoLoop(VideoNetwork(preset, OwnBackbone(), head).eval())
        for index, image in enumerate(video(preset, 3)):
            slots = loop.step(image, is_keyframe=index == 1)
            assert slots["task"].shape == (1, 24, -(-size[0] // 8), -(-size[1] // 8))
            assert slots["labels"].dtype == torch.int64
            assert len(slots["boxes"]) == len(slots["scores"]) == len(slots["labels"]) > 0


@pytest.mark.parametrize("name", ["own", "tiny", "resnet101", "efficientnet-lite0"])
def test_a_backbone_says_which_parameters_low_reads(name: str) -> None:
    """Against autograd, which knows what ``low`` reads and what ``rest`` reads besides."""
    presets = {preset.backbone.name: preset.backbone for preset in map(get_preset, preset_names())}
    backbone = OwnBackbone() if name == "own" else build_backbone(presets[name])
    low = backbone.low(torch.rand(1, 3, 64, 64))
    backbone.rest(low.detach()).sum().backward()
    rest = {id(p) for p in backbone.parameters() if p.grad is not None}
    backbone.zero_grad()
    low.sum().backward()
    read = {id(p) for p in backbone.parameters() if p.grad is not None}
    assert read == {id(p) for p in backbone.low_parameters()}
    new = {id(p) for p in backbone.new_parameters()}
    assert new and new <= rest and not read & rest
    assert len(read | rest) == len(list(backbone.parameters()))


def test_a_part_that_does_not_fit_is_refused() -> None:
    with pytest.raises(OptionError, match="backbone: low_channels: got 6, expected 16"):
        VideoNetwork(TINY, OwnBackbone())
    with pytest.raises(OptionError, match="Conv2d cannot serve as Backbone"):
        VideoNetwork(TINY, nn.Conv2d(3, 3, 1))
    with pytest.raises(OptionError, match="Conv2d cannot serve as Head"):
        VideoNetwork(TINY, None, nn.Conv2d(3, 3, 1))


@pytest.mark.parametrize("size", [(64, 96), (63, 97), (81, 65), (40, 49)])
def test_any_size(size: tuple[int, int]) -> None:
    for name in ("lsts-tiny", "lsts-lite"):
        preset = get_preset(name).resized(*size)
        network = build_network(preset).eval()
        image = video(preset, 1)[0]
        cells = (-(-size[0] // 16), -(-size[1] // 16))
        with torch.no_grad():
            assert network.heavy(image).shape[2:] == network.light(image).shape[2:] == cells


def test_normalize_follows_order_mean_and_std() -> None:
    image = torch.from_numpy(np.random.RandomState(0).randint(0, 256, (1, 4, 5, 3), np.uint8))
    bgr = Normalize(TINY.input)(image)
    expected = image.numpy().transpose(0, 3, 1, 2).astype(np.float64) - np.reshape(TINY.input.mean, (1, 3, 1, 1))
    np.testing.assert_allclose(bgr.numpy(), expected, rtol=0, atol=1e-4)
    rgb = Normalize(dataclasses.replace(TINY.input, color_order="rgb", mean=(1.0, 2.0, 3.0), std=(2.0, 4.0, 8.0)))(
        image
    )
    np.testing.assert_allclose(rgb[0, 2].numpy(), (image[0, :, :, 0].double().numpy() - 3) / 8, atol=1e-6)


def test_a_feature_that_is_no_number_detects_nothing_and_does_not_crash() -> None:
    network = random_network(TINY, 0)
    for value in (float("nan"), float("inf"), 3e38):
        boxes, scores, labels = network.detect(torch.full((1, 32, 4, 6), value))
        assert len(boxes) == len(scores) == len(labels)
        assert not scores.isnan().any()


def test_every_parameter_learns() -> None:
    """One step through old keyframe, new keyframe and current frame reaches every weight, offsets included."""
    network = random_network(TINY, 0).train()
    old, new, current = video(TINY, 3)
    memory, feature = network.heavy(old), network.heavy(new)
    task = network.aggregate_key(feature, network.align(memory, *network.embed_key(memory, feature)))
    high = network.light(current)
    aligned = network.align(task, network.embed_memory(task), network.embed_current(high))
    maps = network.head.maps(network.aggregate_current(high, aligned))
    rois = network.head.propose(maps, 64, 96)
    logits, deltas = network.head.classify(maps, rois)
    loss = logits.softmax(1)[:, 0].sum() + deltas.square().sum() + maps.rpn_logits.square().sum()
    (loss + maps.rpn_deltas.square().sum()).backward()
    # Equal biases of the last aggregation layer cancel in the softmax over two scores.
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert all("aggregation.stack" in name and name.endswith("bias") for name in silent), silent
