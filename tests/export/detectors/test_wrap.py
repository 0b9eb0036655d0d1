"""Wrapped detectors: equal to a NumPy decoder of the original's outputs, on both engines, at every size they run at."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from detector_graphs import CLASSES, GRAPHS, SIZE, boxes_and_chances, detr_final, picodet, suppressed_tensorflow, yolox
from export_engines import Run, run_onnxruntime

from lsts_edge.errors import DetectorSize, DetectorSpecError, OptionError
from lsts_edge.export.detectors import DetectorSpec, read_detector, recognise, resized, wrap_detector
from lsts_edge.export.detectors.reference import reference_detections, reference_feeds

NAMES = ("person", "car", "dog")
PARTS = ("boxes", "scores", "labels")
LIMITS = {"score_floor": 0.05, "nms_iou": 0.2, "max_detections": 40, "candidates": 60}


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Blobs of colour: neighbouring cells see much the same, so that there is something to suppress."""
    random = np.random.RandomState(seed)
    coarse = random.randint(0, 256, (1, size[0] // 16, size[1] // 16, 3))
    noise = random.randint(-20, 20, (1, *size, 3))
    return np.clip(coarse.repeat(16, 1).repeat(16, 2) + noise, 0, 255).astype(np.uint8)


def expected(model: onnx.ModelProto, spec: DetectorSpec, image: np.ndarray, **limits: Any) -> dict[str, np.ndarray]:
    """The original's outputs, decoded in NumPy."""
    height, width = image.shape[1:3]
    outputs = run_onnxruntime(model, reference_feeds(spec, image))
    found = reference_detections(
        spec, outputs, height_px=height, width_px=width, class_count=CLASSES, **{**LIMITS, **limits}
    )
    return dict(zip(PARTS, found, strict=True))


def wrapped(model: onnx.ModelProto, spec: DetectorSpec, size: tuple[int, int] = SIZE, **limits: Any) -> onnx.ModelProto:
    read = read_detector(model.SerializeToString())
    return wrap_detector(read, spec, height_px=size[0], width_px=size[1], classes=NAMES, **{**LIMITS, **limits})


def same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found["boxes"].dtype == np.float32 and found["scores"].dtype == np.float32
    assert found["labels"].dtype == np.int64
    assert found["boxes"].shape == wanted["boxes"].shape
    np.testing.assert_allclose(found["scores"], wanted["scores"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(found["boxes"], wanted["boxes"], atol=1e-4 * max(SIZE), rtol=1e-4)
    np.testing.assert_array_equal(found["labels"], wanted["labels"])


@pytest.mark.parametrize("make", [*(make for make, _ in GRAPHS.values()), boxes_and_chances], ids=lambda f: f.__name__)
def test_equals_the_numpy_decoder(make: Callable[[], onnx.ModelProto], run: Run) -> None:
    model = make()
    spec = recognise(read_detector(model.SerializeToString()))
    graph = wrapped(model, spec)
    kinds = {name: (info.type.tensor_type, info.name) for name, info in zip(PARTS, graph.graph.output, strict=True)}
    assert [name for _, name in kinds.values()] == list(PARTS)
    assert {entry.domain for entry in graph.opset_import} == {""} and graph.ir_version == 10
    boxes = 0
    for seed in range(3):
        image = picture(SIZE, seed)
        wanted = expected(model, spec, image)
        same(run(graph, {"image": image}), wanted)
        boxes += len(wanted["scores"])
    assert boxes > 3, "a test of nothing"


@pytest.mark.parametrize("limits", [{"candidates": 7}, {"max_detections": 2}, {"score_floor": 0.35}, {"nms_iou": 0.05}])
def test_limits(limits: dict[str, Any], run: Run) -> None:
    model, image = yolox(), picture(SIZE)
    spec = recognise(read_detector(model.SerializeToString()))
    wanted = expected(model, spec, image, **limits)
    assert len(wanted["scores"]) not in (0, len(expected(model, spec, image)["scores"]))
    same(run(wrapped(model, spec, **limits), {"image": image}), wanted)


@pytest.mark.parametrize("make", [yolox, detr_final, suppressed_tensorflow], ids=lambda f: f.__name__)
def test_nothing_found_is_no_box(make: Callable[[], onnx.ModelProto], run: Run) -> None:
    model = make()
    spec = recognise(read_detector(model.SerializeToString()))
    found = run(wrapped(model, spec, score_floor=0.999), {"image": picture(SIZE)})
    assert [found[part].shape for part in PARTS] == [(0, 4), (0,), (0,)]


CHANGES = [
    (yolox, {"color_order": "rgb"}),
    (yolox, {"score_form": "sigmoid"}),
    (yolox, {"cell_offset": 0.5}),
    (yolox, {"suppression": "unneeded"}),
    (picodet, {"color_order": "bgr"}),
    (picodet, {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}),
    (picodet, {"scale": 1.0}),
    (detr_final, {"suppression": "added"}),
    (detr_final, {"label_base": 1}),
    (detr_final, {"box_form": "cxcywh"}),
    (boxes_and_chances, {"box_unit": "normalised"}),
    (boxes_and_chances, {"background": "first", "class_count": CLASSES}),
]


@pytest.mark.parametrize(("make", "given"), CHANGES, ids=lambda value: str(value) if isinstance(value, dict) else "")
def test_every_assumption_counts(make: Callable[..., onnx.ModelProto], given: dict[str, Any]) -> None:
    """A value that is given changes the boxes, and the graph still equals the reference."""
    model, image = make(), picture(SIZE)
    read = read_detector(model.SerializeToString())
    if "background" in given:
        with pytest.raises(DetectorSpecError, match="class_count"):  # three scores are two classes and background
            recognise(read, overrides=given)
        return
    before, spec = expected(model, recognise(read), image), recognise(read, overrides=given)
    wanted = expected(model, spec, image)
    same(run_onnxruntime(wrapped(model, spec), {"image": image}), wanted)
    assert len(wanted["scores"])
    assert any(not np.array_equal(before[part], wanted[part]) for part in PARTS)


def test_background_and_softmax_from_logits(run: Run) -> None:
    """The last class is none: scores that are a softmax still to be taken."""
    model = detr_logits_with_background()
    given = {"score_form": "softmax", "background": "last"}
    spec = recognise(read_detector(model.SerializeToString()), overrides=given)
    assert spec.class_count == CLASSES - 1
    image = picture(SIZE)
    outputs = run_onnxruntime(model, reference_feeds(spec, image))
    limits = {**LIMITS, "class_count": CLASSES - 1}
    found = reference_detections(spec, outputs, height_px=SIZE[0], width_px=SIZE[1], **limits)
    read = read_detector(model.SerializeToString())
    graph = wrap_detector(read, spec, height_px=SIZE[0], width_px=SIZE[1], classes=NAMES[:2], **LIMITS)
    same(run(graph, {"image": image}), dict(zip(PARTS, found, strict=True)))
    assert len(found[1]) > 3


def detr_logits_with_background() -> onnx.ModelProto:
    return GRAPHS["detr_logits"][0]()


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (96, 160), (160, 64), (224, 128)])
def test_a_baked_channel_shuffle_works_at_every_multiple_of_32(size: tuple[int, int], run: Run) -> None:
    """Against the same network whose shuffle gathers channels, in which no grid is written."""
    baked = picodet(SIZE)
    plain = picodet(size, shuffle=False)
    spec = recognise(read_detector(baked.SerializeToString()))
    image = picture(size)
    network = resized(read_detector(baked.SerializeToString()), spec, *size)
    feeds = reference_feeds(spec, image)
    found = run(network, feeds)
    for name, value in run_onnxruntime(plain, feeds).items():  # OpenVINO 2026.4 folds such a Gather wrongly
        np.testing.assert_allclose(found[name], value, atol=1e-5, rtol=1e-4)
    there = dataclasses.replace(spec, height_px=size[0], width_px=size[1])
    same(run(wrapped(baked, spec, size), {"image": image}), expected(plain, there, image))


def test_the_size_of_the_file_changes_no_constant() -> None:
    model = read_detector(picodet().SerializeToString())
    same_size = resized(model, recognise(model), *SIZE)
    assert [t.SerializeToString() for t in same_size.graph.initializer] == [
        t.SerializeToString() for t in model.graph.initializer
    ]
    assert same_size.graph.node == model.graph.node


@pytest.mark.parametrize("size", [(32, 64), (128, 96)])
def test_a_size_input_becomes_a_constant_and_free_axes_are_fixed(size: tuple[int, int], run: Run) -> None:
    model = detr_final(size)
    spec = recognise(read_detector(model.SerializeToString()))
    graph = wrapped(model, spec, size)
    assert [info.name for info in graph.graph.input] == ["image"]
    image = picture(size)
    same(run(graph, {"image": image}), expected(model, spec, image))


@pytest.mark.parametrize(
    ("name", "size"), [("yolox", (64, 100)), ("yolox", (0, 64)), ("detr_final", (96, 96)), ("yolov5", (96, 96))]
)
def test_a_size_that_cannot_be(name: str, size: tuple[int, int]) -> None:
    model = GRAPHS[name][0]()
    spec = recognise(read_detector(model.SerializeToString()))
    with pytest.raises(DetectorSize):
        wrapped(model, spec, size)


@pytest.mark.parametrize("wrong", [{"score_floor": 1.0}, {"nms_iou": 0.0}, {"max_detections": 0}, {"candidates": 0}])
def test_limits_out_of_range(wrong: dict[str, Any]) -> None:
    model = yolox()
    with pytest.raises(OptionError):
        wrapped(model, recognise(read_detector(model.SerializeToString())), **wrong)


def test_as_many_names_as_classes() -> None:
    model = read_detector(yolox().SerializeToString())
    with pytest.raises(DetectorSpecError, match="got 2 names, expected 3"):
        wrap_detector(model, recognise(model), height_px=64, width_px=96, classes=NAMES[:2])


def test_the_models_given_are_not_changed() -> None:
    model = read_detector(picodet().SerializeToString())
    before = model.SerializeToString()
    wrap_detector(model, recognise(model), height_px=128, width_px=128, classes=NAMES)
    assert model.SerializeToString() == before
