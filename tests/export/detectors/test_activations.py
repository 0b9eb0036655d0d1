"""A hard swish in pieces is written as one, in every order of its steps, and nothing that only looks like it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from detector_graphs import Sketch
from export_engines import Run, run_onnxruntime

from lsts_edge.export.detectors.activations import join_hard_swish

SHAPE = (1, 4, 5, 6)


def _clip(sketch: Sketch, value: str, shift: float = 3.0, low: float = 0.0, high: float = 6.0) -> str:
    moved = sketch.op("Add", sketch.constant(shift), value)
    return str(sketch.op("Clip", moved, sketch.constant(low), sketch.constant(high)))


def paddle(sketch: Sketch, x: str) -> str:
    return str(sketch.op("Div", sketch.op("Mul", x, _clip(sketch, x)), sketch.constant(6.0)))


def gate_first(sketch: Sketch, x: str) -> str:
    return str(sketch.op("Mul", sketch.op("Div", _clip(sketch, x), sketch.constant([6.0])), x))


def by_a_sixth(sketch: Sketch, x: str) -> str:
    return str(sketch.op("Mul", sketch.constant(1 / 6), sketch.op("Mul", _clip(sketch, x), x)))


def hard_sigmoid(sketch: Sketch, x: str) -> str:
    return str(sketch.op("Mul", x, sketch.op("HardSigmoid", x, alpha=1 / 6, beta=0.5)))


def other_shift(sketch: Sketch, x: str) -> str:
    return str(sketch.op("Div", sketch.op("Mul", x, _clip(sketch, x, shift=2.0)), sketch.constant(6.0)))


def other_limit(sketch: Sketch, x: str) -> str:
    return str(sketch.op("Div", sketch.op("Mul", x, _clip(sketch, x, high=7.0)), sketch.constant(6.0)))


def other_divisor(sketch: Sketch, x: str) -> str:
    return str(sketch.op("Div", sketch.op("Mul", x, _clip(sketch, x)), sketch.constant(5.0)))


def other_value(sketch: Sketch, x: str) -> str:
    """As in squeeze and excitation: the gate is of something else."""
    gate = sketch.op("HardSigmoid", sketch.op("GlobalAveragePool", x), alpha=1 / 6, beta=0.5)
    return str(sketch.op("Mul", x, gate))


def default_sigmoid(sketch: Sketch, x: str) -> str:
    return str(sketch.op("Mul", x, sketch.op("HardSigmoid", x)))


def a_divisor_for_each_channel(sketch: Sketch, x: str) -> str:
    divisor = sketch.constant(np.full((1, 4, 1, 1), 6.0))
    return str(sketch.op("Div", sketch.op("Mul", x, _clip(sketch, x)), divisor))


Make = Callable[[Sketch, str], str]


def _model(make: Make) -> onnx.ModelProto:
    sketch = Sketch()
    x = sketch.op("Identity", sketch.input("x", SHAPE))
    sketch.output(make(sketch, make(sketch, x)), SHAPE)
    return sketch.model()


def _joined(model: onnx.ModelProto) -> tuple[int, onnx.ModelProto]:
    graph = gs.import_onnx(model)
    count = join_hard_swish(graph)
    joined = gs.export_onnx(graph.cleanup().toposort())
    onnx.checker.check_model(joined)
    return count, joined


@pytest.mark.parametrize("make", [paddle, gate_first, by_a_sixth, hard_sigmoid], ids=lambda make: make.__name__)
def test_its_steps_become_one_and_the_numbers_stay(make: Make, run: Run) -> None:
    model = _model(make)
    count, joined = _joined(model)
    assert count == 2
    assert Counter(node.op_type for node in joined.graph.node) == {"HardSwish": 2, "Identity": 1}
    feeds = {"x": np.linspace(-8, 8, np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)}
    ((found,), (wanted,)) = (run(joined, feeds).values(), run_onnxruntime(model, feeds).values())
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [other_shift, other_limit, other_divisor, other_value, default_sigmoid, a_divisor_for_each_channel],
    ids=lambda make: make.__name__,
)
def test_what_only_looks_like_it_stays(make: Make) -> None:
    model = _model(make)
    count, joined = _joined(model)
    assert count == 0
    assert Counter(node.op_type for node in joined.graph.node) == Counter(node.op_type for node in model.graph.node)


def test_a_step_that_somebody_else_reads_stays_too() -> None:
    sketch = Sketch()
    x = sketch.op("Identity", sketch.input("x", SHAPE))
    gate = _clip(sketch, x)
    sketch.output(sketch.op("Identity", gate, name="gate"), SHAPE)
    sketch.output(sketch.op("Div", sketch.op("Mul", x, gate), sketch.constant(6.0), name="y"), SHAPE)
    model = sketch.model()
    count, joined = _joined(model)
    assert count == 1
    feeds = {"x": np.linspace(-8, 8, np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)}
    found, wanted = run_onnxruntime(joined, feeds), run_onnxruntime(model, feeds)
    np.testing.assert_array_equal(found["gate"], wanted["gate"])
    np.testing.assert_allclose(found["y"], wanted["y"], rtol=1e-5, atol=1e-6)
