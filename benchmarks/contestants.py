"""Everything that takes part in a comparison behind one small interface: prepare a frame, infer, finish to boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from lsts_edge.benchmarks.alignments import DenseFlow, match_trans_graph, non_local_graph, warp_graph
from lsts_edge.benchmarks.peers import Peer
from lsts_edge.benchmarks.programs import ProgramRunner, Run
from lsts_edge.boxes import Boxes
from lsts_edge.bundle import Bundle
from lsts_edge.bundle.manifest import TensorInfo
from lsts_edge.errors import OptionError
from lsts_edge.runtime.engines.interface import Session
from lsts_edge.runtime.engines.loads_once import LoadsOnce
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.pipeline import Pipeline
from lsts_edge.runtime.preprocess import Geometry, Preprocessor

__all__ = ["METHODS", "BundleContestant", "Contestant", "PeerContestant", "bundle_contestant"]

METHODS: Mapping[str, str] = {
    "per-frame": "the heavy network and the head on every frame",
    "keyframe-copy": "the heavy network on keyframes, their boxes repeated in between",
    "flow-warp": "optical flow moves the keyframe's feature, then the head (DFF)",
    "flow-warp-aggregate": "optical flow in place of LSTS, everything else as ours",
    "match-trans": "a 9 x 9 window in place of LSTS, everything else as ours",
    "non-local": "all positions in place of LSTS, everything else as ours",
    "lsts": "ours",
}


class Contestant(Protocol):
    """A detector under comparison: what takes the time is in ``prepare``, ``infer`` and ``finish``."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of its classes."""

    @property
    def propagates(self) -> bool:
        """Whether frames between keyframes are run as such."""

    @property
    def graphs_ms(self) -> Mapping[str, float]:
        """Time by graph in the last frame; empty where it is not told."""

    def start(self) -> None:
        """Begin a new stream."""

    def prepare(self, frame_hwc_bgr_u8: np.ndarray) -> tuple[Any, Geometry]:
        """The network's input and where the frame lies in it."""

    def infer(self, prepared: Any, keyframe: bool) -> Any:
        """Run the networks; what comes back goes to ``finish``."""

    def finish(self, raw: Any, geometry: Geometry) -> Boxes:
        """Boxes in frame pixels; labels index ``classes``."""


class _Stepper(Protocol):
    """What runs a frame: a pipeline, a program runner, or something built of them."""

    timings_ms: dict[str, float]

    def reset(self) -> None:
        """Forget the stream."""

    def step(self, image: np.ndarray, kind: Any) -> Mapping[str, np.ndarray]:
        """Every slot of the frame."""


class BundleContestant:
    """A bundle's networks under one method.

    Args:
        bundle: whose input rule and detection limits hold.
        stepper: runs the frames.
        propagates: whether frames between keyframes are run as such.
        score_floor: boxes scoring less are left out.
    """

    def __init__(self, bundle: Bundle, stepper: _Stepper, propagates: bool, score_floor: float) -> None:
        self.propagates = propagates
        self._stepper = stepper
        self.classes = tuple(bundle.manifest.classes)
        self._corners = bundle.manifest.detection.corners
        self._preprocess = Preprocessor(bundle.manifest.input)
        self._floor = score_floor
        self._started = False

    @property
    def graphs_ms(self) -> Mapping[str, float]:
        """Time by graph in the last frame."""
        return self._stepper.timings_ms

    def start(self) -> None:
        """Begin a new stream."""
        self._stepper.reset()
        self._started = False

    def prepare(self, frame_hwc_bgr_u8: np.ndarray) -> tuple[np.ndarray, Geometry]:
        """Resize and pad as the bundle says."""
        return self._preprocess(frame_hwc_bgr_u8)

    def infer(self, prepared: np.ndarray, keyframe: bool) -> Mapping[str, np.ndarray]:
        """Run the frame's program."""
        kind = "first" if not self._started or not self.propagates else "keyframe" if keyframe else "propagated"
        self._started = True
        return self._stepper.step(prepared, kind)

    def finish(self, raw: Mapping[str, np.ndarray], geometry: Geometry) -> Boxes:
        """Scale to the frame; drop what scores below the floor."""
        boxes = geometry.to_frame(Boxes.of_slots(raw, self._corners))
        return boxes.select(boxes.scores >= self._floor)


