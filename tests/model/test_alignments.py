"""Every alignment against NumPy in float64, on maps whose sides are awkward, and its place in the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch

from lsts_edge.errors import OptionError
from lsts_edge.model import VideoLoop, build_network, random_network
from lsts_edge.model.alignments import Alignment, make_alignment
from lsts_edge.model.alignments.flow_net import FlowNetS
from lsts_edge.model.alignments.flow_warp import FlowWarp, dis_flow, warp
from lsts_edge.model.alignments.keep import Keep
from lsts_edge.model.alignments.match_trans import MatchTrans
from lsts_edge.model.alignments.non_local import NonLocal
from lsts_edge.model.counts import multiply_adds, parameters, total_parameters
from lsts_edge.model.lsts import LstsAlignment
from lsts_edge.model.network import Normalize
from lsts_edge.opspec import LSTS
from lsts_edge.presets import ALIGNMENTS, LstsPreset, ModelPreset, get_preset
from lsts_edge.variants import TABLE_2, varied

TINY = get_preset("lsts-tiny")
R101 = get_preset("lsts-r101")
SIZES = [(1, 1), (1, 7), (5, 3), (9, 13)]


def maps(size: tuple[int, int], channels: int = 3, embedded: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Memory, its embedding, the current embedding, for two items."""
    random = np.random.RandomState(size[0] * 100 + size[1])
    return tuple(random.standard_normal((2, count, *size)) for count in (channels, embedded, embedded))


def tensors(arrays: tuple[np.ndarray, ...]) -> list[torch.Tensor]:
    return [torch.from_numpy(array.astype(np.float32)) for array in arrays]


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max())
    return powers / powers.sum()


def at(feature: np.ndarray, y: int, x: int) -> np.ndarray:
    inside = 0 <= y < feature.shape[1] and 0 <= x < feature.shape[2]
    return feature[:, y, x] if inside else np.zeros(len(feature))


def over_cells(memory: np.ndarray, rule: Callable[[int, int, int], np.ndarray]) -> np.ndarray:
    wanted = np.zeros_like(memory)
    for item, _, y, x in np.ndindex(memory.shape):
        wanted[item, :, y, x] = rule(item, y, x)
    return wanted


