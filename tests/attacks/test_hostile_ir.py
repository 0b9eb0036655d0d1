"""OpenVINO IR from a stranger: nothing outside its weights is read, no code and no bomb reaches the engine."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from attacks.forged import forge
from attacks.measure import HANG_S, measure

from hand_made import hand_made_files
from lsts_edge.bundle import Bundle, OpenVinoIr
from lsts_edge.errors import BundleError, DigestMismatch
from lsts_edge.export.openvino_ir import openvino_ir
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions

XML, WEIGHTS = openvino_ir(hand_made_files()["head.onnx"], "head")
FEEDS = {"task": np.float32([[1, 2, 3]])}
LAUGHS = b"".join(b'<!ENTITY l%d "%s">' % (i, b"&l%d;" % (i - 1) * 10) for i in range(1, 12))
_CONST = re.compile(rb'<data element_type="f32" shape="1, 4" offset="(\d+)" size="16" />')

Change = Callable[[bytes], bytes]


def _swap(old: bytes, new: bytes) -> Change:
    def change(xml: bytes) -> bytes:
        assert old in xml
        return xml.replace(old, new, 1)

    return change


def _constant(**attributes: str) -> Change:
    """The box's constant with other attributes."""

    def change(xml: bytes) -> bytes:
        found = _CONST.search(xml)
        assert found
        values = {"element_type": "f32", "shape": "1, 4", "offset": found[1].decode(), "size": "16"} | attributes
        text = " ".join(f'{key}="{value}"' for key, value in values.items())
        return xml.replace(found[0], f"<data {text} />".encode())

    return change


def _before_net(text: bytes) -> Change:
    return _swap(b"<net ", text + b"<net ")


def _inside(text: bytes) -> Change:
    return _swap(b"</edges>", b"</edges>" + text)


def _layer(kind: str = "ReLU", version: str = "opset1", body: str = "") -> Change:
    layer = f'<layer id="900000" name="x" type="{kind}" version="{version}">{body}</layer></layers>'
    return _swap(b"</layers>", layer.encode())


def _many_layers(count: int) -> Change:
    layers = b"".join(b'<layer id="%d" name="x" type="ReLU" version="opset1"/>' % (1000 + i) for i in range(count))
    return _swap(b"</layers>", layers + b"</layers>")


def _edge_back(xml: bytes) -> bytes:
    first, port = re.search(rb'<edge from-layer="(\d+)" from-port="(\d+)"', xml).groups()  # type: ignore[union-attr]
    return xml.replace(
        b"</edges>", b'<edge from-layer="900" from-port="0" to-layer="%s" to-port="%s"/></edges>' % (first, port)
    )