class PeerContestant:
    """A peer's network on every frame.

    Args:
        peer: whose network; frames go through it one by one.
    """

    propagates = False
    graphs_ms: Mapping[str, float] = {}

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.classes = peer.classes
        self.prepare: Callable[[np.ndarray], tuple[Any, Geometry]] = peer.prepare
        self.finish: Callable[[Any, Geometry], Boxes] = peer.finish

    def start(self) -> None:
        """A per-frame network has no stream."""

    def infer(self, prepared: Any, keyframe: bool) -> Any:
        """The same for every frame."""
        return self._peer.infer(prepared)


def bundle_contestant(
    bundle: Bundle, method: str, backend: LoadsOnce, *, form: str | None, joined: bool, score_floor: float
) -> BundleContestant:
    """Put a bundle's networks together as ``method`` says.

    Args:
        bundle: a bundle with LSTS; ``per-frame`` and ``keyframe-copy`` take any.
        method: one of ``METHODS``.
        backend: the engine, whose sessions are shared.
        form: form of the LSTS graphs, for ``lsts``.
        joined: the joined graphs, for ``lsts`` and ``per-frame``.
        score_floor: boxes scoring less are left out.

    Raises:
        OptionError: if the method is unknown, or the bundle has no memory to propagate.
    """
    if method not in METHODS:
        raise OptionError("method", got=repr(method), expected=", ".join(METHODS), fix="Choose one of these.")
    manifest = bundle.manifest
    if manifest.lsts is None and method not in ("per-frame", "keyframe-copy"):
        raise OptionError(
            f"method {method}",
            got=f"{manifest.name}, a per-frame model",
            expected="a bundle with LSTS",
            fix="Export one.",
        )

    def session(graph: str) -> Run:
        return backend.load(bundle.model_for(backend.name, graph, form or "default"), graph).run

    stepper: _Stepper
    if method == "lsts":
        stepper = Pipeline(bundle, EngineOptions(backend, lsts_form=form, joined=joined))
    elif method == "per-frame":
        stepper = _joined_per_frame(bundle, backend) if joined else ProgramRunner(manifest, session, ("first",))
    elif method == "keyframe-copy":
        stepper = _KeyframeCopy(ProgramRunner(manifest, session, ("first",)))
    elif method == "flow-warp":
        stepper = _FlowWarp(bundle, backend, ProgramRunner(manifest, session, ("first",)), session("head"))
    elif method == "flow-warp-aggregate":
        stepper = _FlowAggregate(bundle, backend, session)
    else:
        stepper = ProgramRunner(manifest, _replaced(bundle, backend, session, method))
    return BundleContestant(bundle, stepper, method != "per-frame", score_floor)


