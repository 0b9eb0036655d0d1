"""The alignment against its definition, its gradients, and its behaviour at the edges."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from lsts_edge.errors import ShapeError
from lsts_edge.model import build_network
from lsts_edge.model.lsts import LstsAlignment, differentiable_taps, initial_offsets, lsts_align
from lsts_edge.presets import LstsPreset, get_preset
from lsts_edge.taps import tap_plan


def sample(feature: torch.Tensor, x: float, y: float) -> torch.Tensor:
    """Bilinear value of ``(C, H, W)`` at a point; zero outside and where the point is no number."""
    _, height, width = feature.shape
    value = torch.zeros_like(feature[:, 0, 0])
    if not (-1 < x < width and -1 < y < height):
        return value
    left, top = math.floor(x), math.floor(y)
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < height and 0 <= column < width:
                value = value + (1 - abs(x - column)) * (1 - abs(y - row)) * feature[:, row, column]
    return value


def defined(f: torch.Tensor, g: torch.Tensor, memory: torch.Tensor, offsets: torch.Tensor, rule: str) -> torch.Tensor:
    """The paper's four steps, position by position, with nothing clever."""
    result = torch.zeros_like(memory)
    for n in range(memory.shape[0]):
        for y in range(memory.shape[2]):
            for x in range(memory.shape[3]):
                places = [(x + dx, y + dy) for dx, dy in offsets.tolist()]
                s = torch.stack([g[n, :, y, x] @ sample(f[n], *place) for place in places])
                weights = s.softmax(0) if rule == "softmax" else s / s.sum()
                features = torch.stack([sample(memory[n], *place) for place in places])
                result[n, :, y, x] = weights @ features
    return result


def maps(seed: int, *, batch: int = 2, embedded: int = 5, channels: int = 3, size: tuple[int, int] = (5, 7)):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((batch, embedded, *size), (batch, embedded, *size), (batch, channels, *size))
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


@pytest.mark.parametrize("rule", ["softmax", "linear"])
@pytest.mark.parametrize("size", [(5, 7), (1, 13), (13, 1), (1, 1)])
def test_equals_the_definition(rule: str, size: tuple[int, int]) -> None:
    f, g, memory = maps(0, size=size)
    if rule == "linear":
        f, g = f.abs() + 0.1, g.abs() + 0.1
    offsets = torch.randn(9, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2
    offsets[0] = 0  # one sample is always inside
    found, _ = lsts_align(f, g, memory, offsets, rule)
    torch.testing.assert_close(found, defined(f, g, memory, offsets, rule), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e10, 3e38, -1e10, 8.0, -7.0])
def test_a_sample_that_is_nowhere_is_zero_and_stays_in_the_softmax(value: float) -> None:
    f, g, memory = maps(2)
    offsets = torch.tensor([[0.25, -0.5], [value, 0.0], [0.0, value], [value, value]], dtype=torch.float64)
    found, weights = lsts_align(f, g, memory, offsets)
    torch.testing.assert_close(found, defined(f, g, memory, offsets, "softmax"), rtol=1e-10, atol=1e-10)
    assert weights.shape[1] == 4
    torch.testing.assert_close(weights[:, 2 if abs(value) >= 7 else 1], weights[:, 3])


def test_every_sample_nowhere() -> None:
    f, g, memory = maps(3)
    offsets = torch.full((4, 2), math.nan, dtype=torch.float64)
    found, weights = lsts_align(f, g, memory, offsets)
    assert torch.equal(found, torch.zeros_like(memory)) and torch.allclose(weights, torch.full_like(weights, 0.25))
    assert lsts_align(f, g, memory, offsets, "linear")[0].isnan().all()


