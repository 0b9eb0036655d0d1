"""Position-sensitive pooling against Caffe's rule written as loops, and at its edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lsts_edge.model.pooling import bin_edges, position_sensitive_pool

STRIDE, BINS = 16, 3


def by_loops(maps: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
    """One bin at a time, in the maps' own precision."""
    _, channels, height, width = maps.shape
    depth = channels // BINS**2
    result = torch.zeros(len(rois), depth, BINS, BINS, dtype=maps.dtype)
    for r, (image, *corners) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (math.floor(corner + 0.5) for corner in corners)
        start_x, start_y = x1 / STRIDE, y1 / STRIDE
        bin_w = max((x2 + 1) / STRIDE - start_x, 0.1) / BINS
        bin_h = max((y2 + 1) / STRIDE - start_y, 0.1) / BINS
        for i in range(BINS):
            for j in range(BINS):
                top = min(max(math.floor(i * bin_h + start_y), 0), height)
                bottom = min(max(math.ceil((i + 1) * bin_h + start_y), 0), height)
                left = min(max(math.floor(j * bin_w + start_x), 0), width)
                right = min(max(math.ceil((j + 1) * bin_w + start_x), 0), width)
                if top < bottom and left < right:
                    for d in range(depth):
                        channel = (d * BINS + i) * BINS + j
                        result[r, d, i, j] = maps[int(image), channel, top:bottom, left:right].mean()
    return result


def given(seed: int, *, mean: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(2, 2 * BINS**2, 6, 9, generator=generator, dtype=torch.float64) + mean
    corner = torch.rand(40, 2, generator=generator, dtype=torch.float64) * torch.tensor((150.0, 100.0))
    size = torch.rand(40, 2, generator=generator, dtype=torch.float64) * 80
    image = torch.randint(0, 2, (40, 1), generator=generator).double()
    boxes = torch.cat((corner, corner + size), dim=1)
    boxes[0] = torch.tensor((8.5, 7.5, 8.5, 7.5))  # one pixel, halves: rounding goes up
    boxes[1] = torch.tensor((0.0, 0.0, 143.0, 95.0))  # the whole image
    boxes[2] = torch.tensor((0.5, 1.5, 2.5, 3.5))
    return maps, torch.cat((image, boxes), dim=1)


def test_equals_the_loops() -> None:
    maps, rois = given(0)
    found = position_sensitive_pool(maps, rois, bins=BINS, stride=STRIDE)
    torch.testing.assert_close(found, by_loops(maps, rois), rtol=1e-12, atol=1e-12)


def test_halves_round_up_not_to_even() -> None:
    edges = bin_edges(torch.tensor([14.5, 15.5]), torch.tensor([30.5, 31.5]), 16, 1, 10)
    assert edges[:, 0].tolist() == [[0, 2], [1, 3]]  # to even, 14.5 would be 14 and 30.5 would be 30


@pytest.mark.parametrize("bins", [3, 7])
def test_limits_between_two_cells_are_exact(bins: int) -> None:
    """Every pair of whole corners of a 1024 pixel side against whole numbers: (5, 239) has a limit on a cell's edge."""
    low, high = np.triu_indices(1024)
    side = np.maximum(10 * (high - low + 1), STRIDE)[:, None]
    place = np.arange(bins) * side + 10 * bins * low[:, None]
    unit = 10 * bins * STRIDE
    expected = np.stack((place // unit, -(-(place + side) // unit)), -1).clip(0, 64)
    found = bin_edges(*(torch.from_numpy(corner.astype(np.float32)) for corner in (low, high)), STRIDE, bins, 64)
    assert np.array_equal(found.numpy(), expected)


def test_float32_stays_exact_far_from_zero() -> None:
    """Integral images in float32 lose a thousandth here."""
    maps, rois = given(1, mean=10.0)
    found = position_sensitive_pool(maps.float(), rois.float(), bins=BINS, stride=STRIDE)
    assert found.dtype == torch.float32
    assert (found.double() - by_loops(maps.float().double(), rois)).abs().max() < 2e-6


def test_an_empty_bin_is_zero_and_has_no_gradient() -> None:
    maps, _ = given(2)
    maps.requires_grad_()
    outside = torch.tensor([[0.0, 300.0, 200.0, 320.0, 240.0]], dtype=torch.float64)  # beyond the 144 x 96 image
    found = position_sensitive_pool(maps, outside, bins=BINS, stride=STRIDE)
    assert torch.equal(found, torch.zeros_like(found))
    found.sum().backward()
    assert torch.equal(maps.grad, torch.zeros_like(maps))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30])
def test_a_corner_that_is_no_place_never_becomes_an_index(value: float) -> None:
    maps, _ = given(3)
    rois = torch.tensor([[0.0, 10.0, 10.0, value, 60.0], [1.0, value, value, value, value]], dtype=torch.float64)
    assert position_sensitive_pool(maps, rois, bins=BINS, stride=STRIDE).isfinite().all()


def test_gradient() -> None:
    maps, rois = given(4)
    maps = maps[:, :, :4, :5].clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda given_maps: position_sensitive_pool(given_maps, rois[:6], bins=BINS, stride=STRIDE), (maps,)
    )


def test_no_rois() -> None:
    maps, rois = given(5)
    assert position_sensitive_pool(maps, rois[:0], bins=BINS, stride=STRIDE).shape == (0, 2, BINS, BINS)
