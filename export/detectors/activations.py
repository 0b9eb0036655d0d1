"""Writes an activation that an exporter took apart as the one operator that it is: engines then fuse it."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

__all__ = ["join_hard_swish"]

_ROUNDING = 1e-6  # of a sixth that a file holds in float32


def join_hard_swish(graph: gs.Graph) -> int:
    """Replace ``x * clip(x + 3, 0, 6) / 6`` by ``HardSwish``, however its steps are ordered; opset 14 or more.

    PaddlePaddle writes it as four operators. ONNX Runtime keeps its fast layout of convolutions through ``HardSwish``,
    and not through those; OpenVINO knows the four, but not ``x * HardSigmoid(x)``.

    Args:
        graph: is changed; what is no longer used is left for ``cleanup``.
    Returns:
        How many there were.
    """
    found = 0
    for node in list(graph.nodes):
        value = _argument(node)
        if value is not None:
            result = node.outputs[0]
            node.outputs.clear()
            graph.nodes.append(gs.Node("HardSwish", f"{node.name or result.name}/hard-swish", {}, [value], [result]))
            found += 1
    return found


def _argument(node: gs.Node) -> gs.Tensor | None:
    """``x`` where the node's output is the hard swish of it."""
    whole = _sixth_of(node)  # (x * clip(x + 3, 0, 6)) / 6
    if whole is not None and (product := _maker(whole, "Mul")) is not None:
        return next((x for x, gate in _both(product) if _is_shifted_clip(gate, x)), None)
    if node.op == "Mul":  # x * (clip(x + 3, 0, 6) / 6)
        return next((x for x, gate in _both(node) if _is_hard_sigmoid(gate, x)), None)
    return None


def _is_hard_sigmoid(gate: gs.Tensor, x: gs.Tensor) -> bool:
    whole = _maker(gate, "HardSigmoid")
    if whole is not None:
        slope, offset = whole.attrs.get("alpha", 0.2), whole.attrs.get("beta", 0.5)
        return whole.inputs[0] is x and abs(slope - 1 / 6) < _ROUNDING and offset == 0.5
    divided = next((_sixth_of(made) for made in gate.inputs), None)
    return divided is not None and _is_shifted_clip(divided, x)


def _is_shifted_clip(gate: gs.Tensor, x: gs.Tensor) -> bool:
    """Whether it is ``clip(x + 3, 0, 6)``."""
    clip = _maker(gate, "Clip")
    if clip is None or [_number(limit) for limit in clip.inputs[1:]] != [0.0, 6.0]:
        return False
    shift = _maker(clip.inputs[0], "Add")
    return shift is not None and any(of is x and _number(by) == 3.0 for of, by in _both(shift))


def _sixth_of(node: gs.Node) -> gs.Tensor | None:
    """What the node divides by 6, or multiplies by a sixth."""
    if node.op == "Div" and _number(node.inputs[1]) == 6.0:
        return node.inputs[0]
    if node.op == "Mul":
        sixths = (of for of, by in _both(node) if abs((_number(by) or 0.0) - 1 / 6) < _ROUNDING)
        return next(sixths, None)
    return None


def _both(node: gs.Node) -> tuple[tuple[gs.Tensor, gs.Tensor], ...]:
    """Its two inputs in either order."""
    first, second = node.inputs
    return (first, second), (second, first)


def _maker(tensor: gs.Tensor, op: str) -> gs.Node | None:
    made = tensor.inputs[0] if tensor.inputs else None
    return made if made is not None and made.op == op else None


def _number(tensor: gs.Tensor) -> float | None:
    """The one number that a constant holds."""
    made = _maker(tensor, "Constant")
    values = getattr(tensor if made is None else made.attrs.get("value"), "values", None)
    return float(np.ravel(values)[0]) if values is not None and np.size(values) == 1 else None
