"""Folds frozen batch norms into the convolutions before them, so that deployed graphs hold convolutions only."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from lsts_edge.errors import ExportError
from lsts_edge.model.layers import FrozenBatchNorm2d
from lsts_edge.model.network import VideoNetwork

__all__ = ["fold_batch_norms"]

_NORMS = (FrozenBatchNorm2d, nn.BatchNorm2d)


def fold_batch_norms(network: VideoNetwork) -> VideoNetwork:
    """A copy of the network without batch norms that computes the same, up to float32 rounding.

    ``gamma (conv(x) - mean) / sqrt(var + eps) + beta`` is a convolution again; its weights are worked out in float64.
    Which convolution feeds which norm is seen in a run on the ``meta`` device, so any backbone will do.

    Raises:
        ExportError: if a norm follows no convolution, or a convolution feeds two norms.
    """
    pairs = _pairs(network)
    folded = copy.deepcopy(network).eval()
    norms = [name for name, module in folded.named_modules() if isinstance(module, _NORMS)]
    loose = [name for name in norms if name not in pairs]
    if loose or len(set(pairs.values())) != len(pairs):
        raise ExportError(
            "batch norms that cannot be folded",
            got=", ".join(loose[:5]) or "a convolution with two norms",
            expected="each norm right after a convolution of its own",
            fix="Put the norm behind a convolution, or replace it by a 1x1 convolution.",
        )
    with torch.no_grad():
        for norm_name, conv_name in pairs.items():
            _fold(folded.get_submodule(conv_name), folded.get_submodule(norm_name))
            folded.set_submodule(norm_name, nn.Identity())
    return folded


def _pairs(network: VideoNetwork) -> dict[str, str]:
    """Name of each batch norm -> name of the convolution whose output it reads."""
    ghost = copy.deepcopy(network).to("meta").eval()
    made: dict[int, str] = {}
    alive: list[torch.Tensor] = []  # an id is a tensor's only as long as the tensor lives
    pairs: dict[str, str] = {}

    def saw_conv(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]:
        def hook(_: nn.Module, __: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            made[id(output)] = name
            alive.append(output)

        return hook

    def saw_norm(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            if id(inputs[0]) in made:
                pairs[name] = made[id(inputs[0])]

        return hook

    for name, module in ghost.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(saw_conv(name))
        elif isinstance(module, _NORMS):
            module.register_forward_pre_hook(saw_norm(name))
    size = ghost.preset.input
    with torch.no_grad():
        ghost.heavy(torch.empty(1, 3, size.height_px, size.width_px, device="meta"))
    return pairs


def _fold(conv: nn.Module, norm: nn.Module) -> None:
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, _NORMS)
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None and var is not None
    scale = norm.weight.double() / torch.sqrt(var.double() + norm.eps)
    bias = torch.zeros_like(scale) if conv.bias is None else conv.bias.double()
    conv.weight.copy_((conv.weight.double() * scale[:, None, None, None]).float())
    conv.bias = nn.Parameter(((bias - mean.double()) * scale + norm.bias.double()).float())
