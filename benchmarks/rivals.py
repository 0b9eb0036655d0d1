"""Other ways to run a bundle's networks, each put together as a runner: what the comparison sets beside ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from lsts_edge.benchmarks.alignments import DenseFlow, warp_graph
from lsts_edge.bundle import Bundle
from lsts_edge.bundle.manifest import DETECTION_SLOTS, Manifest, Step, TensorInfo
from lsts_edge.bundle.propagation import PropagationWay
from lsts_edge.errors import OptionError
from lsts_edge.export.rival_graphs import match_trans_graph, non_local_graph
from lsts_edge.runtime.engines.interface import Backend, Session
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.engines.tensors import Tensor
from lsts_edge.runtime.graphs import Graphs
from lsts_edge.runtime.pipeline import Pipeline
from lsts_edge.runtime.propagators.make import make_propagator
from lsts_edge.runtime.pruning import prune
from lsts_edge.runtime.runners.boxes import BoxRunner
from lsts_edge.runtime.runners.interface import FrameRunner
from lsts_edge.runtime.runners.network import NetworkRunner
from lsts_edge.runtime.runners.open import open_runner, per_frame_pipeline
from lsts_edge.runtime.schedulers.interface import Scheduler
from lsts_edge.runtime.schedulers.make import make_scheduler

__all__ = ["FOR_EVERY_BUNDLE", "METHODS", "OF_A_WAY", "method_runner", "method_scheduler"]

METHODS: Mapping[str, str] = {
    "per-frame": "the heavy network and the head on every frame",
    "hold": "the heavy network on keyframes, their boxes repeated in between",
    "flow-boxes": "the heavy network on keyframes, optical flow moves their boxes in between",
    "motion": "boxes moved by optical flow, keyframes once they have moved enough: the schedule that the bundle names",
    "smaller-input": "the same detector on a smaller input, every frame",
    "fused": "boxes moved by optical flow, joined with the same detector's on a smaller input",
    "flow-warp": "optical flow moves the keyframe's feature, then the head (DFF)",
    "flow-warp-aggregate": "optical flow in place of LSTS, everything else as ours",
    "match-trans": "a 9 x 9 window in place of LSTS, everything else as ours",
    "non-local": "all positions in place of LSTS, everything else as ours",
    "lsts": "ours",
}
OF_A_WAY = ("motion", "smaller-input", "fused")
"""Methods that need such a way in the bundle."""
FOR_EVERY_BUNDLE = ("per-frame", "hold", "flow-boxes", *OF_A_WAY)
"""Methods that need no LSTS."""


def method_runner(bundle: Bundle, method: str, backend: Backend, *, form: str | None, joined: bool) -> FrameRunner:
    """Put a bundle's networks together as ``method`` says, on the runtime's own runners.

    Args:
        bundle: an open bundle.
        method: one of ``METHODS``.
        backend: the engine, open.
        form: form of the LSTS graphs, for ``lsts``.
        joined: the joined graphs, for ``lsts`` and ``per-frame``.

    Raises:
        OptionError: if the method is unknown, or the bundle has not what it needs.
    """
    if method not in METHODS:
        raise OptionError("method", got=repr(method), expected=", ".join(METHODS), fix="Choose one of these.")
    manifest = bundle.manifest
    if manifest.lsts is None and method not in FOR_EVERY_BUNDLE:
        got = f"{manifest.name}, a network without LSTS"
        raise OptionError(f"method {method}", got=got, expected="a bundle with LSTS", fix="Export one.")
    if method in OF_A_WAY:
        return open_runner(bundle, EngineOptions(backend, lsts_form=form), _way_of(manifest, method))
    options = EngineOptions(backend, lsts_form=form, joined=joined)
    graphs = Graphs(bundle, options)
    if method == "lsts":
        return _network(manifest, Pipeline(bundle, options))
    if method == "per-frame":
        return _network(manifest, _joined_per_frame(bundle, graphs) if joined else per_frame_pipeline(graphs))
    if method in ("hold", "flow-boxes"):
        return BoxRunner(_network(manifest, per_frame_pipeline(graphs)), partial(make_propagator, method))
    return _network(manifest, _REPLACED[method](graphs))


def method_scheduler(manifest: Manifest, method: str) -> Scheduler | None:
    """Who decides which frames are keyframes, where that is not the comparison.

    Raises:
        OptionError: if the bundle has no such way.
    """
    return make_scheduler(_way_of(manifest, method)) if method == "motion" else None


def _network(manifest: Manifest, pipeline: Pipeline) -> NetworkRunner:
    return NetworkRunner(pipeline, manifest.input, manifest.detection.corners)


def _way_of(manifest: Manifest, kind: str) -> PropagationWay:
    for way in manifest.propagation.ways.values():
        if way.kind == kind or (kind == "motion" and way.most_motion is not None):
            return way
    known = ", ".join(manifest.propagation.ways)
    raise OptionError(f"method {kind}", got=f"ways {known}", expected="a bundle with such a way", fix="Wrap one.")


def _joined_per_frame(bundle: Bundle, graphs: Graphs) -> Pipeline:
    """One graph from image to boxes: the joined first graph without what only later frames read."""
    manifest = bundle.manifest
    if not manifest.state:
        return per_frame_pipeline(graphs)
    import onnx
    import onnx_graphsurgeon

    step = manifest.joined["first"][0]
    names = {slot: name for name, slot in step.outputs.items()}
    model = onnx.load_model_from_string(bundle.graph_bytes(step.graph))
    graph = onnx_graphsurgeon.import_onnx(model)
    tensors = {tensor.name: tensor for tensor in graph.outputs}
    graph.outputs = [tensors[names[slot]] for slot in DETECTION_SLOTS]
    pruned = onnx_graphsurgeon.export_onnx(graph.cleanup().toposort(), ir_version=model.ir_version)
    alone = Step("per_frame", step.inputs, {names[slot]: slot for slot in DETECTION_SLOTS})
    session = graphs.backend.load(pruned.SerializeToString(), alone.graph)
    return Pipeline.of_steps(graphs, {"first": (alone,)}, (), {alone.graph: session})


class _Gray(Session):
    """The picture that flow is computed on, kept from the keyframe."""

    inputs, outputs = ("image",), ("gray",)

    def __init__(self, backend: Backend, flow: DenseFlow) -> None:
        self.tensors, self._flow = backend.tensors, flow

    def run_tensors(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"gray": self.tensors.put(self._flow.gray(self.tensors.get(feeds["image"])))}


class _FlowWarp(Session):
    """The memory moved from the keyframe to this frame, by flow between their pictures."""

    inputs, outputs = ("memory", "image", "key_gray"), ("aligned",)

    def __init__(self, backend: Backend, flow: DenseFlow, memory_shape: tuple[int, ...]) -> None:
        self.tensors, self._flow = backend.tensors, flow
        self._warp = backend.load(warp_graph(memory_shape), "warp")

    def run_tensors(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        get = self.tensors.get
        grid = self._flow.grid(self._flow.gray(get(feeds["image"])), get(feeds["key_gray"]))
        return self._warp.run_tensors({"memory": feeds["memory"], "grid": self.tensors.put(grid)})


_KEEP_GRAY = Step("flow_key", {"image": "image"}, {"gray": "key_gray"})


def _flow_sessions(graphs: Graphs, *names: str) -> dict[str, Session]:
    shape = _shape(_tensor(graphs.manifest, "lsts_current", "memory"))
    flow = DenseFlow((shape[2], shape[3]))
    warp = _FlowWarp(graphs.backend, flow, shape)
    return {_KEEP_GRAY.graph: _Gray(graphs.backend, flow), **dict.fromkeys(names, warp)}


def _flow_warp(graphs: Graphs) -> Pipeline:
    """On keyframes the network, in between its feature moved to the frame, and the head."""
    steps = prune({"first": graphs.manifest.programs["first"]}, ())[0]["first"]
    head = next(step for step in steps if "boxes" in step.outputs.values())
    ((name, slot),) = head.inputs.items()
    warp = Step("flow_warp", {"memory": slot, "image": "image", "key_gray": "key_gray"}, {"aligned": "warped"})
    key = (*steps, _KEEP_GRAY)
    programs = {"first": key, "keyframe": key, "propagated": (warp, replace(head, inputs={name: "warped"}))}
    return Pipeline.of_steps(graphs, programs, (slot, "key_gray"), _flow_sessions(graphs, warp.graph))


def _flow_warp_aggregate(graphs: Graphs) -> Pipeline:
    """Our programs with both LSTS graphs replaced by flow and warp; the embeddings are not computed."""
    manifest = graphs.manifest

    def moved(step: Step) -> Step:
        if not step.graph.startswith("lsts_"):
            return step
        return replace(step, inputs={"memory": step.inputs["memory"], "image": "image", "key_gray": "key_gray"})

    programs = {kind: tuple(map(moved, steps)) for kind, steps in manifest.programs.items()}
    for kind in ("first", "keyframe"):
        programs[kind] += (_KEEP_GRAY,)
    kept, state = prune(programs, [*(slot.name for slot in manifest.state), "key_gray"])
    return Pipeline.of_steps(graphs, kept, state, _flow_sessions(graphs, "lsts_key", "lsts_current"))


def _aligned_by(build: Callable[..., Any], name: str, graphs: Graphs) -> Pipeline:
    """Our programs with another graph in place of each LSTS graph."""
    manifest = graphs.manifest
    sessions: dict[str, Session] = {}
    for graph in ("lsts_key", "lsts_current"):
        tensors = {tensor.name: tensor for tensor in manifest.graphs[graph].inputs}
        current = next(name for name in tensors if name not in ("memory", "memory_embedding"))
        model = build(current, _shape(tensors["memory_embedding"]), _shape(tensors["memory"]))
        sessions[graph] = graphs.backend.load(model.SerializeToString(), f"{graph} ({name})")
    kept, state = prune(manifest.programs, [slot.name for slot in manifest.state])
    return Pipeline.of_steps(graphs, kept, state, sessions)


_REPLACED: Mapping[str, Callable[[Graphs], Pipeline]] = {
    "flow-warp": _flow_warp,
    "flow-warp-aggregate": _flow_warp_aggregate,
    "match-trans": partial(_aligned_by, match_trans_graph, "match-trans"),
    "non-local": partial(_aligned_by, non_local_graph, "non-local"),
}


def _tensor(manifest: Manifest, graph: str, name: str) -> TensorInfo:
    return next(tensor for tensor in manifest.graphs[graph].inputs if tensor.name == name)


def _shape(tensor: TensorInfo) -> tuple[int, ...]:
    sizes = tuple(size for size in tensor.shape if isinstance(size, int))
    if len(sizes) != len(tensor.shape):
        raise OptionError("bundle for comparison", got="sizes left open", expected="a fixed size", fix="Export one.")
    return sizes
