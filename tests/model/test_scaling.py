"""A light path at half resolution: its scaling against plain loops in float64, its grid, its parameters."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from lsts_edge.errors import OptionError
from lsts_edge.model import VideoNetwork, parameters, random_network
from lsts_edge.model.checkpoint import rebuilt
from lsts_edge.model.counts import multiply_adds, total_parameters
from lsts_edge.model.scaling import doubled, halved
from lsts_edge.model.tiny import TinyBackbone
from lsts_edge.presets import ConvLayer, get_preset, preset_from_dict

TINY = get_preset("lsts-tiny")
HALF = dataclasses.replace(TINY, light_scale=0.5)


def _between(feature: np.ndarray, y: int, x: int) -> np.ndarray:
    """Mean of the four cells around place (y / 2, x / 2), which may be the same ones."""
    rows, columns = feature.shape[-2:]
    ends = [(min(v // 2, n - 1), min((v + 1) // 2, n - 1)) for v, n in ((y, rows), (x, columns))]
    return np.mean([feature[..., a, b] for a in ends[0] for b in ends[1]], axis=0)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (5, 13), (13, 8)])
def test_halving_is_the_mean_of_four_pixels(size: tuple[int, int]) -> None:
    image = np.random.RandomState(0).standard_normal((2, 3, *size))
    edge = np.pad(image, ((0, 0), (0, 0), (0, size[0] % 2), (0, size[1] % 2)), mode="edge")
    wanted = (edge[..., ::2, ::2] + edge[..., 1::2, ::2] + edge[..., ::2, 1::2] + edge[..., 1::2, 1::2]) / 4
    got = halved(torch.from_numpy(image.astype(np.float32)))
    np.testing.assert_allclose(got.numpy(), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "wanted"), [((1, 1), (1, 2)), ((2, 5), (4, 9)), ((19, 32), (38, 63)), ((3, 4), (5, 8))]
)
def test_doubling_interpolates(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    feature = np.random.RandomState(1).standard_normal((2, 7, *size))
    got = doubled(torch.from_numpy(feature.astype(np.float32)), *wanted).numpy()
    assert got.shape == (2, 7, *wanted)
    for y in range(wanted[0]):
        for x in range(wanted[1]):
            np.testing.assert_allclose(got[..., y, x], _between(feature, y, x), atol=1e-6)


@pytest.mark.parametrize("name", ["lsts-tiny", "lsts-lite", "lsts-r101"])
def test_parameters_stay_and_work_falls(name: str) -> None:
    full, half = (dataclasses.replace(get_preset(name), light_scale=scale) for scale in (1.0, 0.5))
    assert total_parameters(half) == total_parameters(full)
    assert parameters(half) == parameters(full)
    before, after = multiply_adds(full), multiply_adds(half)
    assert {graph for graph in before if before[graph] != after[graph]} == {"light"}
    assert after["light"] < 0.5 * before["light"]
    if name == "lsts-r101":  # everything is on the half-size grid: a quarter, and a little for the odd edge
        assert after["light"] == pytest.approx(0.25 * before["light"], rel=0.02)


class _Coarse(TinyBackbone):
    """A low part that is at the feature's stride already, as ResNet-101's is."""

    low_stride = 16

    def low(self, image: torch.Tensor) -> torch.Tensor:
        return super().low(image)[:, :, ::2, ::2]

    def rest(self, low: torch.Tensor) -> torch.Tensor:
        return low.repeat(1, 2, 1, 1).relu()


@pytest.mark.parametrize("size", [(64, 96), (61, 93), (33, 130), (80, 49)])
@pytest.mark.parametrize("strided", [True, False])
def test_the_result_is_on_the_features_grid(size: tuple[int, int], strided: bool) -> None:
    """A stride of Transform is dropped; without one its result is doubled."""
    preset, backbone = HALF, None
    if not strided:
        coarse = dataclasses.replace(TINY.backbone, low_stride=16)
        layers = (ConvLayer(1, 16), ConvLayer(3, 16), ConvLayer(3, 32))
        preset, backbone = dataclasses.replace(HALF, backbone=coarse, transform=layers), _Coarse()
    network = VideoNetwork(preset.resized(*size), backbone).eval()
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        high, feature = network.light(image), network.heavy(image)
        small = network.transform(network.low(halved(image)))
    assert high.shape == feature.shape
    assert torch.equal(high, small if strided else doubled(small, *feature.shape[2:]))
    assert (
        all(-(-wanted // 2) == found for wanted, found in zip(feature.shape[2:], small.shape[2:], strict=True))
        is not strided
    )


def test_the_same_weights_at_both_scales() -> None:
    full = random_network(TINY, 0)
    half = rebuilt(full, HALF, "random")
    assert half.preset.light_scale == 0.5 and not half.training
    for (name, one), other in zip(full.state_dict().items(), half.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(full.heavy(image), half.heavy(image))
        assert not torch.equal(full.light(image), half.light(image))


def test_what_a_preset_may_say() -> None:
    assert preset_from_dict(HALF.to_dict()) == HALF
    with pytest.raises(OptionError, match="light_scale"):
        dataclasses.replace(TINY, light_scale=0.25)
    with pytest.raises(OptionError, match="light_scale"):
        dataclasses.replace(get_preset("rfcn-r101"), light_scale=0.5)