class _JoinedPerFrame:
    """One graph from image to boxes: the joined first graph without what only later frames read."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.timings_ms: dict[str, float] = {}

    def reset(self) -> None:
        pass

    def step(self, image: np.ndarray, kind: Any) -> dict[str, np.ndarray]:
        return self._session.run({self._session.inputs[0]: image})


def _joined_per_frame(bundle: Bundle, backend: LoadsOnce) -> _JoinedPerFrame:
    import onnx
    import onnx_graphsurgeon

    step = bundle.manifest.joined["first"][0]
    names = {slot: name for name, slot in step.outputs.items()}
    model = onnx.load_model_from_string(bundle.graph_bytes(step.graph))
    graph = onnx_graphsurgeon.import_onnx(model)
    tensors = {tensor.name: tensor for tensor in graph.outputs}
    graph.outputs = [tensors[names[slot]] for slot in ("boxes", "scores", "labels")]
    pruned = onnx_graphsurgeon.export_onnx(graph.cleanup().toposort(), ir_version=model.ir_version)
    return _JoinedPerFrame(backend.load(pruned.SerializeToString(), "per_frame"))


class _KeyframeCopy:
    def __init__(self, per_frame: ProgramRunner) -> None:
        self._per_frame = per_frame
        self._last: dict[str, np.ndarray] = {}
        self.timings_ms: dict[str, float] = {}

    def reset(self) -> None:
        self._last = {}

    def step(self, image: np.ndarray, kind: Any) -> dict[str, np.ndarray]:
        self.timings_ms = {}
        if kind != "propagated":
            self._last = self._per_frame.step(image, "first")
            self.timings_ms = self._per_frame.timings_ms
        return self._last


class _FlowWarp:
    def __init__(self, bundle: Bundle, backend: LoadsOnce, per_frame: ProgramRunner, head: Run) -> None:
        feature = _tensor(bundle, "lsts_current", "memory")
        self._per_frame = per_frame
        self._flow = DenseFlow(_size(feature))
        self._warp = backend.load(warp_graph(_shape(feature)), "warp").run
        self._head = head
        self._head_input = bundle.manifest.graphs["head"].inputs[0].name
        self._slot = next(s.inputs[self._head_input] for s in bundle.manifest.programs["first"] if s.graph == "head")
        self._feature: np.ndarray | None = None
        self.timings_ms: dict[str, float] = {}

    def reset(self) -> None:
        self._feature = None

    def step(self, image: np.ndarray, kind: Any) -> dict[str, np.ndarray]:
        self.timings_ms = {}
        if kind != "propagated":
            slots = self._per_frame.step(image, "first")
            self._feature = slots[self._slot]
            self._flow.keyframe(image)
            return slots
        assert self._feature is not None
        warped = self._warp({"memory": self._feature, "grid": self._flow.grid(image)})
        return dict(self._head({self._head_input: warped["aligned"]}))


class _FlowAggregate:
    """Our programs with both LSTS graphs replaced by flow and warp; the embeddings are not computed."""

    def __init__(self, bundle: Bundle, backend: LoadsOnce, session: Callable[[str], Run]) -> None:
        feature = _tensor(bundle, "lsts_current", "memory")
        self._flow = DenseFlow(_size(feature))
        warp = backend.load(warp_graph(_shape(feature)), "warp").run
        self._image: np.ndarray | None = None

        def align(tensors: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
            assert self._image is not None
            return warp({"memory": tensors["memory"], "grid": self._flow.grid(self._image)})

        self._runner = ProgramRunner(
            bundle.manifest,
            lambda graph: align if graph.startswith("lsts_") else session(graph),
            unread={name: _but_memory(bundle, name) for name in ("lsts_key", "lsts_current")},
        )
        self.timings_ms: dict[str, float] = {}

    def reset(self) -> None:
        self._runner.reset()

    def step(self, image: np.ndarray, kind: Any) -> dict[str, np.ndarray]:
        self._image = image
        slots = self._runner.step(image, kind)
        if kind != "propagated":
            self._flow.keyframe(image)
        self.timings_ms = self._runner.timings_ms
        return slots


def _replaced(bundle: Bundle, backend: LoadsOnce, session: Callable[[str], Run], method: str) -> Callable[[str], Run]:
    build = {"match-trans": match_trans_graph, "non-local": non_local_graph}[method]

    def chosen(graph: str) -> Run:
        if not graph.startswith("lsts_"):
            return session(graph)
        tensors = {tensor.name: tensor for tensor in bundle.manifest.graphs[graph].inputs}
        current = next(name for name in tensors if name not in ("memory", "memory_embedding"))
        model = build(current, _shape(tensors["memory_embedding"]), _shape(tensors["memory"]))
        return backend.load(model, f"{graph} ({method})").run

    return chosen


def _but_memory(bundle: Bundle, graph: str) -> list[str]:
    return [tensor.name for tensor in bundle.manifest.graphs[graph].inputs if tensor.name != "memory"]


def _tensor(bundle: Bundle, graph: str, name: str) -> TensorInfo:
    return next(tensor for tensor in bundle.manifest.graphs[graph].inputs if tensor.name == name)


def _shape(tensor: TensorInfo) -> tuple[int, ...]:
    sizes = tuple(size for size in tensor.shape if isinstance(size, int))
    if len(sizes) != len(tensor.shape):
        raise OptionError("bundle for comparison", got="sizes left open", expected="a fixed size", fix="Export one.")
    return sizes


def _size(tensor: TensorInfo) -> tuple[int, int]:
    height, width = _shape(tensor)[2:]
    return height, width
