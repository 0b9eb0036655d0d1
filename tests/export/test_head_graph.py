"""The head in standard operators against the torch head, in both engines."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest
import torch
from export_engines import Run, run_onnxruntime
from torch import nn

from lsts_edge.errors import ExportError
from lsts_edge.export.graph import Builder
from lsts_edge.export.head_graph import _Head, head_graph
from lsts_edge.export.map_sizes import FixedMap
from lsts_edge.export.shapes import feature_shape, sizes_of
from lsts_edge.model import random_network
from lsts_edge.model.network import VideoNetwork
from lsts_edge.model.pooling import bin_edges
from lsts_edge.model.rfcn import RfcnHead
from lsts_edge.presets import ModelPreset, get_preset


def _network(preset: ModelPreset, **changes: object) -> VideoNetwork:
    return random_network(dataclasses.replace(preset, head=dataclasses.replace(preset.head, **changes)), 5)


def _task(shape: tuple[int, ...], seed: int, mean: float = 0.0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + mean


def _assert_same(network: VideoNetwork, got: dict[str, np.ndarray], task: torch.Tensor) -> None:
    boxes, scores, labels = (value.numpy() for value in network.detect(task))
    assert got["labels"].dtype == np.int64
    np.testing.assert_array_equal(got["labels"], labels)
    np.testing.assert_allclose(got["scores"], scores, atol=2e-5)
    np.testing.assert_allclose(got["boxes"], boxes, atol=2e-2)


def _fixed(head: nn.Module, graph: Builder, channels: int, height: int, width: int) -> _Head:
    """A head's writer for one size; its task feature is not an input of the graph."""
    assert isinstance(head, RfcnHead)
    grid = FixedMap(graph, height, width, head.stride, (16 * height, 16 * width))
    return _Head(head, graph, ir.val("task"), channels, grid)