ATTACKS: dict[str, Change] = {
    "external-entity": lambda xml: _before_net(b'<!DOCTYPE net [<!ENTITY x SYSTEM "file:///etc/passwd">]>')(xml),
    "external-dtd": _before_net(b'<!DOCTYPE net SYSTEM "http://127.0.0.1/x.dtd">'),
    "billion-laughs": _before_net(b'<!DOCTYPE net [<!ENTITY l0 "ha">' + LAUGHS + b"]>"),
    "doctype-in-utf-16": lambda xml: _before_net(b"<!DOCTYPE net>")(xml).decode().encode("utf-16"),
    "comment": _inside(b"<!-- a -->"),
    "cdata": _inside(b"<![CDATA[a]]>"),
    "instruction": _inside(b'<?xml-stylesheet href="x"?>'),
    "entity": _inside(b"&amp;"),
    "character": _swap(b'type="Const"', b'type="&#67;onst"'),
    "byte-order-mark": lambda xml: b"\xef\xbb\xbf" + xml,
    "declared-encoding": _swap(b'<?xml version="1.0"?>', b'<?xml version="1.0" encoding="utf-7"?>'),
    "not-ascii": _swap(b'name="head"', b'name="h\xe9ad"'),
    "nul": lambda xml: xml + b"\0",
    "cut": lambda xml: xml[: len(xml) // 2],
    "two-roots": lambda xml: xml + b"<net/>",
    "empty": lambda xml: b"",
    "no-layer": lambda xml: b'<?xml version="1.0"?><net name="g" version="11"></net>',
    "html": lambda xml: b'<?xml version="1.0"?><html><layers/></html>',
    "weights-path": _inside(b'<rt_info><__weights_path value="/etc/passwd"/></rt_info>'),
    "notes-of-a-layer": _layer(body="<rt_info/>"),
    "subgraph": _layer(body="<body><layers/></body>"),
    "if": _layer("If", "opset8"),
    "loop": _layer("Loop", "opset5"),
    "tensor-iterator": _layer("TensorIterator"),
    "read-value": _layer("ReadValue", "opset6"),
    "assign": _layer("Assign", "opset6"),
    "extension": _layer("LSTS", "extension"),
    "our-own-op": _layer("LSTS", "lsts.edge"),
    "no-version": _layer("ReLU", ""),
    "type-with-a-path": _layer("../../evil.so"),
    "offset-past-the-end": _constant(offset="999999"),
    "offset-negative": _constant(offset="-16"),
    "offset-wraps": _constant(offset=str((1 << 64) - 8)),
    "offset-hex": _constant(offset="0x10"),
    "offset-in-another-layer": _layer(body='<data offset="4" size="99999999"/>'),
    "size-past-the-end": _constant(size="160000", shape="1, 40000"),
    "shape-larger-than-its-bytes": _constant(shape="1, 400000000"),
    "shape-wraps": _constant(shape=f"{1 << 32}, {1 << 32}", size="0"),
    "shape-of-1000-axes": _constant(shape=", ".join(["1"] * 1000)),
    "text-constant": _constant(element_type="string"),
    "bits": _constant(element_type="u1", shape="1, 128"),
    "no-type": _constant(element_type=""),
    "constant-without-data": _layer("Const"),
    "cycle": _edge_back,
    "edge-from-nowhere": _swap(b"</edges>", b'<edge from-layer="77" from-port="0" to-layer="78" to-port="0"/></edges>'),
    "edge-number": _swap(b"</edges>", b'<edge from-layer="-1" from-port="0" to-layer="1" to-port="0"/></edges>'),
    "number-twice": _swap(b'<layer id="1"', b'<layer id="0"'),
    "layers-30000": _many_layers(30_000),
    "dims-400000": _layer(body="<input><port id='0'>" + "<dim/>" * 400_000 + "</port></input>"),
    "deep": _inside(b"<rt_info>" * 100_000),
    "name-of-3-MB": _layer(body=f'<data names="{"x" * 3_000_000}"/>'),
    "1000-attributes": _layer(body="<data " + " ".join(f'a{i}=""' for i in range(1000)) + "/>"),
}


def _forge(path: Path, xml: bytes, weights: bytes = WEIGHTS) -> Path:
    def change(data: dict[str, Any]) -> None:
        data["graphs"]["head"]["ir"] = {"default": "head.xml"}

    return forge(path, files={"head.xml": xml, "head.bin": weights}, change=change)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("ir")
    for name, change in ATTACKS.items():
        _forge(folder / name, change(XML))
    _forge(folder / "shorter-weights", XML, WEIGHTS[:-4])
    _forge(folder / "no-weights", XML, b"")
    _forge(folder / "planted-honest", XML)
    return measure(folder)


@pytest.mark.parametrize("name", [*ATTACKS, "shorter-weights", "no-weights"])
def test_refused_before_the_engine_sees_it(name: str, report: dict[str, Any]) -> None:
    outcome = report[name]
    assert outcome["code"] == "bundle", outcome
    assert outcome["text"].startswith("head.xml is refused")
    assert outcome["seconds"] < HANG_S
    assert outcome["grown_mb"] < 64
    assert len(outcome["text"]) < 2000


def test_planted_fault_the_honest_ir_is_accepted_and_runs(report: dict[str, Any], tmp_path: Path) -> None:
    assert report["planted-honest"]["code"] == "accepted"
    bundle = Bundle.open(_forge(tmp_path / "honest", XML))
    engine = open_backend(EngineOptions("openvino", threads=1))
    ir = bundle.model_for("openvino", "head")
    assert isinstance(ir, OpenVinoIr)
    expected = engine.load(bundle.graph_bytes("head"), "head").run(FEEDS)
    np.testing.assert_array_equal(engine.load(ir, "head").run(FEEDS)["boxes"], expected["boxes"])


def test_planted_fault_the_engine_alone_takes_a_document_type() -> None:
    """Without our check the same bytes are read: the refusal above is ours, not the engine's."""
    hostile = ATTACKS["billion-laughs"](XML)
    assert (
        open_backend(EngineOptions("openvino", threads=1))
        .load(OpenVinoIr(hostile, WEIGHTS), "head")
        .run(FEEDS)["scores"]
        == 0.75
    )


def test_planted_fault_the_engine_alone_keeps_a_path_from_the_notes() -> None:
    hostile = ATTACKS["weights-path"](XML)
    graph = openvino.Core().read_model(hostile, openvino.Tensor(np.frombuffer(WEIGHTS, np.uint8)))
    assert "__weights_path" in graph.get_rt_info()


def test_the_engine_is_given_bytes_and_takes_no_path(tmp_path: Path) -> None:
    """The text of a path in the place of XML is not opened, though a graph lies there."""
    (tmp_path / "graph.xml").write_bytes(XML)
    (tmp_path / "graph.bin").write_bytes(WEIGHTS)
    with pytest.raises(Exception, match="does not load graph head"):
        open_backend(EngineOptions("openvino")).load(OpenVinoIr(str(tmp_path / "graph.xml").encode(), WEIGHTS), "head")


@pytest.mark.parametrize(("file", "part"), list(itertools.product(["head.xml", "head.bin"], range(5))))
def test_a_flipped_bit_is_refused_at_opening_and_after_it(file: str, part: int, tmp_path: Path) -> None:
    path = _forge(tmp_path / "bundle", XML)
    opened = Bundle.open(path)
    content = bytearray((path / file).read_bytes())
    content[part * (len(content) - 1) // 4] ^= 1 << part
    (path / file).write_bytes(content)
    with pytest.raises(DigestMismatch, match=file):
        Bundle.open(path)
    with pytest.raises(DigestMismatch, match=file):
        opened.model_for("openvino", "head")


@pytest.mark.parametrize("file", ["head.xml", "head.bin"])
def test_a_missing_file_is_named(file: str, tmp_path: Path) -> None:
    path = _forge(tmp_path / "bundle", XML)
    (path / file).unlink()
    with pytest.raises(BundleError, match=f"{file} is missing"):
        Bundle.open(path)
