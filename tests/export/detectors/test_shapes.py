"""Grid constants: what a reshape means at another size."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from detector_graphs import Sketch

from lsts_edge.errors import DetectorSize
from lsts_edge.export.detectors.shapes import reshaped_like, shapes_at, with_size

CASES = [
    ((1, 96, 52, 52), (1, 2, 48, 52, 52), (1, 96, 8, 14), (1, 2, 48, 8, 14)),
    ((1, 2, 48, 52, 52), (1, 96, 52, 52), (1, 2, 48, 8, 14), (1, 96, 8, 14)),
    ((1, 80, 52, 52), (1, 80, 2704), (1, 80, 8, 14), (1, 80, 112)),
    ((1, 3, 13, 13, 8), (1, 507, 8), (1, 3, 4, 7, 8), (1, 84, 8)),
    ((1, 64, 20, 20), (1, 8, 8, 20, 20), (1, 64, 10, 30), (1, 8, 8, 10, 30)),
    ((1, 20, 20, 20), (1, 20, 400), (1, 20, 10, 30), (1, 20, 300)),
    ((1, 8, 4, 4), (8, 16), (1, 8, 2, 6), (8, 12)),
    ((1, 8, 1, 1), (1, 8), (1, 8, 1, 1), (1, 8)),
    ((1, 8, 16, 16), (1, 8, 2, 8, 16), (1, 8, 24, 16), None),
    ((1, 8, 16, 16), (1, 2048), (1, 8, 16), None),
]


@pytest.mark.parametrize(("old_in", "old_out", "new_in", "wanted"), CASES)
def test_reshaped_like(old_in, old_out, new_in, wanted) -> None:  # type: ignore[no-untyped-def]
    assert reshaped_like(old_in, old_out, new_in) == wanted


def sized(size: tuple[int, int], kind: str) -> onnx.ModelProto:
    s = Sketch()
    image = s.input("image", (1, 3, *size))
    if kind == "resize":
        half = s.op("MaxPool", image, kernel_shape=[2, 2], strides=[2, 2])
        sizes = s.constant((1, 3, *size), "int64")
        result = s.op("Add", image, s.op("Resize", half, "", "", sizes, mode="nearest"))
    elif kind == "computed":
        ends = [s.constant(v, "int64") for v in ([2], [9], [0])]
        grid = s.op("Slice", s.op("Shape", image), *ends)
        target = s.op("Concat", s.constant([1, 3], "int64"), s.op("Mul", grid, s.constant([1], "int64")), axis=0)
        result = s.op("Reshape", image, target)
    else:  # a constant as large as the grid
        result = s.op("Add", image, s.constant(np.ones((1, 1, *size))))
    s.op("Identity", result, name="output")
    s.output("output", (1, 3, *size))
    return s.model()


@pytest.mark.parametrize("kind", ["resize", "computed"])
def test_resize_and_computed_shapes(kind: str) -> None:
    model = sized((32, 64), kind)
    changed, shapes = with_size(model, ({"image": (1, 3, 32, 64)}, {}), ({"image": (1, 3, 96, 32)}, {}))
    assert shapes.of["output"] == (1, 3, 96, 32)
    assert [d.dim_value for d in changed.graph.output[0].type.tensor_type.shape.dim] == [1, 3, 96, 32]
    assert len(changed.graph.initializer) - len(model.graph.initializer) == (kind == "resize")


def test_a_constant_as_large_as_the_grid_fixes_the_size() -> None:
    model = sized((32, 64), "constant")
    assert shapes_at(model, {"image": (1, 3, 32, 64)}, {}).of["output"] == (1, 3, 32, 64)
    with pytest.raises(DetectorSize, match="node Add"):
        with_size(model, ({"image": (1, 3, 32, 64)}, {}), ({"image": (1, 3, 96, 32)}, {}))
