"""A look at OpenVINO IR before the engine sees it: plain XML, constants inside their weights, known operators only."""

from __future__ import annotations

import math
import re
from xml.parsers import expat

from lsts_edge.errors import BundleError

__all__ = ["check_ir_bytes"]

MAX_LAYERS = 4000  # the largest export has fewer than 1000; OpenVINO's time grows with their square
MAX_ELEMENTS = 100_000
MAX_AXES = 16
MAX_ATTRIBUTE_BYTES = 4096
MAX_ATTRIBUTES = 64

_DECLARATION = b'<?xml version="1.0"?>'
_CHILDREN = {
    "": {"net"},
    "net": {"layers", "edges", "rt_info"},
    "layers": {"layer"},
    "layer": {"data", "input", "output"},
    "input": {"port"},
    "output": {"port"},
    "port": {"dim"},
    "edges": {"edge"},
}
_ELEMENT_BYTES = {"f64": 8, "f32": 4, "f16": 2, "bf16": 2, "boolean": 1}
_ELEMENT_BYTES |= {f"{kind}{8 * size}": size for kind in "iu" for size in (1, 2, 4, 8)}

# Graphs inside graphs, which no export has, and memory inside the engine, which streams would share.
_REFUSED_TYPES = {"If", "Loop", "TensorIterator", "Assign", "ReadValue"}
_TYPE = re.compile(r"[A-Za-z0-9]{1,64}")
_OPSET = re.compile(r"opset[0-9]{1,2}")  # operators of an extension have another version
_ID = re.compile(r"[0-9]{1,6}")
_NUMBER = re.compile(r"[0-9]{1,18}")


def check_ir_bytes(xml: bytes, weights_bytes: int, name: str) -> None:
    """Refuse a graph that is not plain XML, reads past its weights or holds more than operators and edges.

    Everything that two XML readers could understand differently is refused by a scan of the bytes before any reader
    starts: document types, entities, comments, other encodings. Elements and their places are a closed list; the
    free-form ``rt_info``, where OpenVINO itself keeps paths, must be empty.

    Args:
        xml: the bytes of a ``.xml`` file.
        weights_bytes: size of the ``.bin`` file beside it.
        name: the file's name, for messages.

    Raises:
        BundleError: if the graph is refused.
    """
    if not xml.startswith(_DECLARATION) or not xml.isascii():
        raise _refused(name, "another start or encoding", f"{_DECLARATION.decode()} and ASCII")
    for mark, what in ((b"<!", "a document type, comment or CDATA"), (b"&", "an entity"), (b"<?", "an instruction")):
        if mark in xml[len(_DECLARATION) :]:
            raise _refused(name, what, "elements and attributes")
    walk = _Walk(name, weights_bytes)
    parser = expat.ParserCreate("us-ascii")
    parser.StartElementHandler = walk.start
    parser.EndElementHandler = walk.end
    try:
        parser.Parse(xml, True)
    except expat.ExpatError as error:
        raise _refused(name, f"broken XML ({error})", "well-formed XML") from error
    if walk.layers == 0:
        raise _refused(name, "no layer", "an OpenVINO graph")


class _Walk:
    """What expat calls: the place in the tree, the layer at hand and the ports seen so far."""

    def __init__(self, name: str, weights_bytes: int) -> None:
        self.layers = 0
        self._elements = 0
        self._name = name
        self._weights_bytes = weights_bytes
        self._path = [""]
        self._layer, self._type, self._has_data = -1, "", False
        self._ports: set[tuple[str, int, int]] = set()

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Check one element and its attributes."""
        parent = self._path[-1]
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise self._no(f"more than {MAX_ELEMENTS} elements", f"at most {MAX_ELEMENTS}")
        if tag not in _CHILDREN.get(parent, ()):
            raise self._no(f"{ascii(tag)[:40]} inside {parent or 'the document'!r}", "an operator graph, rt_info empty")
        if len(attributes) > MAX_ATTRIBUTES or any(len(v) > MAX_ATTRIBUTE_BYTES for v in attributes.values()):
            raise self._no("an overlong attribute", f"at most {MAX_ATTRIBUTES} of {MAX_ATTRIBUTE_BYTES} bytes")
        self._path.append(tag)
        if tag == "layer":
            self._start_layer(attributes)
        elif tag == "data":
            self._check_data(attributes)
        elif tag == "port":
            self._ports.add((parent, self._layer, self._id(attributes.get("id", ""))))
        elif tag == "edge":
            self._check_edge(attributes)

    def end(self, tag: str) -> None:
        """Leave an element."""
        self._path.pop()
        if tag == "layer" and self._type == "Const" and not self._has_data:
            raise self._no("a constant without data", "an offset and a size")

    def _start_layer(self, attributes: dict[str, str]) -> None:
        self.layers += 1
        if self.layers > MAX_LAYERS:
            raise self._no(f"more than {MAX_LAYERS} layers", f"at most {MAX_LAYERS}")
        layer, self._type, self._has_data = self._id(attributes.get("id", "")), attributes.get("type", ""), False
        if layer <= self._layer:
            raise self._no(f"layer {layer} after layer {self._layer}", "rising numbers")
        self._layer = layer
        version = attributes.get("version", "")
        known = _TYPE.fullmatch(self._type) and _OPSET.fullmatch(version) and self._type not in _REFUSED_TYPES
        if not known:
            got = f"operator {ascii(self._type)[:60]} of {ascii(version)[:40]}"
            raise self._no(got, "operators of OpenVINO's opsets, without bodies and state")

    def _check_data(self, attributes: dict[str, str]) -> None:
        if self._type != "Const":
            if "offset" in attributes:
                raise self._no(f"an offset in {self._type}", "offsets in constants only")
            return
        self._has_data = True
        offset, size = (attributes.get(key, "") for key in ("offset", "size"))
        dims = [part.strip() for part in attributes.get("shape", "").split(",")] if attributes.get("shape") else []
        if len(dims) > MAX_AXES or not all(_NUMBER.fullmatch(number) for number in (offset, size, *dims)):
            raise self._no("a constant whose offset, size or shape is no number", "whole numbers")
        if int(offset) + int(size) > self._weights_bytes:
            got = f"a constant at bytes {offset} + {size}"
            raise self._no(got, f"constants inside the {self._weights_bytes} bytes of the weights")
        element = _ELEMENT_BYTES.get(attributes.get("element_type", ""), 0)
        if element == 0 or math.prod(map(int, dims)) * element != int(size):
            got = f"a constant of {size} bytes, {ascii(attributes.get('element_type'))[:20]} {dims[:8]}"
            raise self._no(got, "a type and a shape that fit")

    def _check_edge(self, attributes: dict[str, str]) -> None:
        ends = [self._id(attributes.get(key, "")) for key in ("from-layer", "from-port", "to-layer", "to-port")]
        known = ("output", *ends[:2]) in self._ports and ("input", *ends[2:]) in self._ports
        if not known or ends[0] >= ends[2]:  # layers are written in the order they run: no edge goes back
            raise self._no(f"an edge {ends}", "edges from a port of one layer to a port of a later one")

    def _id(self, text: str) -> int:
        if not _ID.fullmatch(text):
            raise self._no(f"number {ascii(text)[:40]}", "a number of at most 6 digits")
        return int(text)

    def _no(self, got: str, expected: str) -> BundleError:
        return _refused(self._name, got, expected)


def _refused(name: str, got: str, expected: str) -> BundleError:
    return BundleError(f"{name} is refused", got=got, expected=expected, fix="Export the bundle again.")
