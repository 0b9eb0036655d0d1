"""A detector's inputs and outputs at one size, as the families look at them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from lsts_edge.errors import DetectorSize, DetectorUnknown
from lsts_edge.export.detectors.shapes import Shape, Shapes, shapes_at

__all__ = ["Output", "View", "input_values", "view_of"]

_DTYPES = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.FLOAT16: "float16", onnx.TensorProto.UINT8: "uint8"}
_WHOLE = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
# Nodes that move numbers and change none: what a score went through is looked for behind them.
_MOVES = {
    "Cast", "Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape", "Slice",
    "Split", "Squeeze", "Tile", "TopK", "Transpose", "Unsqueeze",
}  # fmt: skip


@dataclass(frozen=True)
class Output:
    """One output: ``axes`` is its shape without the batch, None where a size is not known."""

    name: str
    axes: tuple[int | None, ...]
    batched: bool
    whole: bool
    made_by: frozenset[str]

    @property
    def probability(self) -> bool:
        """Whether a sigmoid or softmax made (some of) it."""
        return bool(self.made_by & {"Sigmoid", "Softmax", "HardSigmoid"})


@dataclass(frozen=True)
class View:
    """What can be seen of a model from outside, at ``height_px`` x ``width_px``."""

    model: onnx.ModelProto
    image: dict[str, Any]
    height_px: int
    width_px: int
    free_axes: bool
    size_inputs: Mapping[str, str]
    outputs: tuple[Output, ...]
    kinds: frozenset[str]
    shapes: Shapes
    metadata: Mapping[str, str] = field(default_factory=dict)

    def cells(self, *strides: int) -> int:
        """Cells of levels of these strides."""
        return sum(-(-self.height_px // stride) * -(-self.width_px // stride) for stride in strides)

    def output(self, name: str) -> Output | None:
        """The output of this name."""
        return next((output for output in self.outputs if output.name == name), None)

    def listed(self) -> str:
        """Inputs and outputs in words, for messages."""
        outputs = ", ".join(f"{o.name[:40]} {_axes(o.axes)}" for o in self.outputs[:8])
        more = f" and {len(self.outputs) - 8} more" if len(self.outputs) > 8 else ""
        return f"outputs {outputs}{more}"


def view_of(model: onnx.ModelProto, size_px: tuple[int, int] | None, given: Mapping[str, Any]) -> View:
    """Look at a model.

    Args:
        model: as ``read_detector`` gives it.
        size_px: height and width for an input with free axes; otherwise they are the file's.
        given: the user's ``image_input``, ``layout`` and ``size_inputs``, where there are.

    Raises:
        DetectorUnknown: if there is no one picture input, or an input that is none of those known.
        DetectorSize: if the input's axes are free and no size is given, or the graph fails at the size.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [info for info in model.graph.input if info.name not in stored]
    image, sides = _image_input(inputs, given)
    batch = image.pop("batch")
    if batch not in (None, 1):
        raise _unknown(f"input {image['image_input'][:60]}", f"a batch of {batch}", "a batch of one, or a free axis")
    height, width = _size(image["image_input"], sides, size_px)
    others = [info for info in inputs if info.name != image["image_input"]]
    rules = {info.name: _size_rule(info, given.get("size_inputs") or {}) for info in others}
    shape = (1, 3, height, width) if image["layout"] == "nchw" else (1, height, width, 3)
    values = {info.name: _value(rules[info.name], height, width, info.type.tensor_type.elem_type) for info in others}
    known: dict[str, Shape] = {image["image_input"]: shape, **{name: value.shape for name, value in values.items()}}
    shapes = shapes_at(model, known, values)
    producers = {name: node for node in model.graph.node for name in node.output}
    outputs = tuple(_output(info, shapes, producers) for info in model.graph.output)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    kinds = frozenset(node.op_type for node in model.graph.node)
    return View(model, image, height, width, None in sides, rules, outputs, kinds, shapes, metadata)


def input_values(
    model: onnx.ModelProto, size_inputs: Mapping[str, str], height_px: int, width_px: int
) -> dict[str, np.ndarray]:
    """The constants that take the place of the inputs other than the picture."""
    kinds = {info.name: info.type.tensor_type.elem_type for info in model.graph.input}
    return {name: _value(rule, height_px, width_px, kinds[name]) for name, rule in size_inputs.items()}


