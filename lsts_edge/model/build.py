"""Networks from presets: untrained for training, or random and lively for export and latency tests."""

from __future__ import annotations

import math
import zlib

import torch
from torch import nn

from lsts_edge.model.layers import FrozenBatchNorm2d
from lsts_edge.model.lsts import LstsAlignment, initial_offsets
from lsts_edge.model.network import VideoNetwork
from lsts_edge.presets import ModelPreset

__all__ = ["bare_network", "build_network", "initial_state", "random_network"]

_PIXEL_STD = 60.0  # of natural images, on the 0..255 scale
_RESIDUAL_GAMMA = 0.2  # last batch norm of a residual block: depth must not blow the sum up
_QUIET = 0.05  # head of a network that is going to be trained


def build_network(preset: ModelPreset, *, seed: int = 0) -> VideoNetwork:
    """A network ready to be trained; its head starts near "nothing here"."""
    network = bare_network(preset)
    network.load_state_dict(initial_state(network, seed, head_gain=_QUIET), assign=True)
    return network


def random_network(preset: ModelPreset, seed: int) -> VideoNetwork:
    """A network with random weights whose features, scores and boxes are of the size trained ones have.

    The same preset and seed give the same weights on every machine.
    """
    network = bare_network(preset)
    network.load_state_dict(initial_state(network, seed, head_gain=1.0), assign=True)
    return network.eval()


def bare_network(preset: ModelPreset) -> VideoNetwork:
    """A network whose parameters have shapes and no storage: no time is spent on values that will be replaced.

    Give it a state with ``load_state_dict(state, assign=True)``.
    """
    with torch.device("meta"):
        return VideoNetwork(preset)


def initial_state(network: VideoNetwork, seed: int, *, head_gain: float = 1.0) -> dict[str, torch.Tensor]:
    """Values for every parameter from its name and the seed, so that adding a layer does not move the others.

    Convolutions keep the variance of what they read (He et al. 2015); the first one expects images normalised as
    the preset says.

    Args:
        network: of our parts; only its shapes are read.
        seed: any integer.
        head_gain: scale of the head's weights.
    """
    preset = network.preset
    state: dict[str, torch.Tensor] = {}
    with torch.device("cpu"):
        for name, module in network.named_modules():
            weight, bias = f"{name}.weight", f"{name}.bias"
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                std = _conv_std(name, module, preset, head_gain)
                state[weight] = torch.randn(module.weight.shape, generator=_generator(weight, seed)) * std
                if module.bias is not None:
                    gain = 0.1 * (head_gain if name.startswith("head.") or name.endswith(".offset") else 1.0)
                    state[bias] = torch.randn(module.bias.shape, generator=_generator(bias, seed)) * gain
            elif isinstance(module, FrozenBatchNorm2d):
                residual = name.endswith(("bn_c", "bn_project")) and _is_residual(name, network)
                spread = torch.rand(module.weight.shape, generator=_generator(weight, seed)) * 0.4 + 0.8
                state[weight] = spread * (_RESIDUAL_GAMMA if residual else 1.0)
                state[bias] = torch.randn(module.bias.shape, generator=_generator(bias, seed)) * 0.1
                state[f"{name}.running_mean"] = torch.zeros(module.weight.shape)
                state[f"{name}.running_var"] = torch.ones(module.weight.shape)
            elif isinstance(module, LstsAlignment) and preset.lsts is not None:
                state[f"{name}.offsets"] = initial_offsets(preset.lsts, seed)
    return state


def _conv_std(name: str, conv: nn.Conv2d | nn.ConvTranspose2d, preset: ModelPreset, head_gain: float) -> float:
    fan_in = conv.weight[0].numel()
    if isinstance(conv, nn.ConvTranspose2d):  # its weight has the inputs first, and strides share them out
        fan_in = conv.weight[:, 0].numel() // (conv.stride[0] * conv.stride[1])
    last = name.rsplit(".", 1)[-1]
    if name in ("backbone.conv1", "backbone.stem"):
        pixel_std = _PIXEL_STD / (sum(preset.input.std) / 3)
        return math.sqrt(2.0 / fan_in) / pixel_std
    if name.startswith(("srfu.embed", "dfa.embed")):
        # Dot products over E channels of size one, so that the softmax neither saturates nor averages.
        return 1.0 / math.sqrt(fan_in * math.sqrt(conv.out_channels))
    if name.endswith(".conv_b.offset"):  # of deformable convolutions: about a cell, near zero where training starts
        return head_gain / math.sqrt(fan_in)
    if "aggregation" in name:
        return 1.0 / math.sqrt(fan_in)
    if name.startswith("head."):
        gain = {"rpn_score": 1.5, "rpn_box": 0.7, "class_maps": 6.0, "box_maps": 3.0}.get(last, 1.0)
        return head_gain * gain / math.sqrt(fan_in)
    return math.sqrt(2.0 / fan_in)


def _is_residual(name: str, network: nn.Module) -> bool:
    block = network.get_submodule(name.rsplit(".", 1)[0])
    return bool(getattr(block, "shortcut", True))


def _generator(name: str, seed: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed((zlib.crc32(name.encode()) + 7919 * seed) % 2**31)
