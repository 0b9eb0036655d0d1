"""The same detector at another input size, its inputs but the picture made constants."""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from lsts_edge.errors import DetectorSize
from lsts_edge.export.detectors.shapes import Shape, Shapes, with_size
from lsts_edge.export.detectors.spec import DetectorSpec
from lsts_edge.export.detectors.view import input_values

__all__ = ["resized"]


def resized(model: onnx.ModelProto, spec: DetectorSpec, height_px: int, width_px: int) -> onnx.ModelProto:
    """The raw network at ``height_px`` x ``width_px``: one input, the outputs it always had.

    Args:
        model: as ``read_detector`` gives it; not changed.
        spec: as ``recognise`` gives it.
        height_px: a multiple of ``spec.size_multiple_px``, or the file's own.
        width_px: likewise.

    Raises:
        DetectorSize: if the detector cannot run at this size.
    """
    own = (spec.height_px, spec.width_px)
    if (height_px, width_px) != own:
        if spec.sizes == "fixed":
            raise _wrong(height_px, width_px, f"{own[0]}x{own[1]}, the only size of this detector")
        multiple = spec.size_multiple_px
        if height_px % multiple or width_px % multiple or not all(32 <= side <= 4096 for side in (height_px, width_px)):
            raise _wrong(height_px, width_px, f"multiples of {multiple} from 32 to 4096")
    after = input_values(model, spec.size_inputs, height_px, width_px)
    before = input_values(model, spec.size_inputs, *own)
    old = {spec.image_input: _picture(spec, *own), **{name: value.shape for name, value in before.items()}}
    new = {**old, spec.image_input: _picture(spec, height_px, width_px)}
    changed, shapes = with_size(model, (old, before), (new, after))
    _check_rows(spec, shapes, height_px, width_px)
    for name, value in after.items():
        changed.graph.initializer.append(numpy_helper.from_array(value, name))
    kept = [info for info in changed.graph.input if info.name not in after]
    del changed.graph.input[:]
    changed.graph.input.extend(kept)
    return changed


def _picture(spec: DetectorSpec, height_px: int, width_px: int) -> Shape:
    return (1, 3, height_px, width_px) if spec.layout == "nchw" else (1, height_px, width_px, 3)


def _check_rows(spec: DetectorSpec, shapes: Shapes, height_px: int, width_px: int) -> None:
    """As many rows as the size has cells: a grid that stayed behind would give boxes in wrong places."""
    if not spec.strides:
        return
    axis = -1 if spec.transposed else -2
    names = spec.outputs.get("rows") or spec.outputs["scores"]
    rows = sum(shapes.of[name][axis] if name in shapes.of else 0 for name in names)
    cells = sum(-(-height_px // stride) * -(-width_px // stride) for stride in spec.strides)
    if rows != cells:
        raise _wrong(height_px, width_px, f"{cells} rows of outputs there, not {rows}")


def _wrong(height_px: int, width_px: int, expected: str) -> DetectorSize:
    fix = "Give a size that the detector can run at, or leave --size out."
    return DetectorSize("the detector's input size", got=f"{height_px}x{width_px}", expected=expected, fix=fix)