def _image_input(inputs: list[Any], given: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[int | None, int | None]]:
    """(its name, layout, dtype and batch, (height, width) where they are fixed)."""
    found = []
    for info in inputs:
        tensor = info.type.tensor_type
        axes = [axis.dim_value if axis.dim_value > 0 else None for axis in tensor.shape.dim]
        if len(axes) != 4 or tensor.elem_type not in _DTYPES or given.get("image_input", info.name) != info.name:
            continue
        layout = given.get("layout") or ("nhwc" if axes[3] == 3 and axes[1] != 3 else "nchw")
        if axes[1 if layout == "nchw" else 3] not in (3, None):
            continue
        sides = (axes[2], axes[3]) if layout == "nchw" else (axes[1], axes[2])
        image = {"image_input": info.name, "layout": layout, "dtype": _DTYPES[tensor.elem_type], "batch": axes[0]}
        found.append((image, sides))
    if len(found) != 1:
        listed = ", ".join(f"{i.name[:40]} of {len(i.type.tensor_type.shape.dim)} axes" for i in inputs[:6]) or "none"
        raise _unknown("its inputs", listed, "one picture: (1, 3, H, W) or (1, H, W, 3), float or uint8")
    return found[0]


def _size(name: str, sides: tuple[int | None, int | None], size_px: tuple[int, int] | None) -> tuple[int, int]:
    height, width = sides
    if height is not None and width is not None:
        return height, width
    if size_px is None:
        raise DetectorSize(
            f"input {name[:60]} has free height or width",
            got="no size",
            expected="the size to run it at, in pixels",
            fix="Give --size HEIGHTxWIDTH, as 416x416.",
        )
    fits = (height in (None, size_px[0])) and (width in (None, size_px[1]))
    if not fits:
        raise DetectorSize(
            f"input {name[:60]}", got=f"{size_px[0]}x{size_px[1]}", expected=f"{height or 'any'}x{width or 'any'}",
            fix="Give a size that the file takes.",
        )  # fmt: skip
    return size_px


def _size_rule(info: Any, given: Mapping[str, str]) -> str:
    """What a second input is: all known ones are ``(1, 2)``."""
    if info.name in given:
        return given[info.name]
    name, tensor = info.name.lower(), info.type.tensor_type
    axes = [axis.dim_value for axis in tensor.shape.dim]
    if len(axes) == 2 and axes[1] in (0, 2):
        if "scale" in name:
            return "ones"
        if "im_shape" in name:
            return "height-width"
        if tensor.elem_type in _WHOLE or "size" in name:
            return "width-height"
    expected = "a picture; a size or scale of shape (1, 2)"
    raise _unknown(f"input {info.name[:60]}", f"shape {axes}", expected, "Say what it is by size_inputs.")


def _value(rule: str, height_px: int, width_px: int, elem_type: int) -> np.ndarray:
    pair = {"width-height": (width_px, height_px), "height-width": (height_px, width_px), "ones": (1, 1)}[rule]
    return np.array([pair], dtype=onnx.helper.tensor_dtype_to_np_dtype(elem_type))


def _output(info: Any, shapes: Shapes, producers: Mapping[str, onnx.NodeProto]) -> Output:
    shape = shapes.partial(info.name)
    if shape is None:
        shape = tuple(axis.dim_value or None for axis in info.type.tensor_type.shape.dim)
    batched = len(shape) > 1 and shape[0] == 1
    return Output(
        info.name, shape[batched:], batched, info.type.tensor_type.elem_type in _WHOLE, _made_by(info.name, producers)
    )


def _made_by(name: str, producers: Mapping[str, onnx.NodeProto]) -> frozenset[str]:
    """Kinds of the nodes whose numbers arrive at ``name`` unchanged."""
    found, seen, waiting = set(), set(), [name]
    while waiting:
        node = producers.get(waiting.pop())
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if node.op_type in _MOVES:
            waiting += node.input if node.op_type == "Concat" else node.input[:1]
        else:
            found.add(node.op_type)
    return frozenset(found)


def _axes(axes: tuple[int | None, ...]) -> str:
    return "x".join("?" if size is None else str(size) for size in axes)


def _unknown(what: str, got: object, expected: object, fix: str = "") -> DetectorUnknown:
    fix = fix or "Export the detector for one picture; docs/your-detector.md lists what is known."
    return DetectorUnknown(f"the detector's {what.removeprefix('its ')}", got=got, expected=expected, fix=fix)
