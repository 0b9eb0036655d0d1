"""Which parameter of ours is which of the released MXNet network's, and how its files are checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from lsts_edge.errors import CheckpointError
from lsts_edge.model.aggregation import Aggregation
from lsts_edge.model.deformable import DeformableConv2d
from lsts_edge.model.network import VideoNetwork
from lsts_edge.model.resnet import Bottleneck, ResNet101

__all__ = ["TEST_COPIES", "backbone_state", "mxnet_names", "to_state"]

TEST_COPIES = ("arg:rfcn_bbox_weight_test", "arg:rfcn_bbox_bias_test")
"""The box layer times its standard deviations, which the released code adds for inference."""

_NORM = {
    "weight": "arg:{}_gamma",
    "bias": "arg:{}_beta",
    "running_mean": "aux:{}_moving_mean",
    "running_var": "aux:{}_moving_var",
}
_BRANCHES = {"shortcut": "branch1", "a": "branch2a", "b": "branch2b", "c": "branch2c"}
_HEAD = {"rpn_score": "rpn_cls_score", "rpn_box": "rpn_bbox_pred", "class_maps": "rfcn_cls", "box_maps": "rfcn_bbox"}
_CLASSIFIER = "arg:fc"  # ImageNet files also hold the classifier
_TEST_TOLERANCE = 1e-5


def mxnet_names(network: VideoNetwork) -> dict[str, str]:
    """Our name to MXNet's, for every tensor of a ResNet-101 network of ours.

    Raises:
        CheckpointError: if the network has another backbone, or parts that the released code has not.
    """
    names = dict(_backbone_names(network)) | dict(_other_names(network))
    unnamed = sorted({name.partition(".")[0] for name in network.state_dict() if name not in names})
    if unnamed:
        raise CheckpointError(
            "MXNet file for this variant",
            got=f"{', '.join(unnamed)}, which the released code has not",
            expected="a network of the released code",
            fix="Leave alignment=flow-warp-net and the paper's form out.",
        )
    return names


def to_state(arrays: Mapping[str, np.ndarray], network: VideoNetwork) -> tuple[dict[str, torch.Tensor], list[str]]:
    """A file's arrays under our names; what is missing or left over is for the caller to report.

    ``rfcn_bbox_*_test`` holds the box layer times its standard deviations, for inference; the plain ones are taken,
    and these only checked.

    Returns:
        Tensors by our names (unknown ones keep the file's name), and sentences about what disagrees.
    """
    names = mxnet_names(network)
    left = dict(arrays)
    problems = _check_test_copies(left, network.preset.head.box_std)
    if "arg:rpn_cls_score_weight" not in left and any(name.startswith("arg:res5c") for name in left):
        problems.append("the file holds a backbone alone: start a training from it, it detects nothing")
    state = {ours: _tensor(left.pop(theirs)) for ours, theirs in names.items() if theirs in left}
    return state | {name: _tensor(array) for name, array in left.items()}, problems


def backbone_state(arrays: Mapping[str, np.ndarray], network: VideoNetwork) -> dict[str, torch.Tensor]:
    """The part of an ImageNet ResNet-101 file that our backbone has, by names relative to the backbone.

    The classifier is left out; anything else unknown keeps its name, so that it is reported.
    """
    left = {name: array for name, array in arrays.items() if not name.startswith(_CLASSIFIER)}
    state = {}
    for ours, theirs in _backbone_names(network):
        if theirs in left:
            state[ours.removeprefix("backbone.")] = _tensor(left.pop(theirs))
    return state | {name: _tensor(array) for name, array in left.items()}


def _backbone_names(network: VideoNetwork) -> Iterator[tuple[str, str]]:
    backbone = network.backbone
    if not isinstance(backbone, ResNet101):
        raise CheckpointError(
            "MXNet file for this preset",
            got=network.preset.backbone.name,
            expected="resnet101",
            fix="Choose lsts-r101, lsts-r101-uniform or rfcn-r101.",
        )
    yield "backbone.conv1.weight", "arg:conv1_weight"
    for ours, theirs in _NORM.items():
        yield f"backbone.bn1.{ours}", theirs.format("bn_conv1")
    for stage, blocks in enumerate((backbone.conv2, backbone.conv3, backbone.conv4, backbone.conv5), start=2):
        for index, block in enumerate(blocks):
            # Short stages count their units a, b, c; long ones a, b1, b2, ...
            unit = f"{stage}{'abc'[index] if len(blocks) == 3 else f'b{index}' if index else 'a'}"
            for letter, branch in _BRANCHES.items():
                if isinstance(block, Bottleneck) and getattr(block, f"conv_{letter}") is not None:
                    prefix = f"backbone.conv{stage}.{index}"
                    yield f"{prefix}.conv_{letter}.weight", f"arg:res{unit}_{branch}_weight"
                    if isinstance(getattr(block, f"conv_{letter}"), DeformableConv2d):
                        for kind in ("weight", "bias"):
                            yield f"{prefix}.conv_{letter}.offset.{kind}", f"arg:res{unit}_{branch}_offset_{kind}"
                    for ours, theirs in _NORM.items():
                        yield f"{prefix}.bn_{letter}.{ours}", theirs.format(f"bn{unit}_{branch}")


def _other_names(network: VideoNetwork) -> Iterator[tuple[str, str]]:
    convolutions = {"backbone.feature": "feat_conv_3x3"} | {f"head.{ours}": theirs for ours, theirs in _HEAD.items()}
    if network.lsts is not None:
        yield "lsts.offsets", "arg:init_offset"
    for index in range(len(network.preset.transform)):
        convolutions[f"transform.layers.{index}"] = f"low2high_conv{index + 1}"
    for part, suffix in (("srfu", "key2key"), ("dfa", "key2cur")):
        propagation = getattr(network, part)
        if propagation is not None and propagation.embed_old is not None:
            convolutions[f"{part}.embed_old"] = f"embedding_conv_feat_oldkey_{suffix}"
            convolutions[f"{part}.embed_new"] = f"embedding_conv_feat_newkey_{suffix}"
        if propagation is not None and isinstance(propagation.aggregation, Aggregation):
            for index in range(3):
                convolutions[f"{part}.aggregation.stack.layers.{index}"] = f"quality_conv{index + 1}_{suffix}"
    for ours, theirs in convolutions.items():
        yield f"{ours}.weight", f"arg:{theirs}_weight"
        yield f"{ours}.bias", f"arg:{theirs}_bias"


def _check_test_copies(arrays: dict[str, np.ndarray], box_std: tuple[float, ...]) -> list[str]:
    problems = []
    for copy in TEST_COPIES:
        scaled = arrays.pop(copy, None)
        name = copy.removesuffix("_test")
        plain = arrays.get(name)
        if scaled is None or plain is None or plain.ndim == 0:  # the last is told as mis-shaped
            continue
        cells = plain.shape[0] // (2 * len(box_std))
        std = np.repeat(np.tile(box_std, 2), cells).reshape(-1, *(1,) * (plain.ndim - 1))
        expected = plain * std if len(std) == plain.shape[0] else plain
        if scaled.shape != plain.shape or not np.allclose(scaled, expected, rtol=_TEST_TOLERANCE, atol=1e-7):
            problems.append(f"{copy[4:]} is not {name[4:]} times {box_std}")
    return problems


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array))  # a copy: the file's bytes cannot be written to