@pytest.mark.parametrize("size", SIZES)
def test_non_local_looks_everywhere(size: tuple[int, int]) -> None:
    memory, old, new = arrays = maps(size)

    def rule(item: int, y: int, x: int) -> np.ndarray:
        cells = list(np.ndindex(size))
        weights = softmax(np.array([old[item][:, a, b] @ new[item][:, y, x] for a, b in cells]))
        return sum(weight * memory[item][:, a, b] for weight, (a, b) in zip(weights, cells, strict=True))

    got = NonLocal()(*tensors(arrays))
    np.testing.assert_allclose(got.numpy(), over_cells(memory, rule), atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_match_trans_looks_at_nine_by_nine(size: tuple[int, int]) -> None:
    memory, old, new = arrays = maps(size)
    window = [(dy, dx) for dy in range(-4, 5) for dx in range(-4, 5)]

    def rule(item: int, y: int, x: int) -> np.ndarray:
        weights = softmax(np.array([at(old[item], y + dy, x + dx) @ new[item][:, y, x] for dy, dx in window]))
        return sum(w * at(memory[item], y + dy, x + dx) for w, (dy, dx) in zip(weights, window, strict=True))

    got = MatchTrans()(*tensors(arrays))
    np.testing.assert_allclose(got.numpy(), over_cells(memory, rule), atol=1e-5)
    fixed = LstsAlignment(LstsPreset(locations=81, init="uniform", learn_offsets=False))
    torch.testing.assert_close(fixed(*tensors(arrays)), got)  # the paper's "uniform, fixed" is MatchTrans


@pytest.mark.parametrize("size", [(4, 5), (9, 13)])
@pytest.mark.parametrize(
    "options", [{}, {"spread_cells": 2.5}, {"locations": 9, "init": "uniform", "spread_cells": 1.5}]
)
def test_lsts_samples_where_its_offsets_say(size: tuple[int, int], options: dict[str, object]) -> None:
    arrays = maps(size)
    alignment = LstsAlignment(LstsPreset(**{"locations": 16, **options}))
    offsets = alignment.offsets.detach().numpy()
    got = alignment(*tensors(arrays)).detach().numpy()
    memory, old, new = (array.astype(np.float32) for array in arrays)
    np.testing.assert_allclose(got, LSTS.reference(old, new, memory, offsets, normalization="softmax")[0], atol=1e-5)
    spread = float(np.sqrt((offsets**2).mean()))
    assert options.get("spread_cells", 1.0) == pytest.approx(spread, rel=0.3)


@pytest.mark.parametrize("size", SIZES)
def test_warping_reads_one_place_between_four_cells(size: tuple[int, int]) -> None:
    memory = maps(size)[0]
    flow = np.random.RandomState(3).uniform(-3, 3, (2, 2, *size))

    def rule(item: int, y: int, x: int) -> np.ndarray:
        px, py = x + flow[item, 0, y, x], y + flow[item, 1, y, x]
        left, top = int(np.floor(px)), int(np.floor(py))
        return sum(
            (1 - abs(px - a)) * (1 - abs(py - b)) * at(memory[item], b, a)
            for a in (left, left + 1)
            for b in (top, top + 1)
        )

    got = warp(*tensors((memory, flow)))
    np.testing.assert_allclose(got.numpy(), over_cells(memory, rule), atol=1e-5)


def test_dis_flow_follows_a_moving_picture() -> None:
    """The old picture shows at x + 8 what the new one shows at x: the memory is moved by one cell."""
    random = np.random.RandomState(0)
    texture = cv2.GaussianBlur(np.kron(random.uniform(0, 1, (12, 20, 3)), np.ones((8, 8, 1))), (0, 0), 3)
    still, moved = texture[8:72, 8:136], texture[8:72, 16:144]
    old, new = (torch.from_numpy(p.transpose(2, 0, 1)[None].astype(np.float32)) for p in (still, moved))
    assert float((dis_flow(old, new)[0, 0] - 8).abs()[8:-8, 8:-16].mean()) < 0.1
    memory = torch.from_numpy(random.standard_normal((1, 6, 8, 16)).astype(np.float32))
    got = FlowWarp(dis_flow)(memory, old, new)
    torch.testing.assert_close(got[..., 2:-2, 2:-3], memory[..., 2:-2, 3:-2], atol=0.1, rtol=0)
    torch.testing.assert_close(FlowWarp(dis_flow)(memory, old, old), memory, atol=0.01, rtol=0)


def test_flow_net_is_the_published_size() -> None:
    """38.68 million weights, as FlowNetSimple is given; DFF's 96.7 beside R-FCN's 60.0 are 36.7 in units of 2^20."""
    network = FlowNetS()
    assert sum(p.numel() for p in network.parameters()) == 38_676_514
    with torch.no_grad():
        flow = network(torch.rand(2, 3, 75, 131), torch.rand(2, 3, 75, 131))
        assert flow.shape == (2, 2, 19, 33)
        aligned = FlowWarp(network)(torch.rand(2, 5, 10, 17), torch.rand(2, 3, 75, 131), torch.rand(2, 3, 75, 131))
    assert aligned.shape == (2, 5, 10, 17)


@pytest.mark.parametrize("name", ALIGNMENTS)
def test_every_name_is_made_behind_one_interface(name: str) -> None:
    alignment = make_alignment(dataclasses.replace(varied(TINY, {"alignment": name})))
    if name == "none":
        assert alignment is None
        return
    assert isinstance(alignment, Alignment)
    assert alignment.compares in ("embeddings", "pictures", "nothing")
    assert Keep()(torch.ones(1), None, None) is not None


def clip(preset: ModelPreset, frames: int = 5) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    size = (preset.input.height_px, preset.input.width_px)
    big = torch.randint(0, 256, (1, size[0] + 2 * frames, size[1] + 2 * frames, 3), generator=generator)
    big = torch.nn.functional.avg_pool2d(big.permute(0, 3, 1, 2).float(), 5, 1, 2).permute(0, 2, 3, 1).to(torch.uint8)
    return [Normalize(preset.input)(big[:, i : i + size[0], 2 * i : 2 * i + size[1]]) for i in range(frames)]


VARIANTS = [{"alignment": name} for name in ALIGNMENTS if name != "flow-warp-net"]
VARIANTS += [{"row": row, "alignment": name} for row in TABLE_2 for name in ("lsts", "flow-warp")]
VARIANTS += [{"recurrent": True}, {"recurrent": True, "alignment": "flow-warp"}, {"alignment": "copy", "row": "a"}]


@pytest.mark.parametrize("choices", VARIANTS, ids=lambda choices: ",".join(f"{k}={v}" for k, v in choices.items()))
def test_every_variant_runs_and_learns(choices: dict[str, object]) -> None:
    preset = varied(TINY, choices).resized(61, 93)
    network = random_network(preset, 0)
    loop = VideoLoop(network)
    images = clip(preset)
    found = [loop.step(image, is_keyframe=index == 2) for index, image in enumerate(images)]
    cells = found[0]["feature"].shape
    for index, slots in enumerate(found):
        assert slots["task"].shape == cells and torch.isfinite(slots["task"]).all()
        assert ("high" in slots) is (index in (1, 3, 4) and preset.sees)
    learned = build_network(preset)
    high = learned.light(images[3]) if preset.sees else None
    memory = found[1 if preset.recurrent else 0]["task"].clone()
    slots = learned.propagate(images[3], memory, learned.remember(memory, images[0]), high)
    if any(p.requires_grad for name, p in learned.named_parameters() if name.startswith(("transform", "lsts", "dfa"))):
        slots["task"].square().mean().backward()
        moved = {name for name, p in learned.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        for part in ("dfa.embed_old", "dfa.embed_new", "lsts.offsets", "transform.layers.0"):
            has = any(name.startswith(part) for name, _ in learned.named_parameters())
            assert any(name.startswith(part) for name in moved) is has, part


def test_what_each_switch_changes_by_hand() -> None:
    images = clip(TINY, 4)

    def run(**choices: object) -> list[dict[str, torch.Tensor]]:
        loop = VideoLoop(random_network(varied(TINY, choices), 0))
        return [loop.step(image, is_keyframe=index == 2) for index, image in enumerate(images)]

    off = run(srfu="off")
    assert torch.equal(off[2]["task"], off[2]["feature"]) and "aligned" not in off[2]
    mean = run(srfu="mean", dfa="mean")
    for slots, own in ((mean[2], "feature"), (mean[3], "high")):
        torch.testing.assert_close(slots["task"], (slots[own] + slots["aligned"]) / 2)
    alone = run(dfa="off")
    assert torch.equal(alone[3]["task"], alone[3]["aligned"])
    held = run(alignment="copy", row="a")
    assert torch.equal(held[1]["task"], held[0]["feature"]) and torch.equal(held[3]["task"], held[2]["feature"])
    nothing = run(alignment="none")
    assert torch.equal(nothing[3]["task"], nothing[3]["high"])
    chained = run(recurrent=True)
    network = random_network(varied(TINY, {"recurrent": True}), 0)
    before = chained[1]["task"]  # the frame before the next keyframe: that one aligns the first keyframe's memory
    torch.testing.assert_close(chained[1]["task_embedding"], network.embed_memory(before))
    memory, old, new = chained[0]["memory"], *network.embed_key(chained[0]["memory"], chained[2]["feature"])
    torch.testing.assert_close(chained[2]["aligned"], network.align(memory, old, new))


def test_without_transform_the_low_part_serves() -> None:
    network = random_network(varied(R101.resized(64, 96), {"row": "d"}), 0)
    assert len(network.transform.layers) == 0  # the paper's low part has the feature's shape
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(network.light(image), network.low(image))
    layers = random_network(varied(TINY, {"row": "d"}), 0).transform.layers
    assert [(layer.kernel_size, layer.stride) for layer in layers] == [((1, 1), (2, 2))]


EMBEDDINGS, AGGREGATION, TRANSFORM, OFFSETS, FLOW_NET = 524_800, 299_425, 3_212_800, 80, 38_676_514
TABLE_2_COUNTS = {
    "a": EMBEDDINGS + OFFSETS,
    "b": 2 * EMBEDDINGS + OFFSETS,
    "c": 2 * EMBEDDINGS + OFFSETS + AGGREGATION,
    "d": 2 * EMBEDDINGS + OFFSETS + AGGREGATION,
    "e": 2 * EMBEDDINGS + OFFSETS + AGGREGATION + TRANSFORM,
    "f": 2 * EMBEDDINGS + OFFSETS + 2 * AGGREGATION,
    "g": 2 * EMBEDDINGS + OFFSETS + 2 * AGGREGATION + TRANSFORM,
}
RFCN = 62_383_597


@pytest.mark.parametrize("row", TABLE_2)
def test_parameters_of_table_2(row: str) -> None:
    assert total_parameters(varied(R101, {"row": row})) == RFCN + TABLE_2_COUNTS[row]
    flow = TABLE_2_COUNTS[row] - OFFSETS - EMBEDDINGS * (1 if row == "a" else 2) + FLOW_NET
    assert total_parameters(varied(R101, {"row": row, "alignment": "flow-warp-net"})) == RFCN + flow
    assert total_parameters(varied(R101, {"row": row, "alignment": "flow-warp"})) == RFCN + flow - FLOW_NET


def test_parameters_of_table_3() -> None:
    full = total_parameters(R101)
    for name in ("non-local", "match-trans"):
        assert total_parameters(varied(R101, {"alignment": name})) == full - OFFSETS


def test_multiply_adds_of_the_rivals() -> None:
    cells, channels, embedded = 38 * 63, 1024, 256
    non_local = multiply_adds(varied(R101, {"alignment": "non-local"}))
    assert non_local["align_key"] == non_local["align_current"] == cells**2 * (channels + embedded)
    window = multiply_adds(varied(R101, {"alignment": "match-trans"}))
    assert window["align_current"] == 81 * (channels + embedded) * cells
    assert "align_current" not in multiply_adds(varied(R101, {"alignment": "copy"}))
    flow = varied(R101, {"alignment": "flow-warp-net"})
    assert multiply_adds(flow)["align_current"] > 10e9
    assert parameters(flow)["align_current"] == FLOW_NET


@pytest.mark.parametrize(
    "choices",
    [
        {"alignment": "other"}, {"row": "h"}, {"srfu": "half"}, {"colour": "red"}, {"spread_cells": 0.0},
        {"alignment": "none", "dfa": "mean"}, {"alignment": "none", "recurrent": True}, {"deformable": True},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_choices_are_one_error(choices: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        varied(TINY, choices)
    with pytest.raises(OptionError):
        varied(get_preset("rfcn-r101"), {"row": "a"})
    with pytest.raises(OptionError, match="form"):
        varied(dataclasses.replace(TINY, form="paper"), {"recurrent": True})
