"""A bundle written by hand in a few lines: tiny ONNX graphs made from protobuf bytes, no torch, no onnx."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from lsts_edge import __version__
from lsts_edge.bundle import Bundle, write_bundle
from lsts_edge.bundle.manifest import (
    DetectionInfo,
    GraphInfo,
    InputInfo,
    Manifest,
    PropagationInfo,
    StateInfo,
    Step,
    TensorInfo,
    WeightsInfo,
)
from lsts_edge.presets import get_preset

__all__ = [
    "black_gives_nan_bundle",
    "field",
    "hand_made_files",
    "hand_made_manifest",
    "head_model",
    "model",
    "node",
    "tensor",
    "write_hand_made_bundle",
]

_FLOAT, _UINT8, _INT64 = 1, 2, 7


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, value: int | bytes | str) -> bytes:
    """One protobuf field: a varint for an integer, length-delimited for bytes or text."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(name: str, array: np.ndarray, extra: bytes = b"") -> bytes:
    """An ``onnx.TensorProto`` with raw data; ``extra`` fields are appended."""
    data_type = {"float32": _FLOAT, "int64": _INT64}[str(array.dtype)]
    dims = b"".join(field(1, size) for size in array.shape)
    return dims + field(2, data_type) + field(8, name) + field(9, array.tobytes()) + extra


