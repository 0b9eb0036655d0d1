"""A graph never makes anything outside the bundle be read: external data is refused (RELIABILITY row 4)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from attacks.forged import forge
from onnx import TensorProto, helper

from lsts_edge.bundle import Bundle
from lsts_edge.errors import BundleError

CANARY = np.array([1234.5], np.float32)


def _external(location: str, name: str = "weight") -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def _model(nodes: list[onnx.NodeProto], **graph: object) -> onnx.ModelProto:
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    made = helper.make_graph(nodes, "g", [], [output], **graph)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _initializer(location: str) -> onnx.ModelProto:
    return _model([helper.make_node("Identity", ["weight"], ["y"])], initializer=[_external(location)])


def _attribute(location: str) -> onnx.ModelProto:
    return _model([helper.make_node("Constant", [], ["y"], value=_external(location))])


def _subgraph(location: str) -> onnx.ModelProto:
    output = helper.make_tensor_value_info("z", TensorProto.FLOAT, [1])
    identity = helper.make_node("Identity", ["weight"], ["z"])
    branch = helper.make_graph([identity], "branch", [], [output], initializer=[_external(location)])
    condition = helper.make_node("Constant", [], ["c"], value=helper.make_tensor("c", TensorProto.BOOL, [], [True]))
    return _model([condition, helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)])


def _function(location: str) -> onnx.ModelProto:
    inner = helper.make_node("Constant", [], ["out"], value=_external(location))
    function = helper.make_function("local", "F", [], ["out"], [inner], [helper.make_opsetid("", 18)])
    graph = helper.make_graph(
        [helper.make_node("F", [], ["y"], domain="local")],
        "g",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)]
    return helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=10)


def _sparse(location: str) -> onnx.ModelProto:
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    sparse = onnx.SparseTensorProto(values=_external(location), indices=indices, dims=[1])
    return _model([helper.make_node("Identity", ["weight"], ["y"])], sparse_initializer=[sparse])


def _location_only_in_entries(location: str) -> onnx.ModelProto:
    """No ``data_location``, only the entries: some readers look at one, some at the other."""
    model = _initializer(location)
    model.graph.initializer[0].ClearField("data_location")
    return model


def _location_only_in_flag(location: str) -> onnx.ModelProto:
    model = _initializer(location)
    model.graph.initializer[0].ClearField("external_data")
    return model


WAYS: tuple[Callable[[str], onnx.ModelProto], ...] = (
    _initializer,
    _attribute,
    _subgraph,
    _function,
    _sparse,
    _location_only_in_entries,
    _location_only_in_flag,
)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    path = tmp_path / "canary.bin"
    path.write_bytes(CANARY.tobytes())
    return path


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
@pytest.mark.parametrize("kind", ["parent", "absolute", "symlink", "hardlink", "listed"])
def test_refused_before_an_engine_sees_it(
    way: Callable[[str], onnx.ModelProto], kind: str, canary: Path, tmp_path: Path
) -> None:
    location = {"parent": "../canary.bin", "absolute": str(canary)}.get(kind, "weights.txt")
    listed = {"weights.txt": CANARY.tobytes()} if kind == "listed" else {}
    path = forge(tmp_path / "bundle", files={"head.onnx": way(location).SerializeToString(), **listed})
    if kind == "symlink":
        (path / "weights.txt").symlink_to(canary)
    elif kind == "hardlink":
        os.link(canary, path / "weights.txt")
    with pytest.raises(BundleError) as caught:
        Bundle.open(path)
    assert "head.onnx is refused" in str(caught.value) or "weights.txt" in str(caught.value)
    assert str(float(CANARY[0])) not in str(caught.value)


def test_planted_fault_the_engine_alone_reads_the_canary(canary: Path, tmp_path: Path) -> None:
    """The same graph, given to the engine as a file without our check: it follows the hard link and reads."""
    folder = tmp_path / "unchecked"
    folder.mkdir()
    os.link(canary, folder / "weights.txt")
    (folder / "head.onnx").write_bytes(_initializer("weights.txt").SerializeToString())
    session = onnxruntime.InferenceSession(folder / "head.onnx", providers=["CPUExecutionProvider"])
    assert session.run(None, {})[0] == CANARY
