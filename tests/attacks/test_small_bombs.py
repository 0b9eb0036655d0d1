"""Small graphs that ask for much are refused in under 1 s and 64 MB (RELIABILITY row 9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from attacks.forged import forge
from attacks.measure import HANG_S, measure

from hand_made import field, head_model, model, node, tensor

_FLOAT = 1
_GRAPH_ATTRIBUTE = 6


def _claims(dims: list[int], data: bytes = b"\0" * 4) -> bytes:
    """A tensor that claims dimensions its bytes do not fill."""
    shape = b"".join(field(1, size) for size in dims)
    return head_model(extra_graph=field(5, shape + field(2, _FLOAT) + field(8, "w") + field(9, data)))


def _claims_typed(dims: list[int]) -> bytes:
    shape = b"".join(field(1, size) for size in dims)
    return head_model(extra_graph=field(5, shape + field(2, _FLOAT) + field(8, "w") + field(4, b"\0" * 4)))


def _nested(depth: int) -> bytes:
    graph = field(1, node("Identity", ["x"], ["y"]))
    for _ in range(depth):
        branch = field(5, field(1, "then_branch") + field(_GRAPH_ATTRIBUTE, graph) + field(20, 5))
        graph = field(1, node("If", ["c"], ["y"], branch))
    return model(graph)


def _many_nodes(count: int) -> bytes:
    return head_model(extra_graph=field(1, node("Identity", ["task"], ["x"])) * count)


def _cyclic_function() -> bytes:
    call = node("F", ["x"], ["y"]) + field(7, "local")
    function = field(1, "F") + field(4, "x") + field(5, "y") + field(7, call) + field(10, "local")
    return head_model(extra_graph=field(1, call), extra_model=field(25, function))


BOMBS: dict[str, Callable[[], bytes]] = {
    "dims-2^62": lambda: _claims([1 << 62]),
    "dims-overflow-to-1": lambda: _claims([1 << 32, 1 << 32]),
    "dims-negative": lambda: _claims([(1 << 64) - 1]),
    "dims-typed-2^62": lambda: _claims_typed([1 << 62]),
    "dims-many": lambda: _claims([2] * 100_000),
    "dims-no-data": lambda: head_model(extra_graph=field(5, field(1, 1 << 40) + field(2, _FLOAT) + field(8, "w"))),
    "nodes-10^6": lambda: _many_nodes(1_000_000),
    "subgraphs-100": lambda: _nested(100),
    "subgraphs-5000": lambda: _nested(5000),
    "cyclic-function": _cyclic_function,
    "training-graph": lambda: head_model(extra_model=field(20, field(1, b""))),
    "huge-op-name": lambda: head_model(extra_graph=field(1, node("I" * 10_000_000, ["task"], ["x"]))),
    "field-past-the-end": lambda: head_model()[:-1] + b"\x3a\xff\xff\xff\xff\x7f",
    "endless-varint": lambda: head_model() + b"\xff" * 1000,
    "group": lambda: head_model() + b"\x0b" * 1000,
    "garbage": lambda: bytes(range(256)) * 1000,
    "unknown-type": lambda: head_model(
        extra_graph=field(5, field(1, 1) + field(2, 99) + field(8, "w") + field(9, b"\0\0\0\0"))
    ),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("bombs")
    for name, make in BOMBS.items():
        forge(folder / name, files={"head.onnx": make()})
    large = tensor("extra", np.zeros(4 << 20, np.float32))
    forge(folder / "planted-large", files={"head.onnx": head_model(extra_graph=field(5, large))})
    return measure(folder)


@pytest.mark.parametrize("name", BOMBS)
def test_refused(name: str, report: dict[str, Any]) -> None:
    outcome = report[name]
    assert outcome["code"] == "bundle", outcome
    assert outcome["text"].startswith("head.onnx is refused")
    assert outcome["seconds"] < HANG_S
    assert outcome["grown_mb"] < 64


def test_planted_fault_an_honest_large_graph_is_accepted(report: dict[str, Any]) -> None:
    """16 MB that really are in the file are fine: size alone is no reason, and the memory shows in the figures."""
    assert report["planted-large"]["code"] == "accepted"
    assert report["planted-large"]["grown_mb"] > 8
