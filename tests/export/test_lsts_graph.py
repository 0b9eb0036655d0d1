"""The three forms of the LSTS subgraph against the op's NumPy reference."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from export_engines import run_onnxruntime

from lsts_edge.errors import ExportError
from lsts_edge.export.lsts_graph import LSTS_FORMS, lsts_graph, taps_within
from lsts_edge.opspec import LSTS, lsts_conditioning, lsts_reference
from lsts_edge.taps import tap_plan

FORMS_IN_STANDARD_OPS = ("taps", "gridsample")
"""``custom`` is run in tests/custom_ops and, whole bundles, in tests/test_verification.py."""


def _inputs(seed: int, embedded: int, channels: int, height: int, width: int) -> dict[str, np.ndarray]:
    random = np.random.RandomState(seed)
    shapes = {"memory": channels, "memory_embedding": embedded, "current": embedded}
    return {name: random.rand(1, count, height, width).astype(np.float32) for name, count in shapes.items()}


def _graph(form: str, offsets: np.ndarray, feeds: dict[str, np.ndarray], normalization: str) -> onnx.ModelProto:
    return lsts_graph(
        form,
        offsets,
        current="current",
        embedding_shape=feeds["current"].shape,
        memory_shape=feeds["memory"].shape,
        normalization=normalization,
    )


def _offsets(kind: str) -> np.ndarray:
    random = np.random.RandomState(7)
    if kind == "gaussian":
        return random.randn(9, 2).astype(np.float32)
    if kind == "grid":
        return np.stack(np.meshgrid(*[np.arange(-1, 2)] * 2), -1).reshape(-1, 2).astype(np.float32)
    return np.array([(0.25, -0.5), (40, 0), (-3.5, 1e10), (0, -12.5), (1, 1)], np.float32)  # some outside every map


@pytest.mark.parametrize("form", FORMS_IN_STANDARD_OPS)
@pytest.mark.parametrize("normalization", ["softmax", "linear"])
@pytest.mark.parametrize("kind", ["gaussian", "grid", "outside"])
@pytest.mark.parametrize("size", [(5, 13), (1, 5), (7, 1)])
def test_forms_meet_the_reference(form: str, normalization: str, kind: str, size: tuple[int, int]) -> None:
    offsets = _offsets(kind)
    feeds = _inputs(3, 3, 7, *size)
    wanted, _ = lsts_reference(feeds["memory_embedding"], feeds["current"], feeds["memory"], offsets, normalization)
    got = run_onnxruntime(_graph(form, offsets, feeds, normalization), feeds)["aligned"]
    allowed = LSTS.allowed_error("float32", float(np.abs(feeds["memory"]).max()))
    if normalization == "linear":
        allowed = allowed * lsts_conditioning(feeds["memory_embedding"], feeds["current"], offsets)
    assert np.isfinite(wanted).all()
    assert (np.abs(got - wanted) <= allowed).all(), np.abs(got - wanted).max()


def test_a_shifted_offset_is_told_apart() -> None:
    """The tolerance above is tight enough: a hundredth of a cell is seen."""
    offsets, feeds = _offsets("gaussian"), _inputs(3, 3, 7, 5, 13)
    wanted, _ = lsts_reference(feeds["memory_embedding"], feeds["current"], feeds["memory"], offsets)
    got = run_onnxruntime(_graph("taps", offsets + np.float32(0.01), feeds, "softmax"), feeds)["aligned"]
    assert np.abs(got - wanted).max() > 10 * LSTS.allowed_error("float32")


def test_x_is_the_column() -> None:
    feeds = _inputs(1, 2, 3, 4, 6)
    got = run_onnxruntime(_graph("taps", np.array([(2.0, 1.0)], np.float32), feeds, "softmax"), feeds)["aligned"]
    expected = np.zeros_like(feeds["memory"])
    expected[:, :, :3, :4] = feeds["memory"][:, :, 1:, 2:]
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("form", LSTS_FORMS)
def test_offsets_are_constants(form: str) -> None:
    model = _graph(form, _offsets("gaussian"), _inputs(0, 3, 7, 5, 13), "softmax")
    assert [value.name for value in model.graph.input] == ["memory", "memory_embedding", "current"]


def test_taps_use_no_grid_sample() -> None:
    model = _graph("taps", _offsets("gaussian"), _inputs(0, 3, 7, 5, 13), "softmax")
    allowed = {"Pad", "Slice", "Mul", "ReduceSum", "Concat", "Conv", "Softmax", "Split", "Add"}
    assert {node.op_type for node in model.graph.node} <= allowed


def test_custom_is_one_node_with_constant_offsets() -> None:
    offsets = _offsets("gaussian")
    model = _graph("custom", offsets, _inputs(0, 3, 7, 5, 13), "linear")
    (node,) = model.graph.node
    assert (node.domain, node.op_type) == (LSTS.domain, LSTS.name)
    assert [(a.name, a.s) for a in node.attribute] == [("normalization", b"linear")]
    (weight,) = [tensor for tensor in model.graph.initializer if tensor.name == node.input[3]]
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(weight), offsets)
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 18, LSTS.domain: LSTS.since}


def test_taps_that_only_read_zeros_are_left_out() -> None:
    plan = tap_plan(np.array([(0.5, 0.0), (30.5, 0.0)], np.float32))
    kept = taps_within(plan, 4, 6)
    assert plan.count == 4 and kept.count == 2
    assert kept.blend.shape == (2, 2) and not kept.blend[1].any()


@pytest.mark.parametrize(
    ("form", "offsets"), [("nearest", _offsets("grid")), ("taps", np.full((2, 2), 99, np.float32))]
)
def test_refusals(form: str, offsets: np.ndarray) -> None:
    with pytest.raises(ExportError, match="expected"):
        _graph(form, offsets, _inputs(0, 3, 7, 5, 13), "softmax")
