"""Int8 graphs: what becomes QDQ, in which types, and that both engines give what float32 gave, nearly."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from export_engines import Run, run_onnxruntime, run_openvino

from lsts_edge.bundle import DraftBundle
from lsts_edge.bundle.manifest import WeightsInfo
from lsts_edge.errors import ExportError
from lsts_edge.export.exporter import export_model
from lsts_edge.export.finished import IR_VERSION, OPSET
from lsts_edge.export.graph import Builder
from lsts_edge.export.quantize import FIRST_IN_FLOAT32, QUANTIZABLE, quantized
from lsts_edge.model import random_network
from lsts_edge.presets import get_preset


@pytest.fixture(scope="module")
def exported() -> DraftBundle:
    weights = WeightsInfo("random", "none", "random weights", seed=0)
    return export_model(random_network(get_preset("lsts-tiny"), 0), weights, joined=False)


def _feeds(exported: DraftBundle, name: str, count: int = 6) -> list[dict[str, np.ndarray]]:
    random = np.random.RandomState(0)
    return [
        {
            tensor.name: random.randint(0, 256, tensor.shape).astype(np.uint8)
            if tensor.dtype == "uint8"
            else random.standard_normal(tensor.shape).astype(np.float32)
            for tensor in exported.manifest.graphs[name].inputs
        }
        for _ in range(count)
    ]


def _raw(exported: DraftBundle, name: str) -> bytes:
    return exported.files[f"{name}.onnx"]


@pytest.mark.parametrize("name", ["heavy", "light", "embed_key", "embed_current", "aggregate_key", "head"])
def test_types_and_form(exported: DraftBundle, name: str) -> None:
    model = quantized(name, _raw(exported, name), _feeds(exported, name))
    assert model.ir_version == IR_VERSION
    assert {(entry.domain, entry.version) for entry in model.opset_import} == {("", OPSET)}
    before = onnx.ModelProto.FromString(_raw(exported, name)).graph
    assert [value.name for value in model.graph.input] == [value.name for value in before.input]
    assert [value.name for value in model.graph.output] == [value.name for value in before.output]
    types = {tensor.name: tensor for tensor in model.graph.initializer}
    quantize = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert quantize
    assert {types[node.input[2]].data_type for node in quantize} == {onnx.TensorProto.UINT8}
    dequantized = {
        node.output[0]: types.get(node.input[0]) for node in model.graph.node if node.op_type == "DequantizeLinear"
    }
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert convolutions
    for node in convolutions:
        weight = dequantized[node.input[1]]
        assert weight is not None and weight.data_type == onnx.TensorProto.INT8
        scales = next(n.input[1] for n in model.graph.node if n.output[0] == node.input[1])
        assert list(types[scales].dims) == [weight.dims[0]]


@pytest.mark.parametrize("groups", [1, 4])
def test_only_networks_with_depthwise_convolutions_start_in_float32(groups: int) -> None:
    shape, count = (1, 4, 8, 8), 3 * FIRST_IN_FLOAT32["light"]
    random, graph = np.random.RandomState(0), Builder("light")
    value = graph.input("x", shape)
    for index in range(count):
        group = groups if index == 1 else 1
        weight = graph.constant(random.standard_normal((4, 4 // group, 1, 1)))
        value = graph.op("Conv", value, weight, group=group)
    model = graph.build({"y": (value, shape, "float32")})
    feeds = [{"x": random.standard_normal(shape).astype(np.float32)}]
    changed = quantized("light", model.SerializeToString(), feeds).graph
    constants = {tensor.name for tensor in changed.initializer}
    in_float32 = [node.input[1] in constants for node in changed.node if node.op_type == "Conv"]
    kept = 0 if groups == 1 else FIRST_IN_FLOAT32["light"]
    assert in_float32 == [True] * kept + [False] * (count - kept)


@pytest.mark.parametrize("run", [run_onnxruntime, run_openvino])
@pytest.mark.parametrize("name", ["heavy", "light", "embed_key", "aggregate_key"])
def test_close_to_float32_on_both_engines(exported: DraftBundle, name: str, run: Run) -> None:
    feeds = _feeds(exported, name)
    before = run_onnxruntime(onnx.ModelProto.FromString(_raw(exported, name)), feeds[0])
    after = run(quantized(name, _raw(exported, name), feeds), feeds[0])
    for output, wanted in before.items():
        error = np.abs(after[output] - wanted).max() / np.abs(wanted).max()
        assert 0 < error < 0.1, (output, error)


def test_only_convolutions_of_the_head_meet_int8(exported: DraftBundle) -> None:
    """Softmax, box arithmetic and suppression read what a DequantizeLinear gave, never pass through one again."""
    before = onnx.ModelProto.FromString(_raw(exported, "head")).graph
    model = quantized("head", _raw(exported, "head"), _feeds(exported, "head"))
    convolutions = sum(node.op_type == "Conv" for node in before.node)
    quantize = sum(node.op_type == "QuantizeLinear" for node in model.graph.node)
    assert 0 < quantize <= 2 * convolutions  # around each convolution: its input and its output


def test_the_same_inputs_give_the_same_bytes(exported: DraftBundle) -> None:
    first, second = (
        quantized("light", _raw(exported, "light"), _feeds(exported, "light")).SerializeToString(deterministic=True)
        for _ in range(2)
    )
    assert first == second


def test_nodes_can_be_kept(exported: DraftBundle) -> None:
    def count(keep: tuple[str, ...]) -> int:
        model = quantized("heavy", _raw(exported, "heavy"), _feeds(exported, "heavy"), keep=keep)
        return sum(node.op_type == "DequantizeLinear" for node in model.graph.node)

    graph = onnx.ModelProto.FromString(_raw(exported, "heavy")).graph
    last = [node.name or f"Conv_{i}" for i, node in enumerate(graph.node) if node.op_type == "Conv"][-1]
    assert count((last,)) < count(())


@pytest.mark.parametrize("name", ["lsts_key", "lsts_current"])
def test_lsts_is_never_touched(exported: DraftBundle, name: str) -> None:
    assert name not in QUANTIZABLE
    with pytest.raises(ExportError, match="stays in float32"):
        quantized(name, exported.files[f"{name}.taps.onnx"], _feeds(exported, name))


def test_no_inputs_are_refused(exported: DraftBundle) -> None:
    with pytest.raises(ExportError, match="no recorded inputs"):
        quantized("heavy", _raw(exported, "heavy"), [])
