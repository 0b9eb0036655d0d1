"""What a detector is told to be: by shapes alone, by names where shapes do not suffice, and by what is given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from detector_graphs import (
    CLASSES,
    GRAPHS,
    SIZE,
    Sketch,
    renamed,
    suppressed,
    suppressed_rows,
    suppressed_tensorflow,
    yolov8,
    yolox,
)
from export_engines import run_onnxruntime
from onnx import TensorProto, helper

from lsts_edge.errors import DetectorError, DetectorSize, DetectorSpecError, DetectorUnknown
from lsts_edge.export.detectors import DetectorSpec, read_detector, read_spec_file, recognise, wrap_detector
from lsts_edge.export.detectors.spec import FAMILIES, GIVEN


def read(model: onnx.ModelProto) -> onnx.ModelProto:
    return read_detector(model.SerializeToString())


@pytest.mark.parametrize(("make", "family"), GRAPHS.values(), ids=GRAPHS)
def test_auto(make: Callable[[], onnx.ModelProto], family: str) -> None:
    spec = recognise(read(make()))
    assert spec.family == family
    assert (spec.height_px, spec.width_px) == SIZE
    assert spec.class_count in (CLASSES, None)
    assert spec == recognise(read(make()), family)


@pytest.mark.parametrize("name", [name for name in GRAPHS if name != "suppressed_tensorflow"])
def test_auto_by_shapes_alone(name: str) -> None:
    make, family = GRAPHS[name]
    before, spec = recognise(read(make())), recognise(read(renamed(make())))
    assert spec.family == family
    for field in ("columns", "transposed", "box_form", "box_unit", "score_form", "strides", "suppression", "sizes"):
        assert getattr(spec, field) == getattr(before, field), field
    assert {name for names in spec.outputs.values() for name in names} <= {f"y{i}" for i in range(8)}


def test_scores_and_labels_that_look_alike_must_be_named() -> None:
    model = read(renamed(suppressed_tensorflow()))
    with pytest.raises(DetectorUnknown):
        recognise(model)
    given = {
        "outputs": {"boxes": ["y0"], "labels": ["y1"], "scores": ["y2"], "count": ["y3"]},
        "box_form": "yxyx",
        "box_unit": "normalised",
        "label_base": 1,
        "suppression": "inside",
    }
    spec = recognise(model, overrides=given)
    by_name = recognise(read(suppressed_tensorflow()))
    assert spec.family == "custom"
    for field in ("box_form", "box_unit", "label_base", "suppression", "dtype", "layout"):
        assert getattr(spec, field) == getattr(by_name, field)
    assert {role: len(names) for role, names in spec.outputs.items()} == dict.fromkeys(given["outputs"], 1)


EXPECTED: dict[str, dict[str, Any]] = {
    "yolox": {"color_order": "bgr", "scale": 1.0, "resize": "letterbox", "box_form": "cells", "cell_offset": 0.0},
    "picodet": {"color_order": "rgb", "mean": (0.485, 0.456, 0.406), "resize": "stretch", "cell_offset": 0.5},
    "nanodet": {"color_order": "bgr", "scale": 1.0, "cell_offset": 0.0, "strides": (8, 16, 32, 64)},
    "detr_final": {"size_inputs": {"orig_target_sizes": "width-height"}, "suppression": "unneeded", "sizes": "fixed"},
    "detr_logits": {"score_form": "sigmoid", "box_form": "cxcywh", "box_unit": "normalised"},
    "yolov5": {"resize": "letterbox-centred", "columns": ("box", "objectness", "classes"), "sizes": "fixed"},
    "yolov8": {"transposed": True, "columns": ("box", "classes"), "suppression": "added"},
    "suppressed": {"suppression": "inside", "box_form": "xyxy", "class_count": None},
    "suppressed_tensorflow": {"dtype": "uint8", "layout": "nhwc", "box_form": "yxyx", "label_base": 1},
    "ssd": {"background": "first", "class_count": CLASSES, "box_unit": "normalised"},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_a_family_assumes(name: str) -> None:
    spec = recognise(read(GRAPHS[name][0]()))
    assert {field: getattr(spec, field) for field in EXPECTED[name]} == EXPECTED[name]


def test_every_assumption_has_its_line_and_what_is_given_says_so() -> None:
    model = read(yolox())
    assumed = recognise(model).assumed
    for word in ("family", "color_order", "scale", "mean", "std", "resize", "pad_value", "strides", "score_form"):
        assert sum(line.startswith(f"{word}: ") for line in assumed) == 1, word
    spec = recognise(model, overrides={"color_order": "rgb", "mean": [1, 2, 3]})
    assert (spec.color_order, spec.mean) == ("rgb", (1.0, 2.0, 3.0))
    assert "color_order: rgb (given)" in spec.assumed and "mean: 1.0, 2.0, 3.0 (given)" in spec.assumed
    assert sum(line.startswith("mean") for line in spec.assumed) == 1


def test_a_custom_detector_from_a_spec_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(
        '{"outputs": {"rows": ["output"]}, "columns": ["box", "objectness", "classes"], "box_form": "cells",'
        ' "cell_offset": 0, "strides": [8, 16, 32], "color_order": "bgr", "scale": 1, "resize": "letterbox",'
        ' "nms_iou": 0.65}'
    )
    model = read(yolox())
    spec, auto = recognise(model, "custom", overrides=read_spec_file(path)), recognise(model)
    told = [name for name in DetectorSpec.__dataclass_fields__ if name not in ("family", "assumed")]
    assert {name: getattr(spec, name) for name in told} == {name: getattr(auto, name) for name in told}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"colour": "rgb"}, "key 'colour'"),
    ({"family": "yolox"}, "key 'family'"),
    ({"color_order": "grey"}, "color_order"),
    ({"mean": [1, 2]}, "mean"),
    ({"std": [1, 0, 1]}, "std"),
    ({"scale": "1/255"}, "scale"),
    ({"strides": [8, 16]}, "rows"),
    ({"columns": ["box", "box"]}, "columns"),
    ({"columns": ["box", "classes", "label", "batch"], "class_count": 4}, "class_count"),
    ({"outputs": {"rows": ["elsewhere"]}}, "no output 'elsewhere'"),
    ({"outputs": {"boxes": ["output"]}}, "outputs"),
    ({"outputs": {"boxes": ["output"], "scores": ["output"]}}, "numbers"),
    ({"class_count": 80}, "class_count"),
    ({"nms_iou": 1.5}, "nms_iou"),
    ({"pad_value": 300}, "pad_value"),
]


@pytest.mark.parametrize(("given", "named"), WRONG, ids=lambda value: str(value)[:40])
def test_values_that_make_no_sense(given: dict[str, Any], named: str) -> None:
    with pytest.raises(DetectorSpecError, match="detector spec") as caught:
        recognise(read(yolox()), overrides=given)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{", b'{"colour": "rgb"}', b'{"scale": NaN}', b'{"scale": 1, "scale": 2}', b" " * 70_000]
)
def test_spec_files_that_are_none(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_bytes(raw)
    with pytest.raises(DetectorSpecError, match=r"spec\.json"):
        read_spec_file(path)
    with pytest.raises(DetectorSpecError, match="No such file"):
        read_spec_file(tmp_path / "none.json")


def test_a_family_that_it_is_not() -> None:
    with pytest.raises(DetectorUnknown, match="the detector is no picodet") as caught:
        recognise(read(yolox()), "picodet")
    assert caught.value.code == "detector-unknown" and caught.value.exit_status == 2
    with pytest.raises(DetectorSpecError, match="custom"):
        recognise(read(yolox()), "custom")


def classifier(shape: tuple[int, ...] = (1, 3, 64, 96), dtype: str = "float32") -> onnx.ModelProto:
    s = Sketch()
    image = s.input("image", shape, dtype)
    s.op("ReduceMean", s.op("Cast", image, to=1), axes=[2, 3], keepdims=0, name="logits") if len(shape) == 4 else s.op(
        "Identity", image, name="logits"
    )
    s.output("logits", ("N", "C"))
    return s.model(13)


@pytest.mark.parametrize(
    "model",
    [
        classifier(),
        classifier((1, 1, 64, 96)),
        classifier((1, 3)),
        classifier((1, 3, 64, 96), "int64"),
        yolov8(batch=2),
    ],
    ids=["classifier", "grey", "rank 2", "int64 picture", "batch of two"],
)
def test_no_detector(model: onnx.ModelProto) -> None:
    with pytest.raises(DetectorUnknown):
        recognise(read(model))


def test_another_task_is_told_from_the_metadata() -> None:
    model = yolov8()
    onnx.helper.set_model_props(model, {"task": "pose"})
    with pytest.raises(DetectorUnknown, match="pose"):
        recognise(read(model))


def test_an_input_that_is_none_of_those_known() -> None:
    s = Sketch()
    s.input("image", (1, 3, 64, 96))
    s.op("Mul", s.input("temperature", (1,)), s.constant([2.0]), name="boxes")
    s.output("boxes", (1,))
    with pytest.raises(DetectorUnknown, match="temperature"):
        recognise(read(s.model()))


def free_axes() -> onnx.ModelProto:
    model = suppressed_rows()
    for axis, name in ((2, "height"), (3, "width")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    return model


def test_control_flow_in_the_graph() -> None:
    """Shapes behind an If are not followed, and need not be."""
    model = suppressed()
    graph = model.graph
    branches = [
        helper.make_graph(
            [helper.make_node("Identity", ["conf"], [name])], name, [], [helper.make_tensor_value_info(name, 1, None)]
        )
        for name in ("yes", "no")
    ]
    graph.initializer.append(helper.make_tensor("always", TensorProto.BOOL, (), [True]))
    graph.node.append(helper.make_node("If", ["always"], ["sure"], then_branch=branches[0], else_branch=branches[1]))
    graph.output[1].name = "sure_conf"
    graph.node.append(helper.make_node("Identity", ["sure"], ["sure_conf"]))
    spec = recognise(read(model))
    assert spec.family == "suppressed"
    wrapped = wrap_detector(read(model), spec, height_px=64, width_px=96, classes=("ant", "bee", "cat"))
    plain = wrap_detector(
        read(suppressed()), recognise(read(suppressed())), height_px=64, width_px=96, classes=("ant", "bee", "cat")
    )
    image = np.random.RandomState(0).randint(0, 256, (1, 64, 96, 3)).astype(np.uint8)
    found, wanted = (run_onnxruntime(graph, {"image": image}) for graph in (wrapped, plain))
    assert len(wanted["scores"]) > 0
    np.testing.assert_array_equal(found["boxes"], wanted["boxes"])


def test_free_axes_need_a_size() -> None:
    with pytest.raises(DetectorSize, match="--size") as caught:
        recognise(read(free_axes()))
    assert caught.value.code == "detector-size"
    half_free = free_axes()
    half_free.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 96
    with pytest.raises(DetectorSize, match="got 64x128, expected anyx96"):
        recognise(read(half_free), size_px=(64, 128))
    spec = recognise(read(free_axes()), size_px=SIZE)
    assert (spec.height_px, spec.width_px) == SIZE


def test_a_size_that_is_given_as_free_must_be_so() -> None:
    assert recognise(read(yolox()), overrides={"sizes": "fixed"}).sizes == "fixed"
    assert recognise(read(GRAPHS["ssd"][0]())).sizes == "fixed"
    with pytest.raises(DetectorError) as caught:
        recognise(read(GRAPHS["yolov5"][0]()), overrides={"sizes": "free"})
    assert isinstance(caught.value, DetectorSize)


def test_the_guide_lists_every_family_and_every_field() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs/your-detector.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    told = {word for row in rows for word in row.split("`")[1::2]}
    assert {family for family in FAMILIES if family != "custom"} <= told
    assert set(GIVEN) <= told
