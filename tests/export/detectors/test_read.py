"""Files that are no detector, or that want to be more than one: refused before a library opens them, with one error."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest
from detector_graphs import Sketch, yolox
from onnx import TensorProto, helper

from lsts_edge.errors import DetectorRefused
from lsts_edge.export.detectors import read, read_detector
from lsts_edge.export.finished import OPSET


def external() -> bytes:
    model = yolox()
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "../../etc/passwd")
    tensor.ClearField("raw_data")
    return bytes(model.SerializeToString())


def foreign_operator() -> bytes:
    model = yolox()
    model.graph.node.append(helper.make_node("Secret", ["output"], ["more"], domain="com.example"))
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return bytes(model.SerializeToString())


def of_opset(version: int) -> bytes:
    model = yolox()
    model.opset_import[0].version = version
    return bytes(model.SerializeToString())


def out_of_order() -> bytes:
    model = yolox()
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def local_function() -> bytes:
    model = yolox()
    function = helper.make_function("own", "F", ["x"], ["y"], [helper.make_node("Identity", ["x"], ["y"])],
                                    [helper.make_opsetid("", 18)])  # fmt: skip
    model.functions.append(function)
    return bytes(model.SerializeToString())


def huge_promise() -> bytes:
    """A few bytes that claim to be a terabyte of weights."""
    model = yolox()
    model.graph.initializer.append(TensorProto(name="huge", data_type=1, dims=[1 << 20, 1 << 20]))
    return bytes(model.SerializeToString())


HOSTILE = {
    "external data": external(),
    "foreign operator": foreign_operator(),
    "opset 7": of_opset(7),
    "opset 99": of_opset(99),
    "out of order": out_of_order(),
    "local function": local_function(),
    "huge promise": huge_promise(),
    "nothing": b"",
    "text": b"this is no protobuf",
    "half": bytes(yolox().SerializeToString())[:2000],
    "no graph": bytes(onnx.ModelProto(ir_version=8).SerializeToString()),
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_refused(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(raw)
    for source in (raw, path):
        with pytest.raises(DetectorRefused, match="is refused") as caught:
            read_detector(source)
        assert caught.value.code == "detector-refused" and caught.value.exit_status == 2
        assert "bundle" not in str(caught.value)
    assert [item.name for item in tmp_path.iterdir()] == ["model.onnx"]


def test_a_file_that_is_not_there_or_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.onnx"):
        with pytest.raises(DetectorRefused, match="readable"):
            read_detector(path)


def test_a_file_too_large_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MAX_DETECTOR_BYTES", 1 << 20)
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 1 << 40)  # sparse
    with pytest.raises(DetectorRefused, match="more than 1048576 bytes"):
        read_detector(path)


@pytest.mark.parametrize("opset", [11, 13, 17, 18, 20])
def test_older_models_come_to_our_opset_and_newer_keep_theirs(opset: int) -> None:
    s = Sketch()
    s.op("Relu", s.input("image", (1, 3, 64, 64)), name="output")
    s.output("output", (1, 3, 64, 64))
    model = read_detector(s.model(opset).SerializeToString())
    assert model.opset_import[0].version == max(opset, OPSET)