def test_gradients_of_all_inputs_and_of_the_offsets() -> None:
    f, g, memory = (tensor.requires_grad_() for tensor in maps(4, batch=1, embedded=3, channels=2, size=(3, 4)))
    # At least 0.2 cells from an integer: a finite difference does not cross the kink.
    offsets = torch.tensor([[0.3, -0.6], [1.4, 0.5], [-2.7, 1.3], [4.5, 0.4]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *given: lsts_align(*given)[0], (f, g, memory, offsets))
    positive = [tensor.detach().abs().add(0.1).requires_grad_() for tensor in (f, g, memory)]
    inside = offsets[:3].detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda *given: lsts_align(*given, "linear")[0], (*positive, inside))


def test_at_an_integer_the_derivative_is_the_right_one() -> None:
    f, g, memory = maps(5, batch=1)
    offsets = torch.tensor([[1.0, -1.0], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    (analytic,) = torch.autograd.grad(lsts_align(f, g, memory, offsets)[0].square().sum(), offsets)
    for k, axis in ((0, 0), (0, 1), (1, 0), (1, 1)):
        moved = offsets.detach().clone()
        moved[k, axis] += 1e-7
        still = lsts_align(f, g, memory, offsets.detach())[0].square().sum()
        slope = (lsts_align(f, g, memory, moved)[0].square().sum() - still) / 1e-7
        assert analytic[k, axis].item() == pytest.approx(slope.item(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0])
def test_the_same_taps_as_the_deployed_plan(sigma: float) -> None:
    offsets = torch.randn(40, 2, generator=torch.Generator().manual_seed(7)) * sigma
    taps, blend = differentiable_taps(offsets, 63, 63)
    plan = tap_plan(offsets.numpy())
    order = sorted(range(len(taps)), key=lambda u: taps[u][::-1])
    assert [taps[u] for u in order] == [tuple(tap) for tap in plan.taps.tolist()]
    np.testing.assert_allclose(blend[:, order].numpy(), plan.blend, rtol=0, atol=1e-6)


def test_integer_offsets_need_one_tap_each() -> None:
    uniform = initial_offsets(LstsPreset(locations=81, init="uniform"))
    assert len(differentiable_taps(uniform, 38, 63)[0]) == 81
    assert uniform.min() == -4 and uniform.max() == 4


def test_no_buffer_of_locations_times_channels() -> None:
    """Peak memory stays near the inputs: K x C x H x W would be 40 maps more."""
    f, g = torch.randn(2, 1, 16, 32, 32)
    memory = torch.randn(1, 256, 32, 32)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, tuple) else (out,):
                if isinstance(tensor, torch.Tensor):
                    largest = max(largest, tensor.numel())
            return out

    with Watch():
        lsts_align(f[None, 0], g[None, 0], memory, initial_offsets(LstsPreset()))
    assert memory.numel() <= largest < 2 * memory.numel()


def test_an_empty_batch_passes() -> None:
    f, g, memory = maps(6, batch=0)
    assert lsts_align(f, g, memory, torch.zeros(3, 2, dtype=torch.float64))[0].shape == memory.shape


def test_wrong_shapes_are_named() -> None:
    f, g, memory = maps(8)
    with pytest.raises(ShapeError, match=r"offsets: got \(2, 3\)"):
        lsts_align(f, g, memory, torch.zeros(2, 3))
    with pytest.raises(ShapeError, match="LSTS maps"):
        lsts_align(f, g[:, :-1], memory, torch.zeros(2, 2))
    with pytest.raises(ShapeError, match="LSTS maps"):
        lsts_align(f, g, memory[:, :, :, :-1], torch.zeros(2, 2))


def test_offsets_are_learned_only_when_asked() -> None:
    assert LstsAlignment(LstsPreset()).offsets.requires_grad
    assert not LstsAlignment(LstsPreset(learn_offsets=False)).offsets.requires_grad
    preset = get_preset("lsts-tiny")
    fixed = dataclasses.replace(preset, lsts=dataclasses.replace(preset.lsts, learn_offsets=False))
    assert not build_network(fixed).lsts.offsets.requires_grad
    assert build_network(preset).lsts.offsets.requires_grad
