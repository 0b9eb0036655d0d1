"""The network against outputs of the authors' released one, for parameters and images made from names and a seed."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from lsts_edge.model import VideoLoop, VideoNetwork
from lsts_edge.model.build import bare_network
from lsts_edge.model.checkpoint import load_state
from lsts_edge.model.lsts import lsts_align
from lsts_edge.model.mxnet_names import mxnet_names, to_state
from lsts_edge.presets import get_preset

VECTORS = Path(__file__).resolve().parent.parent / "data" / "reference_seed0_small.npz"
SEED, HEIGHT_PX, WIDTH_PX = 0, 160, 192
CHANNEL_STEP = 16  # the committed file keeps every 16th channel of wide tensors
TOLERANCE = 1e-4
GRAPHS = ("first", "key", "cur")


def reference_array(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value every side gives to the parameter of that MXNet name."""
    random = np.random.RandomState((zlib.crc32(name.encode()) + SEED) % 2**31)
    ending = name.rpartition("_")[2]
    if ending == "gamma":
        values = random.uniform(0.1, 0.3, shape) if "branch2c" in name else random.uniform(0.8, 1.2, shape)
    elif ending == "var":
        values = random.uniform(0.8, 1.2, shape)
    elif ending in ("beta", "mean", "bias"):
        values = random.normal(0, 0.1, shape)
    elif ending == "offset":
        values = random.normal(0, 1, shape)
    else:
        std = np.sqrt(2.0 / int(np.prod(shape[1:])))
        if name == "conv1_weight":
            std /= 60.0
        if name.startswith("embedding_"):
            std *= 0.08
        if name.startswith(("rpn_", "rfcn_", "quality_")):
            std *= 0.25
        values = random.normal(0, std, shape)
    return values.astype(np.float32)


def reference_image(index: int) -> torch.Tensor:
    """Network input of that number: coarse blocks and noise, mean already subtracted."""
    random = np.random.RandomState(1000 * SEED + index)
    coarse = random.uniform(-128, 128, (1, 3, HEIGHT_PX // 8, WIDTH_PX // 8)).astype(np.float32)
    noise = random.normal(0, 10, (1, 3, HEIGHT_PX, WIDTH_PX)).astype(np.float32)
    return torch.from_numpy(np.kron(coarse, np.ones((8, 8), np.float32)) + noise)


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(VECTORS, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def network() -> VideoNetwork:
    network = bare_network(get_preset("lsts-r101").resized(HEIGHT_PX, WIDTH_PX)).eval()
    shapes = {theirs: network.state_dict()[ours].shape for ours, theirs in mxnet_names(network).items()}
    arrays = {name: reference_array(name.partition(":")[2], tuple(shape)) for name, shape in shapes.items()}
    state, problems = to_state(arrays, network)
    load_state(network, state, source="reference", problems=problems)
    return network


@pytest.fixture(scope="module")
def computed(network: VideoNetwork, expected: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Every tensor of the reference file, by our video loop over the reference's three frames."""
    found: dict[str, torch.Tensor] = {}

    def head(graph: str, task: torch.Tensor) -> None:
        maps = network.head.maps(task)
        object_score = network.head.anchor_scores(maps).view(1, HEIGHT_PX // 16, WIDTH_PX // 16, 9)
        object_score = object_score.permute(0, 3, 1, 2)
        logits, deltas = network.head.classify(maps, torch.from_numpy(expected[f"{graph}.rois"]))
        found.update(
            {
                f"{graph}.rpn_cls_prob_reshape": torch.cat((1 - object_score, object_score), dim=1),
                f"{graph}.rpn_bbox_pred": maps.rpn_deltas,
                f"{graph}.rois": network.head.propose(maps, HEIGHT_PX, WIDTH_PX, fill=True),
                f"{graph}.rfcn_cls": maps.class_maps,
                f"{graph}.rfcn_bbox": maps.box_maps,
                f"{graph}.cls_prob_reshape": logits.softmax(dim=1)[None],
                f"{graph}.bbox_pred_reshape": deltas[None],
            }
        )

    lows: list[torch.Tensor] = []
    low_of = network.backbone.low

    def noted(image: torch.Tensor) -> torch.Tensor:
        lows.append(low_of(image))
        return lows[-1]

    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(network.backbone, "low", noted, raising=False)
        loop = VideoLoop(network)
        first, key, cur = (loop.step(reference_image(index), is_keyframe=index == 1) for index in range(3))
        embeddings = key["memory_embedding"], key["feature_embedding"]
        key_weights = lsts_align(*embeddings, first["memory"], network.lsts.offsets)[1]
        embeddings = key["task_embedding"], cur["high_embedding"]
        cur_weights = lsts_align(*embeddings, key["task"], network.lsts.offsets)[1]
        for graph, slots in zip(GRAPHS, (first, key, cur), strict=True):
            head(graph, slots["task"])
    found |= {f"{graph}.low_level_feat_key": low for graph, low in zip(GRAPHS, lows, strict=True)}
    found |= {
        "first.feat_conv_3x3_relu": first["feature"],
        "key.feat_conv_3x3_relu": key["feature"],
        "key.weight_softmax_k_key2key": key_weights,
        "key.align_feat": key["aligned"],
        "key.feat_task": key["task"],
        "cur.low2high_conv3": cur["high"],
        "cur.weight_softmax_k_key2cur": cur_weights,
        "cur.align_feat": cur["aligned"],
        "cur.feat_task_cur": cur["task"],
    }
    return found


def test_every_reference_tensor_is_met(computed: dict[str, torch.Tensor], expected: dict[str, np.ndarray]) -> None:
    assert set(computed) == set(expected)
    errors = {}
    for name, reference in expected.items():
        if name.endswith(".rois"):
            continue
        ours = computed[name].numpy()
        if ours.shape != reference.shape:
            ours = ours[:, ::CHANNEL_STEP]
        assert ours.shape == reference.shape, name
        errors[name] = float(np.abs(ours - reference).max() / np.abs(reference).max())
    print({name: f"{error:.1e}" for name, error in errors.items()})
    too_far = {name: error for name, error in errors.items() if not error <= TOLERANCE}
    assert not too_far


@pytest.mark.parametrize("graph", GRAPHS)
def test_class_probabilities_and_deltas_for_the_given_rois(
    graph: str, computed: dict[str, torch.Tensor], expected: dict[str, np.ndarray]
) -> None:
    for name in (f"{graph}.cls_prob_reshape", f"{graph}.bbox_pred_reshape"):
        np.testing.assert_allclose(computed[name].numpy(), expected[name], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("graph", GRAPHS)
def test_proposals(graph: str, computed: dict[str, torch.Tensor], expected: dict[str, np.ndarray]) -> None:
    ours, reference = computed[f"{graph}.rois"].numpy(), expected[f"{graph}.rois"]
    assert ours.shape == reference.shape == (300, 5)
    distance_px = np.abs(ours - reference).max(axis=1)
    assert (distance_px <= 0.02).sum() >= 297


def test_a_shifted_low_part_is_noticed(network: VideoNetwork, expected: dict[str, np.ndarray]) -> None:
    with torch.no_grad():
        low = network.low(reference_image(0).roll(1, dims=3)).numpy()[:, ::CHANNEL_STEP]
    reference = expected["first.low_level_feat_key"]
    assert np.abs(low - reference).max() / np.abs(reference).max() > 100 * TOLERANCE
