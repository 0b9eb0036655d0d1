"""The one real detector in the tree: PicoDet-S, made for 416x416, at every multiple of 32."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from detector_graphs import renamed
from export_engines import Run, run_onnxruntime
from onnx import numpy_helper

from lsts_edge.errors import DetectorSize
from lsts_edge.export.detectors import (
    DetectorSpec,
    class_names,
    read_detector,
    recognise,
    resized,
    wrap_detector,
)
from lsts_edge.export.detectors.reference import reference_detections, reference_feeds

FOLDER = Path(__file__).resolve().parents[3] / "examples/detectors"
FILE = FOLDER / "picodet_s_416_coco.onnx"
LIMITS = {"score_floor": 0.01, "nms_iou": 0.6, "max_detections": 100, "candidates": 300}


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return read_detector(FILE)


@pytest.fixture(scope="module")
def spec(model: onnx.ModelProto) -> DetectorSpec:
    return recognise(model)


def picture(size: tuple[int, int]) -> np.ndarray:
    """Shapes on a gradient: enough for the network to see something here and there."""
    y, x = np.mgrid[: size[0], : size[1]]
    image = np.stack((x * 255 // size[1], y * 255 // size[0], (x + y) % 256), axis=-1)
    for row, column in ((20, 30), (40, 70), (10, 60)):
        image[row : row + 40, column : column + 20] = (30, 200, 90)
    return image[None].astype(np.uint8)


def without_shuffles(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network for any size: each Reshape, Transpose, Reshape that shuffles channels becomes one Gather."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    made = {name: node for node in graph.node for name in node.output}
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    constants |= {n.output[0]: numpy_helper.to_array(n.attribute[0].t) for n in graph.node if n.op_type == "Constant"}
    for node in graph.node:
        inner = made.get(node.input[0]) if node.input else None
        if node.op_type != "Reshape" or inner is None or inner.op_type != "Transpose":
            continue
        first = made[inner.input[0]]
        groups, channels = constants[first.input[1]][1:3].tolist()
        order = np.arange(groups * channels).reshape(groups, channels).T.ravel()
        graph.initializer.append(numpy_helper.from_array(order, node.output[0] + "/order"))
        node.CopyFrom(
            onnx.helper.make_node("Gather", [first.input[0], node.output[0] + "/order"], list(node.output), axis=1)
        )
    for _ in range(3):  # what the shuffles were made of
        used = {name for node in graph.node for name in node.input} | {info.name for info in graph.output}
        kept = [node for node in graph.node if set(node.output) & used]
        del graph.node[:]
        graph.node.extend(kept)
    del graph.value_info[:]
    for axis in (2, 3):
        graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"side{axis}"
    for info in graph.output:
        info.type.tensor_type.shape.dim[1].dim_param = "rows"
    return changed


def test_the_file_is_the_one_that_its_readme_names() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() in text
    assert "Apache License" in (FOLDER / "LICENSE").read_text(encoding="utf-8")


def test_recognised_with_its_names_and_without(model: onnx.ModelProto, spec: DetectorSpec) -> None:
    for found in (spec, recognise(renamed(model))):
        assert (found.family, found.class_count, found.sizes) == ("picodet", 80, "free")
        assert (found.strides, found.bins, found.score_form) == ((8, 16, 32, 64), 8, "probability")
        assert (found.color_order, found.resize) == ("rgb", "stretch")
    assert class_names(model, spec)[0][:3] == ("person", "bicycle", "car")


def test_at_its_own_size_the_network_is_the_same(model: onnx.ModelProto, spec: DetectorSpec) -> None:
    feeds = reference_feeds(spec, picture((416, 416)))
    original = run_onnxruntime(onnx.load_model_from_string(FILE.read_bytes()), feeds)
    found = run_onnxruntime(resized(model, spec, 416, 416), feeds)
    assert len(original) == 8
    for name, value in original.items():
        np.testing.assert_allclose(found[name], value, atol=1e-6)


@pytest.mark.parametrize("size", [(416, 416), (256, 448), (96, 160), (224, 128), (32, 32)])
def test_at_every_multiple_of_32(model: onnx.ModelProto, spec: DetectorSpec, size: tuple[int, int], run: Run) -> None:
    """Against the same network in which no grid is written, run by ONNX Runtime at this size."""
    image = picture(size)
    feeds = reference_feeds(spec, image)
    raw = run_onnxruntime(without_shuffles(model), feeds)
    found = run(resized(model, spec, *size), feeds)
    for name, value in raw.items():
        np.testing.assert_allclose(found[name], value, atol=1e-4 * max(1, np.abs(value).max()))
    names, _ = class_names(model, spec)
    graph = wrap_detector(model, spec, height_px=size[0], width_px=size[1], classes=names, **LIMITS)
    boxes, scores, labels = reference_detections(
        spec, raw, height_px=size[0], width_px=size[1], class_count=80, **LIMITS
    )
    got = run(graph, {"image": image})
    assert len(scores) > 0
    np.testing.assert_allclose(got["scores"], scores, atol=1e-4)
    np.testing.assert_allclose(got["boxes"], boxes, atol=1e-4 * max(size))
    np.testing.assert_array_equal(got["labels"], labels)


def test_twenty_reshapes_are_rewritten_and_no_more(model: onnx.ModelProto, spec: DetectorSpec) -> None:
    changed = resized(model, spec, 256, 448)
    assert len(changed.graph.initializer) - len(model.graph.initializer) == 20


def test_between_multiples_it_says_so(model: onnx.ModelProto, spec: DetectorSpec) -> None:
    with pytest.raises(DetectorSize, match="multiples of 32"):
        resized(model, spec, 256, 450)
