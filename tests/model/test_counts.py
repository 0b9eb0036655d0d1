"""Parameters and multiply-adds: exact figures, and a second count by another route."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lsts_edge.model import multiply_adds, parameters, random_network
from lsts_edge.model.counts import total_parameters
from lsts_edge.presets import get_preset

KEYFRAME = ("heavy", "embed_key", "lsts_key", "aggregate_key", "embed_memory", "head")
PROPAGATED = ("light", "embed_current", "lsts_current", "aggregate_current", "head")


@pytest.mark.parametrize(
    ("name", "expected"), [("lsts-r101", 67_244_927), ("lsts-r101-uniform", 67_245_009), ("rfcn-r101", 62_383_597)]
)
def test_parameters_of_the_paper_s_networks(name: str, expected: int) -> None:
    assert total_parameters(get_preset(name)) == expected


def test_tiny_is_tiny_and_counts_are_those_of_a_real_network() -> None:
    network = random_network(get_preset("lsts-tiny"), 0)
    assert total_parameters(network) == sum(p.numel() for p in network.parameters()) < 100_000


def test_shared_parts_count_in_each_graph_and_once_in_total() -> None:
    for name in ("lsts-tiny", "lsts-lite", "lsts-r101"):
        preset = get_preset(name)
        counted = parameters(preset)
        assert preset.lsts is not None
        low = counted["light"] - _transform_parameters(name)
        once = sum(counted.values()) - low - 2 * preset.lsts.locations
        assert once == total_parameters(preset)


def _transform_parameters(name: str) -> int:
    transform = random_network(get_preset(name), 0).transform if name != "lsts-r101" else None
    if transform is None:  # 1x1 1024-256, 3x3 256-256, 3x3 256-1024, with bias
        return 1024 * 256 + 256 + 9 * 256 * 256 + 256 + 9 * 256 * 1024 + 1024
    return sum(p.numel() for p in transform.parameters())


def test_multiply_adds_of_the_paper_s_network_by_hand() -> None:
    """At 1000x600: low part 32.4 G, the rest 131.7 G, Transform 7.7 G, maps 2.3 G, embeddings 1.3 G, LSTS 0.1 G."""
    preset = get_preset("lsts-r101")
    counted = multiply_adds(preset)
    cells = 38 * 63
    transform = cells * (1024 * 256 + 9 * 256 * 256 + 9 * 256 * 1024)
    assert counted["light"] - transform == pytest.approx(32.4e9, rel=2e-3)
    assert counted["heavy"] - counted["light"] + transform == pytest.approx(131.7e9, rel=2e-3)
    assert counted["embed_key"] == 2 * counted["embed_current"] == 2 * cells * 1024 * 256
    assert counted["aggregate_key"] == 2 * cells * (1024 * 256 + 9 * 256 * 16 + 9 * 16)
    assert counted["head"] == pytest.approx(cells * 512 * (31 * 49 + 8 * 49 + 18 + 36), rel=0.01)
    assert counted["lsts_key"] == counted["lsts_current"]
    assert 25 * 1280 * cells < counted["lsts_key"] < 60 * 1280 * cells


def test_a_second_counter_agrees_on_every_convolution() -> None:
    preset = get_preset("lsts-tiny")
    network = random_network(preset, 0)
    image = torch.zeros(1, 3, preset.input.height_px, preset.input.width_px)
    feature = torch.zeros(1, 32, 4, 6)
    runs = {
        "heavy": lambda: network.heavy(image),
        "light": lambda: network.light(image),
        "embed_key": lambda: network.embed_key(feature, feature),
        "aggregate_key": lambda: network.aggregate_key(feature, feature),
        "aggregate_current": lambda: network.aggregate_current(feature, feature),
        "embed_memory": lambda: network.embed_memory(feature),
        "embed_current": lambda: network.embed_current(feature),
    }
    counted = multiply_adds(network)
    for graph, run in runs.items():
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            run()
        assert counter.get_total_flops() == 2 * counted[graph], graph


def test_the_network_s_own_offsets_give_its_taps() -> None:
    network = random_network(get_preset("lsts-tiny"), 0)
    with torch.no_grad():
        network.lsts.offsets.zero_()
    assert multiply_adds(network)["lsts_key"] == (8 + 32 + 2 * 9) * 4 * 6


def test_a_keyframe_of_lite_costs_at_least_four_propagated_frames() -> None:
    counted = multiply_adds(get_preset("lsts-lite"))
    assert sum(counted[g] for g in KEYFRAME) >= 4 * sum(counted[g] for g in PROPAGATED)


def test_graphs_of_other_forms() -> None:
    assert list(multiply_adds(get_preset("rfcn-r101").resized(160, 192))) == ["heavy", "head"]
    paper = dataclasses.replace(get_preset("lsts-tiny"), form="paper")
    assert "aggregate_task" in multiply_adds(paper) and "aggregate_task" in parameters(paper)
