"""Peers' boxes are decoded as their authors define them: planted outputs give planted boxes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from toy_data import write_toy_data

pytest.importorskip("onnx")

from lsts_edge.benchmarks.detector_boxes import run_detector
from lsts_edge.benchmarks.peers import NanoDetPlus, YoloxNano, to_groups
from lsts_edge.coco import COCO_CLASSES
from lsts_edge.errors import OptionError, PackageMissing
from lsts_edge.evaluation.annotations import COCO_GROUPS, read_annotations
from lsts_edge.evaluation.metrics import Matches, paired_difference
from lsts_edge.presets import FIVE_GROUPS
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions


def yolox_like(path: Path, channels: int = 85) -> Path:
    """A fully convolutional graph with YOLOX's interface at 64 x 64, whose output is 0 everywhere."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights, parts = [], [numpy_helper.from_array(np.array([1, channels, -1]), "flat")], []
    for stride in (8, 16, 32):
        weights.append(numpy_helper.from_array(np.zeros((channels, 3, stride, stride), np.float32), f"w{stride}"))
        nodes.append(helper.make_node("Conv", ["images", f"w{stride}"], [f"c{stride}"], strides=[stride, stride]))
        nodes.append(helper.make_node("Reshape", [f"c{stride}", "flat"], [f"r{stride}"]))
        parts.append(f"r{stride}")
    nodes.append(helper.make_node("Concat", parts, ["all"], axis=2))
    nodes.append(helper.make_node("Transpose", ["all"], ["output"], perm=[0, 2, 1]))
    cells = 64 + 16 + 4
    graph = helper.make_graph(
        nodes,
        "yolox",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, cells, channels])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def yolox(tmp_path: Path) -> YoloxNano:
    backend = open_backend(EngineOptions(threads=1))
    return YoloxNano(yolox_like(tmp_path / "y.onnx"), backend, 96, 160, score_floor=0.1, max_detections=10)


def test_yolox_runs_at_another_size(yolox: YoloxNano) -> None:
    frame = np.zeros((48, 80, 3), np.uint8)
    prepared, geometry = yolox.prepare(frame)
    assert prepared.shape == (1, 3, 96, 160)
    raw = yolox.infer(prepared)
    assert raw.shape == (12 * 20 + 6 * 10 + 3 * 5, 85)
    assert geometry.scale_x == 2.0
    assert len(yolox.finish(raw, geometry)) == 0, "all scores are 0"


def test_yolox_decodes_a_planted_box(yolox: YoloxNano) -> None:
    """Stride 16, cell (3, 2): centre (3.5 + 0, 2.25 + 0) x 16, size exp(1) x 16 and exp(0) x 16; the frame is half."""
    _, geometry = yolox.prepare(np.zeros((48, 80, 3), np.uint8))
    raw = np.zeros((315, 85), np.float32)
    cell = 240 + 2 * 10 + 3
    raw[cell, :5] = (0.5, 0.25, 1.0, 0.0, 0.9)
    raw[cell, 5 + COCO_CLASSES.index("bird")] = 0.8
    raw[cell + 1] = raw[cell]
    raw[cell + 1, 0] -= 1.0
    raw[cell + 1, 4] = 0.5
    found = yolox.finish(raw, geometry)
    width = np.exp(1.0) * 16
    expected = np.array([[56 - width / 2, 36 - 8, 56 + width / 2, 36 + 8]]) / 2
    np.testing.assert_allclose(found.xyxy_px, expected, atol=1e-3)
    np.testing.assert_allclose(found.scores, [0.72], atol=1e-6)
    assert [COCO_CLASSES[label] for label in found.labels] == ["bird"], "the same box with a lower score is suppressed"


def test_nanodet_distances_are_means_over_bins() -> None:
    pytest.importorskip("ncnn")
    peer = object.__new__(NanoDetPlus)  # decoding alone: there is no small ncnn model to load
    super(NanoDetPlus, peer).__init__(64, 128, 0.05, 10)
    peer._bins = np.arange(8, dtype=np.float32)
    raw = np.zeros((8 * 16 + 4 * 8 + 2 * 4 + 1 * 2, 112), np.float32)
    cell = 8 * 16 + 1 * 8 + 3  # stride 16, cell (3, 1)
    raw[cell, COCO_CLASSES.index("dog")] = 0.6
    raw[cell, 80:].reshape(4, 8)[:, 2] = 50.0  # all weight on the bin of two strides
    found = peer.finish(raw, peer._preprocess.geometry(64, 128))
    np.testing.assert_allclose(found.xyxy_px, [[48 - 32, 0, 48 + 32, 16 + 32]], atol=1e-3)
    np.testing.assert_allclose(found.scores, [0.6], atol=1e-6)
    assert COCO_CLASSES[found.labels[0]] == "dog"


