"""A look at ONNX bytes before an engine sees them: no data outside the file, nothing oversized. No onnx needed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from lsts_edge.errors import BundleError

__all__ = ["check_onnx_bytes"]

MAX_NODES = 50_000
MAX_DEPTH = 8
MAX_AXES = 16
MAX_NAME_BYTES = 4096

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_ELEMENT_BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16}
_ELEMENT_BITS |= {17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4}  # 8-bit floats, 4-bit integers

# Field numbers of onnx.proto, by message: which fields hold which message.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_MODEL_TRAINING, _MODEL_FUNCTIONS = 20, 25
_NODE_NAMES = (1, 2, 3, 4, 7)
_DIMS, _DATA_TYPE, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 1, 2, 9, 13, 14
_TYPED_DATA = (4, 5, 6, 7, 10, 11)


@dataclass
class _Count:
    name: str
    nodes: int = 0


def check_onnx_bytes(model: bytes, name: str) -> None:
    """Refuse a model that points outside its own bytes or asks for more than it brings.

    Walks the protobuf wire format: external data in any initializer, attribute or subgraph, local functions,
    training graphs, tensors whose dimensions do not fit their bytes, more than ``MAX_NODES`` nodes and
    subgraphs deeper than ``MAX_DEPTH`` are refused. Weights are skipped, not read.

    Args:
        model: the bytes of a ``.onnx`` file.
        name: the file's name, for messages.

    Raises:
        BundleError: if the model is refused or is no protobuf.
    """
    seen: set[int] = set()
    count = _Count(name)
    for number, _, value in _fields(memoryview(model), name):
        seen.add(number)
        if number in (_MODEL_TRAINING, _MODEL_FUNCTIONS):
            kind = "training graph" if number == _MODEL_TRAINING else "local function"
            raise _refused(name, f"a {kind}", "one plain graph")
        if number == 7:
            _walk("graph", _message(value, name), count, depth=1)
    if 7 not in seen:
        raise _refused(name, "no graph", "an ONNX model")


def _walk(kind: str, message: memoryview, count: _Count, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _refused(count.name, f"subgraphs nested more than {MAX_DEPTH} deep", f"at most {MAX_DEPTH}")
    if kind == "tensor":
        _check_tensor(message, count.name)
        return
    if kind == "node":
        count.nodes += 1
        if count.nodes > MAX_NODES:
            raise _refused(count.name, f"more than {MAX_NODES} nodes", f"at most {MAX_NODES}")
    children = _CHILDREN[kind]
    for number, _, value in _fields(message, count.name):
        child = children.get(number)
        if child is not None:
            _walk(child, _message(value, count.name), count, depth + (child == "graph"))
        elif kind == "node" and number in _NODE_NAMES and len(_message(value, count.name)) > MAX_NAME_BYTES:
            raise _refused(count.name, "an overlong name", f"at most {MAX_NAME_BYTES} bytes")


def _check_tensor(tensor: memoryview, name: str) -> None:
    dims: list[int] = []
    data_type, raw_bytes, typed_bytes = 0, None, 0
    for number, wire, value in _fields(tensor, name):
        if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0):
            raise _refused(name, "a tensor whose data is in another file", "all data inside the file")
        if number == _DIMS:
            dims.extend([value] if isinstance(value, int) else _varints(value, name))
        elif number == _DATA_TYPE and isinstance(value, int):
            data_type = value
        elif number == _RAW_DATA:
            raw_bytes = len(_message(value, name))
        elif number in _TYPED_DATA:
            typed_bytes += len(value) + 1 if isinstance(value, memoryview) else 8
        elif number == 0 or wire not in (_VARINT, _FIXED64, _BYTES, _FIXED32):
            raise _refused(name, "an unknown field", "an ONNX tensor")
    if len(dims) > MAX_AXES:
        raise _refused(name, f"a tensor of {len(dims)} axes", f"at most {MAX_AXES}")
    elements = math.prod(dims)
    if raw_bytes is not None and raw_bytes != (elements * _ELEMENT_BITS.get(data_type, 0) + 7) // 8:
        raise _refused(name, f"a tensor of {raw_bytes} bytes with dimensions {dims[:8]}", "dimensions that fit")
    if raw_bytes is None and elements > max(typed_bytes, 1):
        raise _refused(name, f"a tensor of {typed_bytes} bytes with dimensions {dims[:8]}", "dimensions that fit")


def _fields(message: memoryview, name: str) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yield ``(field number, wire type, value)``; a length-delimited value is a view, not a copy."""
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position, name)
        number, wire = key >> 3, key & 7
        value: int | memoryview
        if wire == _VARINT:
            value, position = _varint(message, position, name)
        elif wire == _BYTES:
            size, position = _varint(message, position, name)
            if size > end - position:
                raise _refused(name, "a field longer than the file", "whole ONNX protobuf")
            value, position = message[position : position + size], position + size
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
            if size > end - position:
                raise _refused(name, "a field longer than the file", "whole ONNX protobuf")
            value, position = message[position : position + size], position + size
        else:
            raise _refused(name, f"wire type {wire}", "ONNX protobuf")
        yield number, wire, value


def _varint(message: memoryview, position: int, name: str) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _refused(name, "a broken number", "whole ONNX protobuf")


def _varints(packed: memoryview, name: str) -> Iterator[int]:
    position = 0
    while position < len(packed):
        value, position = _varint(packed, position, name)
        yield value


def _message(value: int | memoryview, name: str) -> memoryview:
    if isinstance(value, int):
        raise _refused(name, "a number where a message belongs", "ONNX protobuf")
    return value


def _refused(name: str, got: str, expected: str) -> BundleError:
    return BundleError(f"{name} is refused", got=got, expected=expected, fix="Export the bundle again.")
