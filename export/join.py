"""Joins the subgraphs of a program into one graph, for engines that run all stages in one place."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import onnx
import onnx_graphsurgeon as gs

from lsts_edge.bundle.manifest import Step
from lsts_edge.export.finished import OPSET, finished

__all__ = ["JOINED_NAMES", "join"]

JOINED_NAMES = {"first": "first", "keyframe": "keyframe", "propagated": "nonkeyframe"}
"""Kind of frame -> name of its joined graph."""


def join(
    name: str, steps: Sequence[Step], graphs: Mapping[str, onnx.ModelProto], state: Sequence[str]
) -> tuple[onnx.ModelProto, Step]:
    """One graph that does what the steps do.

    Slots that no step before has written are its inputs; the state slots it writes and the detections are its
    outputs. A state slot that is read and written has ``next_`` before its output's name.

    Args:
        name: of the joined graph.
        steps: a program over the split graphs.
        graphs: the split graphs by name.
        state: names of the carried slots.

    Returns:
        The graph and the step that binds it.
    """
    slots: dict[str, gs.Tensor] = {}
    inputs: dict[str, gs.Tensor] = {}
    joined = gs.Graph(name=name, opset=OPSET)
    domains: dict[str, int] = {}
    for step in steps:
        # graphsurgeon writes new names into the weights of the model it was given: hand it a copy.
        part = gs.import_onnx(copy.deepcopy(graphs[step.graph]))
        domains |= {entry.domain: entry.version for entry in graphs[step.graph].opset_import}
        outer: dict[int, gs.Tensor] = {}
        for tensor in part.inputs:
            slot = step.inputs[tensor.name]
            if slot not in slots:
                inputs[slot] = slots[slot] = gs.Variable(slot, dtype=tensor.dtype, shape=tensor.shape)
            outer[id(tensor)] = slots[slot]
        written = {step.outputs[tensor.name]: tensor for tensor in part.outputs if tensor.name in step.outputs}
        for tensor in part.tensors().values():
            tensor.name = f"{step.graph}/{tensor.name}"
        for node in part.nodes:
            node.name = f"{step.graph}/{node.name}"
            node.inputs = [outer.get(id(tensor), tensor) for tensor in node.inputs]
        joined.nodes.extend(part.nodes)
        slots |= written
    bound = {}
    for slot in (*state, "boxes", "scores", "labels"):
        if slot in slots and slots[slot] is not inputs.get(slot):
            tensor = slots[slot]
            tensor.name = f"next_{slot}" if slot in inputs else slot
            bound[tensor.name] = slot
            joined.outputs.append(tensor)
    joined.inputs = list(inputs.values())
    joined.import_domains = [onnx.helper.make_opsetid(domain, version) for domain, version in sorted(domains.items())]
    return finished(gs.export_onnx(joined)), Step(name, {slot: slot for slot in inputs}, bound)
