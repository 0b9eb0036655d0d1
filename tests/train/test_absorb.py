"""Absorbing frozen batch norms changes neither what a network computes nor what a checkpoint of it needs."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lsts_edge.model import random_network
from lsts_edge.model.layers import SamePadConv2d
from lsts_edge.presets import get_preset
from lsts_edge.train.absorb import AbsorbedConv2d, absorb_batch_norms, release_batch_norms


def test_absorbing_and_releasing_keep_function_and_names():
    network = random_network(get_preset("lsts-lite").resized(64, 96), 0)
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    names = set(network.state_dict())
    with torch.no_grad():
        before = network.heavy(image)
        assert absorb_batch_norms(network.backbone) > 30
        folded = network.heavy(image)
        assert set(network.state_dict()) != names
        release_batch_norms(network.backbone)
        after = network.heavy(image)
    assert set(network.state_dict()) == names
    scale = before.abs().max()
    assert (folded - before).abs().max() < 1e-4 * scale
    assert (after - before).abs().max() < 1e-4 * scale


def test_other_backbones_are_left_alone():
    assert absorb_batch_norms(random_network(get_preset("lsts-tiny"), 0).backbone) == 0


def test_frozen_depthwise_gradient_is_autograds():
    generator = torch.Generator().manual_seed(0)
    for kernel, dilation in ((3, 1), (5, 1), (5, 2)):
        conv = AbsorbedConv2d(
            SamePadConv2d(6, 6, kernel, 1, 0, dilation, groups=6, bias=False), torch.randn(6, generator=generator), 1e-3
        )
        conv.weight.requires_grad_(False)
        x = torch.randn(2, 6, 9, 11, generator=generator, requires_grad=True)
        weight = torch.randn(2, 6, 9, 11, generator=generator)
        got_x, got_bias = torch.autograd.grad((conv(x) * weight).sum(), (x, conv.bias))
        pad = dilation * (kernel // 2)
        plain = F.conv2d(x, conv.weight, conv.bias, 1, pad, dilation, 6)
        wanted_x, wanted_bias = torch.autograd.grad((plain * weight).sum(), (x, conv.bias))
        torch.testing.assert_close(got_x, wanted_x, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(got_bias, wanted_bias)


def test_frozen_depthwise_gradient_in_mixed_precision():
    """Autocast hands the backward pass gradients of half the width; the weights stay float32."""
    generator = torch.Generator().manual_seed(0)
    conv = AbsorbedConv2d(
        SamePadConv2d(6, 6, 3, 1, 0, 1, groups=6, bias=False), torch.randn(6, generator=generator), 1e-3
    )
    conv.weight.requires_grad_(False)
    x = torch.randn(2, 6, 9, 11, generator=generator, requires_grad=True)
    weight = torch.randn(2, 6, 9, 11, generator=generator)
    wanted = torch.autograd.grad((conv(x) * weight).sum(), (x, conv.bias))
    with torch.autocast("cpu", torch.bfloat16):
        loss = (conv(x) * weight).sum()
    got = torch.autograd.grad(loss, (x, conv.bias))
    for found, expected in zip(got, wanted, strict=True):
        torch.testing.assert_close(found, expected, rtol=0.05, atol=0.1)