@pytest.fixture(params=[False, True], ids=["maps", "features"])
def pooling(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of pooling, whichever would be the faster."""
    monkeypatch.setattr(_Head, "sums_features", lambda head: request.param)


@pytest.mark.usefixtures("pooling")
@pytest.mark.parametrize("size", [(64, 96), (33, 50), (200, 47)])
def test_detections_are_those_of_torch(run: Run, tiny: ModelPreset, size: tuple[int, int]) -> None:
    network = _network(tiny.resized(*size))
    shape = (1, 32, -(-size[0] // 16), -(-size[1] // 16))
    task = _task(shape, 1)
    got = run(head_graph(network, shape), {"task": task.numpy()})
    assert len(got["scores"]) > 5
    _assert_same(network, got, task)


@pytest.mark.usefixtures("pooling")
def test_a_large_mean_costs_no_precision(run: Run, tiny: ModelPreset) -> None:
    """A common offset of all class maps changes no probability; float32 integral images would lose 1e-3 to it."""
    network = _network(tiny.resized(224, 320))
    network.head.class_maps.bias.data += 100
    task = _task((1, 32, 14, 20), 2)
    _assert_same(network, run(head_graph(network, (1, 32, 14, 20)), {"task": task.numpy()}), task)


def test_no_detection_is_an_answer(run: Run, tiny: ModelPreset) -> None:
    network = _network(tiny, score_floor=0.9999)
    got = run(head_graph(network, (1, 32, 4, 6)), {"task": _task((1, 32, 4, 6), 3).numpy() * 0})
    assert {name: value.shape for name, value in got.items()} == {"boxes": (0, 4), "scores": (0,), "labels": (0,)}


def test_the_list_is_cut_and_sorted(run: Run, tiny: ModelPreset) -> None:
    network = _network(tiny, max_detections=7, score_floor=0.0001)
    task = _task((1, 32, 4, 6), 4)
    got = run(head_graph(network, (1, 32, 4, 6)), {"task": task.numpy()})
    assert len(got["scores"]) == 7
    assert (np.diff(got["scores"]) <= 0).all()
    _assert_same(network, got, task)


@pytest.mark.parametrize("count", [1, 12, 79])
def test_only_the_best_candidates_reach_the_suppression(run: Run, tiny: ModelPreset, count: int) -> None:
    few, all_of_them = _network(tiny, max_candidates=count), _network(tiny)
    task = _task((1, 32, 4, 6), 4)
    got = run(head_graph(few, (1, 32, 4, 6)), {"task": task.numpy()})
    _assert_same(few, got, task)
    assert 1 <= len(got["scores"]) <= count
    # The best of them is the best of all: what is left out scores less.
    assert got["scores"][0] == pytest.approx(float(all_of_them.detect(task)[1][0]), abs=2e-5)


@pytest.mark.usefixtures("pooling")
def test_the_widest_head_agrees() -> None:
    """The paper's sizes: 30 classes, 7 x 7 bins, 300 RoIs, on a smaller map."""
    preset = get_preset("lsts-r101")
    head = dataclasses.replace(preset.head, rpn_channels=16, rfcn_channels=16)
    backbone = dataclasses.replace(preset.backbone, name="tiny", low_channels=16, low_stride=8, feature_channels=32)
    small = dataclasses.replace(
        preset, head=head, backbone=backbone, lsts=None, transform=(), aggregation=None
    ).resized(224, 320)
    network = random_network(small, 1)
    task = _task((1, 32, 14, 20), 6)
    _assert_same(network, run_onnxruntime(head_graph(network, (1, 32, 14, 20)), {"task": task.numpy()}), task)


@pytest.mark.parametrize(("bins", "cells"), [(3, 7), (7, 38)])
def test_masks_cover_the_cells_that_the_rule_names(run: Run, tiny: ModelPreset, bins: int, cells: int) -> None:
    network = _network(tiny, bins=bins)
    graph = Builder("mask")
    head = _fixed(network.head, graph, 32, cells, cells)
    last = cells * 16 - 1
    random = np.random.RandomState(0)
    low = np.concatenate((random.uniform(0, last, 900), np.arange(60), np.zeros(60))).astype(np.float32)
    high = np.minimum(low + np.concatenate((random.uniform(0, 300, 900), np.full(60, 111), np.arange(60))), last)
    high = high.astype(np.float32)
    rois = graph.input("rois", ("R", 4))
    graph_out = graph.build({"mask": (head.mask(*head.edges(rois), 0), (bins, "R", cells), "float32")})
    got = run(graph_out, {"rois": np.stack((low, low, high, high), 1)})["mask"].transpose(1, 0, 2)
    edges = bin_edges(torch.from_numpy(low), torch.from_numpy(high), 16, bins, cells).numpy()
    cell = np.arange(cells)
    inside = (cell >= edges[..., :1]) & (cell < edges[..., 1:])
    np.testing.assert_array_equal(got > 0, inside)
    np.testing.assert_allclose(got.sum(-1), inside.any(-1), atol=1e-6)


def test_a_corner_that_is_no_number_leaves_its_bins_empty(tiny: ModelPreset) -> None:
    graph = Builder("edges")
    head = _fixed(_network(tiny).head, graph, 32, 4, 6)
    first, end = head.edges(graph.input("rois", ("R", 4)))
    shape = (tiny.head.bins, "R", 2)
    model = graph.build({"first": (first, shape, "float32"), "end": (end, shape, "float32")})
    nan = float("nan")
    got = run_onnxruntime(model, {"rois": np.array([[nan, 0, 95, 63], [0, 0, 95, nan]], np.float32)})
    for edge in got.values():
        assert edge[:, [0, 1], [0, 1]].tolist() == [[0, 0]] * tiny.head.bins
    assert got["end"].max() == 6


@pytest.mark.parametrize(
    ("name", "proposals", "sums"), [("lsts-r101", 300, True), ("lsts-lite", 24, True), ("lsts-lite", 64, False)]
)
def test_the_feature_is_summed_first_where_that_was_measured_as_faster(name: str, proposals: int, sums: bool) -> None:
    """About half of the time at the paper's size, three quarters at lsts-lite's 24 proposals, more at 64."""
    preset = get_preset(name)
    head, shape = RfcnHead(dataclasses.replace(preset.head, rpn_post_nms=proposals)), sizes_of(feature_shape(preset))
    assert _fixed(head, Builder("head"), *shape[1:]).sums_features() is sums


@pytest.mark.usefixtures("pooling")
@pytest.mark.parametrize("size", [(4, 6), (1, 1), (30, 40), (40, 22)])
def test_one_graph_for_every_size(run: Run, tiny: ModelPreset, size: tuple[int, int]) -> None:
    network = _network(tiny.resized(480, 640).by_shorter_side(), rpn_pre_nms=40)
    task = _task((1, 32, *size), 7)
    _assert_same(network, run(head_graph(network, (1, 32, "h", "w")), {"task": task.numpy()}), task)


def test_a_head_of_another_kind_is_refused(tiny: ModelPreset) -> None:
    class Other(torch.nn.Module):
        def detect(self, task: torch.Tensor, height_px: int, width_px: int) -> None: ...

    with pytest.raises(ExportError, match="RfcnHead"):
        head_graph(VideoNetwork(tiny, head=Other()), (1, 32, 4, 6))