def value_info(name: str, data_type: int, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(field(1, field(1, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, data_type) + field(2, dims)))


def node(op: str, inputs: list[str], outputs: list[str], attributes: bytes = b"") -> bytes:
    names = b"".join(field(1, name) for name in inputs) + b"".join(field(2, name) for name in outputs)
    return names + field(4, op) + attributes


def model(graph: bytes, extra: bytes = b"") -> bytes:
    """An ``onnx.ModelProto`` of IR 10 and opset 18 around the fields of a graph."""
    return field(1, 10) + field(7, graph) + field(8, field(2, 18)) + extra


def heavy_model(height_px: int = 64, width_px: int = 96) -> bytes:
    """image -> its mean colour, ``feature (1, 3)``."""
    graph = (
        field(1, node("Cast", ["image"], ["image_f32"], _int_attribute("to", _FLOAT)))
        + field(1, node("ReduceMean", ["image_f32", "axes"], ["feature"], _int_attribute("keepdims", 0)))
        + field(2, "heavy")
        + field(5, tensor("axes", np.array([1, 2], np.int64)))
        + field(11, value_info("image", _UINT8, (1, height_px, width_px, 3)))
        + field(12, value_info("feature", _FLOAT, (1, 3)))
    )
    return model(graph)


def blend_model() -> bytes:
    """memory, feature -> task, the mean of both: a state that every frame changes."""
    graph = (
        field(1, node("Add", ["memory", "feature"], ["both"]))
        + field(1, node("Mul", ["both", "half"], ["task"]))
        + field(2, "blend")
        + field(5, tensor("half", np.full((), 0.5, np.float32)))
        + b"".join(field(11, value_info(name, _FLOAT, (1, 3))) for name in ("memory", "feature"))
        + field(12, value_info("task", _FLOAT, (1, 3)))
    )
    return model(graph)


def head_model(
    extra_graph: bytes = b"", extra_model: bytes = b"", tensor_extra: bytes = b"", shift: bytes | None = None
) -> bytes:
    """task -> one box that moves with the brightest colour, its score and its label.

    ``extra_*`` bytes are appended to the graph, the model and the first tensor: where attacks go in. ``shift`` works
    out in another way how far the box moves: nodes and constants.
    """
    box = np.array([[8, 8, 40, 40]], np.float32)
    by_colour = field(1, node("ReduceMax", ["task"], ["brightest"], _int_attribute("keepdims", 0)))
    by_colour += field(1, node("Mul", ["brightest", "step"], ["shift"]))
    graph = (
        (by_colour if shift is None else shift)
        + field(1, node("Add", ["box", "shift"], ["boxes"]))
        + field(1, node("Identity", ["score"], ["scores"]))
        + field(1, node("Identity", ["label"], ["labels"]))
        + field(2, "head")
        + field(5, tensor("box", box, tensor_extra))
        + field(5, tensor("step", np.full((), 0.01, np.float32)))
        + field(5, tensor("score", np.array([0.75], np.float32)))
        + field(5, tensor("label", np.array([0], np.int64)))
        + field(11, value_info("task", _FLOAT, (1, 3)))
        + field(12, value_info("boxes", _FLOAT, (1, 4)))
        + field(12, value_info("scores", _FLOAT, (1,)))
        + field(12, value_info("labels", _INT64, (1,)))
    )
    return model(graph + extra_graph, extra_model)


def hand_made_files() -> dict[str, bytes]:
    """File name -> bytes of the hand-made bundle."""
    return {
        "heavy.onnx": heavy_model(),
        "blend.onnx": blend_model(),
        "head.onnx": head_model(),
        "golden/note.txt": b"a file in a folder\n",
    }


def hand_made_manifest() -> Manifest:
    """Keyframes keep their own mean colour, propagated frames blend it with the memory."""
    feature, task, memory = (TensorInfo(name, "float32", (1, 3)) for name in ("feature", "task", "memory"))
    boxes = (
        TensorInfo("boxes", "float32", (1, 4)),
        TensorInfo("scores", "float32", (1,)),
        TensorInfo("labels", "int64", (1,)),
    )
    detect = Step("head", {"task": "task"}, {"boxes": "boxes", "scores": "scores", "labels": "labels"})
    keyframe = (Step("heavy", {"image": "image"}, {"feature": "task"}), detect)
    propagated = (
        Step("heavy", {"image": "image"}, {"feature": "feature"}),
        Step("blend", {"memory": "task", "feature": "feature"}, {"task": "task"}),
        detect,
    )
    preset = dataclasses.replace(get_preset("lsts-tiny"), name="hand-made")
    return Manifest(
        name=preset.name,
        tools={"lsts_edge": __version__},
        weights=WeightsInfo("random", "Apache-2.0", "no weights, a few constants", seed=0),
        preset=preset,
        input=InputInfo(height_px=64, width_px=96, resize="letterbox", pad_value=114),
        classes=("person", "rider", "vehicle", "bird", "quadruped"),
        graphs={
            "heavy": GraphInfo(
                (TensorInfo("image", "uint8", (1, 64, 96, 3)),), (feature,), {"default": "heavy.onnx"}, 0, 18432
            ),
            "blend": GraphInfo((memory, feature), (task,), {"default": "blend.onnx"}, 1, 3),
            "head": GraphInfo((task,), boxes, {"default": "head.onnx"}, 7, 5),
        },
        state=(StateInfo("task", "float32", (1, 3)),),
        programs={"first": keyframe, "keyframe": keyframe, "propagated": propagated},
        joined={},
        lsts=None,
        features=("task",),
        propagation=PropagationInfo.only("features", 10),
        detection=DetectionInfo(0.05, 20, 0.3, corners="inclusive"),
        parity=None,
    )


def write_hand_made_bundle(path: Path, **options: bool) -> Bundle:
    """Write the hand-made bundle to ``path``."""
    return write_bundle(path, hand_made_manifest(), hand_made_files(), **options)


def black_gives_nan_bundle(path: Path) -> Path:
    """The hand-made bundle with a heavy graph that divides by the mean colour: 0 / 0 on a black frame."""
    graph = (
        field(1, node("Cast", ["image"], ["image_f32"], _int_attribute("to", 1)))
        + field(1, node("ReduceMean", ["image_f32", "axes"], ["mean"], _int_attribute("keepdims", 0)))
        + field(1, node("Div", ["mean", "mean"], ["one"]))
        + field(1, node("Mul", ["mean", "one"], ["feature"]))
        + field(2, "heavy")
        + field(5, tensor("axes", np.array([1, 2], np.int64)))
        + field(11, value_info("image", 2, (1, 64, 96, 3)))
        + field(12, value_info("feature", 1, (1, 3)))
    )
    write_bundle(path, hand_made_manifest(), {**hand_made_files(), "heavy.onnx": model(graph)})
    return path


def _int_attribute(name: str, value: int) -> bytes:
    return field(5, field(1, name) + field(3, value) + field(20, 2))
