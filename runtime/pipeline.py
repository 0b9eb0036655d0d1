"""Runs a bundle's programs over named slots and carries the memory from frame to frame."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lsts_edge.bundle import Bundle
from lsts_edge.bundle.manifest import Manifest, Step
from lsts_edge.bundle.programs import FrameKind, Programs, is_keyframe
from lsts_edge.errors import ShapeError, StateError
from lsts_edge.runtime.engines.interface import Backend, Session
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.engines.tensors import Tensor, Tensors
from lsts_edge.runtime.graphs import Graphs

__all__ = ["Pipeline", "Slots"]


@dataclass(frozen=True)
class _BoundStep:
    graph: str
    session: Session
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Loaded:
    """What several pipelines share: sessions and programs, which never change after loading."""

    graphs: Graphs
    programs: Mapping[str, tuple[_BoundStep, ...]]
    watched: Mapping[str, tuple[str, ...]]
    state: tuple[str, ...]
    image_shape: tuple[int | str, ...]
    multiple_px: int
    joined: bool


class Slots(Mapping[str, np.ndarray]):
    """Slots by name: each is an array when it is asked for, and until then where the engine has it.

    Attributes:
        tensors: the engine's own, by name.
    """

    def __init__(self, tensors: Mapping[str, Tensor], engine: Tensors) -> None:
        self.tensors = tensors
        self._engine = engine
        self._arrays: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        array = self._arrays.get(name)
        if array is None:
            array = self._arrays[name] = self._engine.get(self.tensors[name])
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


class Pipeline:
    """The graphs of a bundle on one engine, and one stream's memory.

    The manifest says which graphs a frame of each kind runs and which slots live on to the next frame; nothing
    here knows a slot by name but ``image``, ``boxes``, ``scores`` and ``labels``.

    Attributes:
        timings_ms: time of each graph in the last step, by graph name.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions | None = None) -> None:
        """Load the sessions from the bundle's verified bytes.

        Args:
            bundle: an open bundle.
            options: the engine, and which graphs it runs; None takes ONNX Runtime on the CPU.
        Raises:
            OptionError: if the form or the joined graphs are not in the bundle.
            ProviderError: if the engine or provider is missing or refuses a graph.
            OpLibraryError: if the form is ``custom`` and the op library is missing or does not fit.
            DigestMismatch: if a file changed since the bundle was opened.
        """
        graphs = Graphs(bundle, options)
        programs = bundle.manifest.joined if graphs.joined else bundle.manifest.programs
        self._load(graphs, programs, tuple(slot.name for slot in bundle.manifest.state), {})

    @classmethod
    def of_steps(
        cls,
        graphs: Graphs,
        programs: Programs,
        state: Sequence[str] = (),
        sessions: Mapping[str, Session] | None = None,
    ) -> Pipeline:
        """Other programs over the same graphs.

        Args:
            graphs: of the bundle.
            programs: ``first`` alone, which then runs on every frame, or steps for each kind of frame.
            state: the slots that live on to the next frame; ``first`` writes them.
            sessions: what runs in place of a graph, or of one that the bundle does not have, by graph name; on the
                same engine.
        """
        pipeline = object.__new__(cls)
        pipeline._load(graphs, programs, tuple(state), sessions or {})
        return pipeline

    def _load(
        self, graphs: Graphs, programs: Programs, state: tuple[str, ...], sessions: Mapping[str, Session]
    ) -> None:
        self._loaded = _Loaded(
            graphs=graphs,
            programs={
                kind: tuple(_bind(step, sessions.get(step.graph) or graphs.session(step.graph)) for step in steps)
                for kind, steps in programs.items()
            },
            watched={kind: _watched(steps, state) for kind, steps in programs.items()},
            state=state,
            image_shape=_image_shape(graphs.manifest, programs),
            multiple_px=graphs.manifest.input.multiple_px,
            joined=programs["first"][-1] in graphs.manifest.joined.get("first", ()),
        )
        self._start_empty()

    def share(self) -> Pipeline:
        """Another pipeline on the same sessions, with a memory of its own: one per stream."""
        other = object.__new__(Pipeline)
        other._loaded = self._loaded
        other._start_empty()
        return other

    def _start_empty(self) -> None:
        self._state: dict[str, Tensor] = {}
        self._started = False
        self._memory_px: tuple[int, ...] = ()  # shape of the image that the memory is from
        self.timings_ms: dict[str, float] = {}

    @property
    def backend(self) -> Backend:
        """The engine in use."""
        return self._loaded.graphs.backend

    @property
    def lsts_form(self) -> str | None:
        """The LSTS form in use; None where the model has no LSTS."""
        return self._loaded.graphs.lsts_form

    @property
    def joined(self) -> bool:
        """Whether the joined graphs run."""
        return self._loaded.joined

    @property
    def carries_memory(self) -> bool:
        """False for a per-frame detector, which runs the program ``first`` on every frame."""
        return "keyframe" in self._loaded.programs

    @property
    def has_memory(self) -> bool:
        """Whether a frame has run since the last reset, so that the next may be a keyframe or propagated."""
        return self._started

    @property
    def image_shape(self) -> tuple[int | str, ...]:
        """``(1, height_px, width_px, 3)`` of its images; a name where the size is open."""
        return self._loaded.image_shape

    @property
    def state(self) -> Mapping[str, np.ndarray]:
        """The carried slots by name; empty after a reset."""
        return Slots(self._state, self._loaded.graphs.backend.tensors)

    def kind_at(self, index: int, keyframe_interval: float) -> FrameKind:
        """Kind of frame ``index`` of a stream that is run at a fixed interval; ``first`` always without memory."""
        if index == 0 or not self.carries_memory:
            return "first"
        return "keyframe" if is_keyframe(index, keyframe_interval) else "propagated"

    def reset(self) -> None:
        """Forget everything carried: the next frame must be of kind ``first``."""
        self._state = {}
        self._started = False

    def step(self, image: np.ndarray, kind: FrameKind, *, remember: bool = True) -> Slots:
        """Run one frame.

        The memory changes only when every graph of the program has run: after an exception it is what it was.

        Args:
            image: ``(1, height_px, width_px, 3)`` uint8 BGR, resized and padded as the manifest says.
            kind: which program runs. A per-frame detector runs ``first`` for each.
            remember: False leaves the memory as it was: for a picture that is not to be trusted.
        Returns:
            Every slot of the program by name, the carried ones included; they stay in the engine until asked for.
        Raises:
            ShapeError: if the image does not fit.
            StateError: if ``kind`` needs a memory and there is none, or it is of an image of another size.
            ProviderError: if the engine fails.
        """
        loaded = self._loaded
        self._check_image(image)
        if kind != "first" and not self._started:
            raise StateError(
                f"a frame of kind {kind} has no memory to use",
                got="an empty memory",
                expected="a frame of kind first before",
                fix="Run the first frame of a stream, and the one after a reset, as first.",
            )
        if kind != "first" and image.shape != self._memory_px:
            raise StateError(
                f"a frame of kind {kind} has a memory of another size",
                got=f"an image of {image.shape[2]}x{image.shape[1]} px",
                expected=f"{self._memory_px[2]}x{self._memory_px[1]} px",
                fix="Reset where the video's size changes, and run the frame as first.",
            )
        steps = loaded.programs[kind if self.carries_memory else "first"]
        slots: dict[str, Tensor] = {} if kind == "first" else dict(self._state)
        slots["image"] = loaded.graphs.backend.tensors.put(image)
        timings: dict[str, float] = {}
        for step in steps:
            begin = time.perf_counter_ns()
            values = step.session.run_tensors({name: slots[slot] for name, slot in step.inputs})
            for name, slot in step.outputs:
                slots[slot] = values[name]
            timings[step.graph] = (time.perf_counter_ns() - begin) / 1e6
        del slots["image"]
        if remember:
            self._state = {name: slots[name] for name in loaded.state}
            self._started = True
            self._memory_px = image.shape
        self.timings_ms = timings
        return Slots(slots, loaded.graphs.backend.tensors)

    def is_finite(self, slots: Slots, kind: FrameKind) -> bool:
        """Whether the carried slots, the feature the boxes are read from and the boxes hold no NaN or infinity."""
        watched = self._loaded.watched[kind if self.carries_memory else "first"]
        return self._loaded.graphs.backend.tensors.all_finite([slots.tensors[name] for name in watched])

    def _check_image(self, image: np.ndarray) -> None:
        expected, multiple = self._loaded.image_shape, self._loaded.multiple_px
        fits = image.dtype == np.uint8 and image.ndim == len(expected)
        fits = fits and all(
            wanted == size if isinstance(wanted, int) else size > 0 and size % multiple == 0
            for wanted, size in zip(expected, image.shape, strict=True)
        )
        if not fits:
            told = f", sides in multiples of {multiple}" if multiple > 1 else ""
            raise ShapeError(
                "network image",
                got=f"{image.dtype} {image.shape}",
                expected=f"uint8 {expected}{told}",
                fix="Resize and pad it as the manifest's input says.",
            )


def _bind(step: Step, session: Session) -> _BoundStep:
    return _BoundStep(step.graph, session, tuple(step.inputs.items()), tuple(step.outputs.items()))


def _watched(steps: tuple[Step, ...], state: tuple[str, ...]) -> tuple[str, ...]:
    written = {slot for step in steps for slot in step.outputs.values()}
    read_by_head = {slot for step in steps if "boxes" in step.outputs.values() for slot in step.inputs.values()}
    watched = (written & set(state)) | read_by_head | {"boxes", "scores"}
    return tuple(sorted(watched - {"image"}))


def _image_shape(manifest: Manifest, programs: Programs) -> tuple[int | str, ...]:
    for step in programs["first"]:
        for name, slot in step.inputs.items():
            if slot == "image" and step.graph in manifest.graphs:
                return next(tensor.shape for tensor in manifest.graphs[step.graph].inputs if tensor.name == name)
    return (1, manifest.input.height_px, manifest.input.width_px, 3)
