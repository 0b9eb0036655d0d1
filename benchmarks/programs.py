"""Run a bundle's programs with some graphs replaced and everything that no longer matters left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lsts_edge.bundle.manifest import DETECTION_SLOTS, Manifest, Step

__all__ = ["ProgramRunner", "prune"]

Slots = dict[str, np.ndarray]
Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""Graph tensors by name in, by name out: ``Session.run`` or anything like it."""


@dataclass(frozen=True)
class _Call:
    graph: str
    run: Run
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]


def prune(
    programs: Mapping[str, Sequence[Step]], state: Sequence[str], unread: Mapping[str, Sequence[str]] | None = None
) -> tuple[dict[str, list[Step]], set[str]]:
    """Keep the steps that lead to boxes, scores and labels, and the state that some program still reads.

    Args:
        programs: steps by kind of frame.
        state: names of the carried slots.
        unread: graph name -> inputs that its replacement does not read.

    Returns:
        The programs that are left, and the carried slots that are left.
    """
    ignored = unread or {}
    carried: set[str] = set()
    while True:
        kept: dict[str, list[Step]] = {}
        read: set[str] = set()
        for kind, steps in programs.items():
            needed = {*DETECTION_SLOTS, *carried}
            chosen: list[Step] = []
            for step in reversed(steps):
                if needed & set(step.outputs.values()):
                    chosen.insert(0, step)
                    needed -= set(step.outputs.values())
                    needed |= {slot for name, slot in step.inputs.items() if name not in ignored.get(step.graph, ())}
            kept[kind] = chosen
            read |= needed & set(state)
        if read <= carried:
            return kept, carried
        carried |= read


class ProgramRunner:
    """One stream through programs over named slots, as the runtime's pipeline runs them.

    Args:
        manifest: whose programs run.
        session: gives what runs a graph, by graph name; asked once per graph that is still used.
        kinds: which programs; ``("first",)`` makes a per-frame detector.
        unread: graph name -> inputs that its replacement does not read.
    """

    def __init__(
        self,
        manifest: Manifest,
        session: Callable[[str], Run],
        kinds: Sequence[str] = ("first", "keyframe", "propagated"),
        unread: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        programs = {kind: manifest.programs[kind] for kind in kinds}
        kept, self._carried = prune(programs, [slot.name for slot in manifest.state], unread)
        runs: dict[str, Run] = {}
        for step in (step for steps in kept.values() for step in steps):
            if step.graph not in runs:
                runs[step.graph] = session(step.graph)
        left_out = unread or {}
        self._calls = {
            kind: [
                _Call(
                    step.graph,
                    runs[step.graph],
                    tuple((n, s) for n, s in step.inputs.items() if n not in left_out.get(step.graph, ())),
                    tuple(step.outputs.items()),
                )
                for step in steps
            ]
            for kind, steps in kept.items()
        }
        self._state: Slots = {}
        self.graphs = tuple(runs)
        self.timings_ms: dict[str, float] = {}

    def reset(self) -> None:
        """Forget the carried slots: the next frame must be of kind ``first``."""
        self._state = {}

    def step(self, image: np.ndarray, kind: str) -> Slots:
        """Run one frame and return every slot it wrote.

        Args:
            image: ``(1, height_px, width_px, 3)`` uint8 BGR.
            kind: ``first``, ``keyframe`` or ``propagated``.
        """
        slots: Slots = {**self._state, "image": image}
        timings: dict[str, float] = {}
        for call in self._calls[kind]:
            begin = time.perf_counter_ns()
            values = call.run({name: slots[slot] for name, slot in call.inputs})
            for name, slot in call.outputs:
                slots[slot] = values[name]
            timings[call.graph] = (time.perf_counter_ns() - begin) / 1e6
        self._state = {name: slots[name] for name in self._carried}
        self.timings_ms = timings
        return slots
