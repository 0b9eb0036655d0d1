"""MXNet parameter files: a genuine one, damaged ones, and the released names."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from mxnet_files import released_arrays, write_params

from lsts_edge.errors import CheckpointError
from lsts_edge.model import VideoNetwork, build_network, load_checkpoint
from lsts_edge.model.build import bare_network
from lsts_edge.model.imagenet import load_imagenet_backbone
from lsts_edge.model.mxnet_names import mxnet_names, to_state
from lsts_edge.model.mxnet_params import read_params
from lsts_edge.presets import get_preset
from lsts_edge.variants import varied

DATA = Path(__file__).resolve().parent.parent / "data"
GENUINE = DATA / "mxnet_small.params"
SIZE = (160, 192)


def test_a_genuine_file() -> None:
    found = read_params(GENUINE)
    with np.load(DATA / "mxnet_small_expected.npz", allow_pickle=False) as expected:
        assert set(found) == set(expected.files)
        for name in expected.files:
            assert found[name].dtype == expected[name].dtype
            np.testing.assert_array_equal(found[name], expected[name])


def test_the_oldest_layout(tmp_path: Path) -> None:
    """Before magic numbers: rank and 32-bit sides, then device and type."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    body = struct.pack("<III", 2, 2, 3) + struct.pack("<iii", 1, 0, 0) + array.tobytes()
    name = b"arg:w"
    path = tmp_path / "old.params"
    path.write_bytes(struct.pack("<QQQ", 0x112, 0, 1) + body + struct.pack("<QQ", 1, len(name)) + name)
    np.testing.assert_array_equal(read_params(path)["arg:w"], array)


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    whole = GENUINE.read_bytes()
    path = tmp_path / "cut.params"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="MXNet file cut"):
            read_params(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(CheckpointError, match="1 bytes more"):
        read_params(path)


def test_a_changed_byte_gives_an_error_or_arrays_never_a_crash(tmp_path: Path) -> None:
    """Large counts in a small file must not be believed: no giant allocation, no other exception."""
    whole = bytearray(GENUINE.read_bytes())
    path = tmp_path / "flipped.params"
    refused = 0
    for position in range(len(whole)):
        for mask in (0x80, 0x7F):
            damaged = bytearray(whole)
            damaged[position] ^= mask
            path.write_bytes(damaged)
            try:
                arrays = read_params(path)
            except CheckpointError:
                refused += 1
            else:
                assert sum(array.nbytes for array in arrays.values()) <= len(whole)
    assert refused > 200


@pytest.mark.parametrize("count", [2**62, 2**64 - 1, 10**6])
def test_huge_counts(tmp_path: Path, count: int) -> None:
    path = tmp_path / "huge.params"
    path.write_bytes(struct.pack("<QQQ", 0x112, 0, count) + bytes(64))
    with pytest.raises(CheckpointError, match="number of arrays"):
        read_params(path)
    for side, what in ((2**40, "shape"), (-1, "shape"), (2**30, "array of shape")):
        array = struct.pack("<IiI3q", 0xF993FAC9, 0, 3, side, side, side) + struct.pack("<iii", 1, 0, 0)
        path.write_bytes(struct.pack("<QQQ", 0x112, 0, 1) + array)
        with pytest.raises(CheckpointError, match=what):
            read_params(path)


@pytest.fixture(scope="module")
def network() -> VideoNetwork:
    return build_network(get_preset("lsts-r101").resized(*SIZE))


@pytest.fixture(scope="module")
def arrays(network: VideoNetwork) -> dict[str, np.ndarray]:
    """A trained file as the released code writes it: the test copies of the box layer included."""
    return released_arrays(network)


def test_every_parameter_of_ours_has_a_name(network: VideoNetwork) -> None:
    names = mxnet_names(network)
    assert set(names) == set(network.state_dict())
    assert len(set(names.values())) == len(names) == 349 + 208
    assert sum(name.startswith("aux:") for name in names.values()) == 208
    expected = {
        "backbone.conv4.3.conv_c.weight": "arg:res4b3_branch2c_weight",
        "backbone.conv2.1.bn_b.running_var": "aux:bn2b_branch2b_moving_var",
        "backbone.conv5.0.bn_shortcut.bias": "arg:bn5a_branch1_beta",
        "dfa.embed_old.weight": "arg:embedding_conv_feat_oldkey_key2cur_weight",
        "srfu.aggregation.stack.layers.2.bias": "arg:quality_conv3_key2key_bias",
        "transform.layers.1.weight": "arg:low2high_conv2_weight",
        "lsts.offsets": "arg:init_offset",
    }
    assert expected.items() <= names.items()


def test_deformable_convolutions_have_the_released_names() -> None:
    names = mxnet_names(bare_network(varied(get_preset("lsts-r101"), {"deformable": True})))
    offsets = {ours: theirs for ours, theirs in names.items() if "_offset_" in theirs}
    assert len(names) == 349 + 208 + 6 and set(offsets.values()) == {
        f"arg:res5{unit}_branch2b_offset_{kind}" for unit in "abc" for kind in ("weight", "bias")
    }
    assert offsets["backbone.conv5.1.conv_b.offset.bias"] == "arg:res5b_branch2b_offset_bias"
    assert names["backbone.conv5.1.conv_b.weight"] == "arg:res5b_branch2b_weight"


def test_parts_that_the_released_code_has_not() -> None:
    with pytest.raises(CheckpointError, match="rival, which the released code has not"):
        mxnet_names(bare_network(varied(get_preset("lsts-r101"), {"alignment": "flow-warp-net"})))


def test_a_box_layer_that_is_one_number(arrays: dict[str, np.ndarray], network: VideoNetwork) -> None:
    wrong = arrays | {"arg:rfcn_bbox_bias": np.float32(1).reshape(())}
    state, problems = to_state(wrong, network)
    assert problems == [] and state["head.box_maps.bias"].shape == ()


def test_a_trained_file_through_the_front_door(
    network: VideoNetwork, arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "lsts-0004.params"
    write_params(path, arrays)
    loaded, info = load_checkpoint(path, network.preset)
    assert info.preset.name == "lsts-r101"
    for (name, ours), theirs in zip(network.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name


def test_a_box_layer_that_disagrees_with_its_test_copy(network: VideoNetwork, arrays: dict[str, np.ndarray]) -> None:
    wrong = dict(arrays)
    wrong["arg:rfcn_bbox_bias_test"] = arrays["arg:rfcn_bbox_bias"]
    _, problems = to_state(wrong, network)
    assert problems == ["rfcn_bbox_bias_test is not rfcn_bbox_bias times (0.1, 0.1, 0.2, 0.2)"]
    assert to_state(arrays, network)[1] == []


def test_an_imagenet_file_starts_a_training_but_is_no_detector(
    network: VideoNetwork, arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    backbone = {
        name: array
        for name, array in arrays.items()
        if any(part in name for part in ("conv1", "bn2", "bn3", "bn4", "bn5", "res2", "res3", "res4", "res5"))
        and not any(part in name for part in ("low2high", "quality"))
    }
    backbone |= {"arg:fc1000_weight": np.zeros((1000, 4), np.float32), "arg:fc1000_bias": np.zeros(1000, np.float32)}
    path = tmp_path / "resnet-101-0000.params"
    write_params(path, backbone)
    with pytest.raises(CheckpointError, match="backbone alone"):
        load_checkpoint(path, network.preset)
    fresh = build_network(network.preset, seed=9)
    head = fresh.head.class_maps.weight.clone()
    load_imagenet_backbone(fresh, path)
    assert torch.equal(fresh.backbone.conv5[2].conv_c.weight, network.backbone.conv5[2].conv_c.weight)
    assert torch.equal(fresh.head.class_maps.weight, head)
    assert not torch.equal(fresh.backbone.feature.weight, network.backbone.feature.weight)
    deformable = build_network(varied(network.preset, {"deformable": True}))
    load_imagenet_backbone(deformable, path)  # its offsets are new
    assert torch.equal(deformable.backbone.conv5[2].conv_b.weight, network.backbone.conv5[2].conv_b.weight)


def test_other_backbones_have_no_released_names() -> None:
    with pytest.raises(CheckpointError, match="expected resnet101"):
        mxnet_names(build_network(get_preset("lsts-tiny")))
    with pytest.raises(CheckpointError, match="lsts-r101"):
        load_checkpoint(GENUINE, "lsts-tiny")


def test_extra_and_missing_names_are_told(network: VideoNetwork) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(GENUINE, network.preset)
    text = str(caught.value)
    assert "missing" in text and "arg:conv_weight" in text and "backbone.conv1.weight" in text
