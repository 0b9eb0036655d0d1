"""A tiny ONNX graph that looks at tensors where they are: one number comes out, 0 if they are finite and NaN if not."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["finite_graph"]

_ELEMENT_TYPES = {"float32": 1, "float16": 10, "float64": 11}
_FLOAT32 = 1


def finite_graph(dtypes: Sequence[str]) -> bytes:
    """A serialised model: inputs ``x0``, ``x1``, ... of any shape -> ``sum`` (float32, one number).

    0 times a number is 0; 0 times an infinity or a NaN is a NaN, which stays one in every sum. Written field by field,
    since a device has no onnx package.

    Args:
        dtypes: ``float32``, ``float16`` or ``float64`` of each input; at least one.
    """
    graph = b""
    for dtype in sorted(set(dtypes)):
        zero = _field(2, _ELEMENT_TYPES[dtype]) + _field(8, f"zero_{dtype}") + _field(9, bytes(int(dtype[5:]) // 8))
        graph += _field(5, zero)
    for index, dtype in enumerate(dtypes):
        graph += _node("Mul", [f"x{index}", f"zero_{dtype}"], f"zeros{index}")
        graph += _node("ReduceSum", [f"zeros{index}"], f"sum{index}", _integer("keepdims", 0))
        graph += _node("Cast", [f"sum{index}"], f"part{index}", _integer("to", _FLOAT32))
        graph += _field(11, _value(f"x{index}", _ELEMENT_TYPES[dtype]))
    graph += _node("Sum", [f"part{index}" for index in range(len(dtypes))], "sum")
    graph += _field(2, "finite") + _field(12, _value("sum", _FLOAT32))
    return _field(1, 8) + _field(7, graph) + _field(8, _field(2, 17))  # IR 8, opset 17


def _node(operator: str, inputs: Sequence[str], output: str, attributes: bytes = b"") -> bytes:
    names = b"".join(_field(1, name) for name in inputs)
    return _field(1, names + _field(2, output) + _field(4, operator) + attributes)


def _integer(name: str, value: int) -> bytes:
    return _field(5, _field(1, name) + _field(3, value) + _field(20, 2))


def _value(name: str, element_type: int) -> bytes:
    return _field(1, name) + _field(2, _field(1, _field(1, element_type)))


def _field(number: int, value: int | bytes | str) -> bytes:
    """One protobuf field: a varint for an integer, else length and bytes."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