def test_nanodet_is_run_from_its_ncnn_files(tmp_path: Path) -> None:
    """A network whose output is planted in its weights: on every picture a dog around cell (6, 6) of stride 32."""
    pytest.importorskip("ncnn")
    sides = {stride: range(-(-416 // stride)) for stride in (8, 16, 32, 64)}
    cells = [(stride, x, y) for stride, side in sides.items() for y in side for x in side]
    raw = np.zeros((len(cells), 112), np.float32)
    cell = cells.index((32, 6, 6))
    raw[cell, COCO_CLASSES.index("dog")] = 0.6
    raw[cell, 80:].reshape(4, 8)[:, 1] = 50.0  # all weight on the bin of one stride
    layers = f"Input data 0 1 data\nMemoryData output 0 1 output 0=112 1={len(cells)}\n"
    (tmp_path / "n.param").write_text("7767517\n2 2\n" + layers)
    (tmp_path / "n.bin").write_bytes(raw.tobytes())
    truth = read_annotations(write_toy_data(tmp_path, frames=2), FIVE_GROUPS)
    found, sha256 = run_detector(tmp_path / "n.param", truth)
    assert sha256 == hashlib.sha256(raw.tobytes()).hexdigest() and len(found) == len(truth.images) == 4
    scale = truth.images[0].width_px / 416  # the picture is wider than high, and lies in the upper left
    for boxes in found.values():
        np.testing.assert_allclose(boxes.xyxy_px, np.array([[160, 160, 224, 224]]) * scale, atol=1e-3)
        assert boxes.labels.tolist() == [FIVE_GROUPS.index("quadruped")]


def test_wrong_files_and_sizes(tmp_path: Path) -> None:
    backend = open_backend(EngineOptions(threads=1))
    (tmp_path / "text.onnx").write_text("no model")
    for path in (tmp_path / "none.onnx", tmp_path / "text.onnx", yolox_like(tmp_path / "small.onnx", channels=25)):
        with pytest.raises(OptionError, match="peer model"):
            YoloxNano(path, backend, 96, 160, 0.1, 10)
    with pytest.raises(OptionError, match="input of YoloxNano"):
        YoloxNano(yolox_like(tmp_path / "y.onnx"), backend, 100, 160, 0.1, 10)
    with pytest.raises((OptionError, PackageMissing)):
        NanoDetPlus(tmp_path / "none.param", 1, 64, 64, 0.1, 10)
    truth = read_annotations(write_toy_data(tmp_path, frames=2), FIVE_GROUPS)
    with pytest.raises((OptionError, PackageMissing)):
        run_detector(tmp_path / "none.param", truth)


def test_groups() -> None:
    groups = ("person", "rider", "vehicle", "bird", "quadruped")
    labels = np.array([COCO_CLASSES.index(name) for name in ("person", "truck", "bird", "zebra", "chair")])
    assert to_groups(labels, COCO_CLASSES, groups, COCO_GROUPS).tolist() == [0, 2, 3, 4, -1]
    assert len(COCO_CLASSES) == len(set(COCO_CLASSES)) == 80
    assert set(COCO_GROUPS) <= set(COCO_CLASSES)


def test_paired_difference_sees_a_difference_and_none() -> None:
    def sequence(found: int) -> list[Matches]:
        return [Matches(np.linspace(1, 0.5, 10), np.arange(10) < found, np.zeros(10, bool), 10)]

    good, bad = [sequence(9) for _ in range(12)], [sequence(4) for _ in range(12)]
    difference = paired_difference(good, bad, resamples=100)
    assert difference["low"] > 0.3
    same = paired_difference(good, good, resamples=100)
    assert same == {"difference": 0.0, "low": 0.0, "high": 0.0}
