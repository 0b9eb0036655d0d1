"""Programs without what nobody reads: only what leads to boxes, in the frame or in a later one."""

from __future__ import annotations

from collections.abc import Sequence

from lsts_edge.bundle.manifest import DETECTION_SLOTS, Step
from lsts_edge.bundle.programs import Programs

__all__ = ["prune"]


def prune(programs: Programs, state: Sequence[str]) -> tuple[dict[str, tuple[Step, ...]], tuple[str, ...]]:
    """Keep the steps that lead to boxes, scores and labels, and the state that some program still reads.

    Args:
        programs: steps by kind of frame.
        state: names of the carried slots.

    Returns:
        The programs that are left, and the carried slots that are left.
    """
    carried: set[str] = set()
    while True:
        kept: dict[str, tuple[Step, ...]] = {}
        read: set[str] = set()
        for kind, steps in programs.items():
            needed = {*DETECTION_SLOTS, *carried}
            chosen: list[Step] = []
            for step in reversed(steps):
                if needed & set(step.outputs.values()):
                    chosen.insert(0, step)
                    needed -= set(step.outputs.values())
                    needed |= set(step.inputs.values())
            kept[kind] = tuple(chosen)
            read |= needed & set(state)
        if read <= carried:
            return kept, tuple(slot for slot in state if slot in carried)
        carried |= read
