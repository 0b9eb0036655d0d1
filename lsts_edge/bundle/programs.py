"""Programs: which graphs a frame runs, and which slot each tensor is read from or written to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from lsts_edge.bundle.check import check, check_name
from lsts_edge.bundle.graphs import GraphInfo, StateInfo, TensorInfo
from lsts_edge.bundle.interface import InputInfo

__all__ = [
    "DETECTION_SLOTS",
    "PROGRAM_KINDS",
    "FrameKind",
    "Programs",
    "Step",
    "check_extra_programs",
    "check_programs",
    "is_keyframe",
]

DETECTION_SLOTS = ("boxes", "scores", "labels")
FrameKind = Literal["first", "keyframe", "propagated"]
"""A frame run with an empty memory, run in full, or built on the memory."""
PROGRAM_KINDS: tuple[FrameKind, ...] = get_args(FrameKind)
MAX_EXTRA_PROGRAMS = 16


def is_keyframe(index: int, interval: float) -> bool:
    """Whether frame ``index`` of a stream with a keyframe every ``interval`` frames is one; 2.5 is 2 and 3 in turn."""
    return math.floor(math.ceil(index / interval) * interval) == index


@dataclass(frozen=True)
class Step:
    """One run of a graph: ``inputs`` and ``outputs`` bind the graph's tensor names to slots."""

    graph: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


Programs = Mapping[str, tuple[Step, ...]]
"""Kind of frame, or name, to steps."""


def check_programs(
    label: str, programs: Programs, graphs: Mapping[str, GraphInfo], state: tuple[StateInfo, ...], size: InputInfo
) -> None:
    """Follow the slots through the programs of a frame's kinds: all that is read was written and fits.

    Raises:
        ManifestError: naming program, step and slot.
    """
    kinds = set(programs)
    check(kinds in ({"first"}, set(PROGRAM_KINDS)), label, sorted(kinds), f"first, or {', '.join(PROGRAM_KINDS)}")
    carried = _carried(state)
    sides: tuple[int | str, int | str] = ("H", "W") if size.follows_video else (size.height_px, size.width_px)
    image = TensorInfo("image", "uint8", (1, *sides, 3))
    for kind, steps in programs.items():
        if size.follows_video:
            _check_open(f"{label}.{kind}", steps, graphs)
        known = {"image": image} if kind == "first" else {"image": image, **carried}
        needed = (*DETECTION_SLOTS, *(carried if kind == "first" else ()))
        _check_program(f"{label}.{kind}", steps, graphs, known, carried, needed)


def check_extra_programs(programs: Programs, graphs: Mapping[str, GraphInfo], state: tuple[StateInfo, ...]) -> None:
    """As ``check_programs``, for programs by name whose image may have a size of their own; each leaves detections.

    Raises:
        ManifestError: naming program, step and slot.
    """
    expected = f"at most {MAX_EXTRA_PROGRAMS}"
    check(len(programs) <= MAX_EXTRA_PROGRAMS, "extra_programs", f"{len(programs)} programs", expected)
    carried = _carried(state)
    for name, steps in programs.items():
        check_name("extra program", name)
        known = dict(carried)
        image = _image_of(steps, graphs)
        if image is not None:
            shape = image.shape
            sides = shape[1:3] if image.dtype == "uint8" and len(shape) == 4 and (shape[0], shape[3]) == (1, 3) else ()
            fits = bool(sides) and all(isinstance(side, int) and 32 <= side <= 4096 for side in sides)
            got = f"{image.dtype} {list(shape)}"
            check(fits, f"extra_programs.{name}: image", got, "uint8 [1, H, W, 3] of 32..4096 pixels")
            known["image"] = image
        _check_program(f"extra_programs.{name}", steps, graphs, known, carried, DETECTION_SLOTS)


def _check_open(where: str, steps: tuple[Step, ...], graphs: Mapping[str, GraphInfo]) -> None:
    """Where the image's size follows the video, no graph that reads it may have a fixed one."""
    for step in steps:
        for tensor in graphs[step.graph].inputs if step.graph in graphs else ():
            if step.inputs.get(tensor.name) == "image":
                named = all(isinstance(side, str) for side in tensor.shape[1:3])
                check(named, f"{where}: image of {step.graph}", list(tensor.shape), "names for height and width")


def _carried(state: tuple[StateInfo, ...]) -> dict[str, TensorInfo]:
    carried: dict[str, TensorInfo] = {slot.name: slot for slot in state}
    check(len(carried) == len(state), "state", [slot.name for slot in state], "different names")
    check(not {"image", *DETECTION_SLOTS} & set(carried), "state", sorted(carried), "names of state")
    return carried


def _image_of(steps: tuple[Step, ...], graphs: Mapping[str, GraphInfo]) -> TensorInfo | None:
    """The tensor that a program reads the image into first."""
    for step in steps:
        for tensor in graphs[step.graph].inputs if step.graph in graphs else ():
            if step.inputs.get(tensor.name) == "image":
                return tensor
    return None


def _check_program(
    where: str,
    steps: tuple[Step, ...],
    graphs: Mapping[str, GraphInfo],
    known: dict[str, TensorInfo],
    carried: Mapping[str, TensorInfo],
    needed: tuple[str, ...],
) -> None:
    for index, step in enumerate(steps):
        _check_step(f"{where}[{index}]", step, graphs, known, carried)
    absent = [slot for slot in needed if slot not in known]
    check(not absent, where, f"nothing writes {', '.join(absent)}", "every state and detection slot")


def _check_step(
    where: str,
    step: Step,
    graphs: Mapping[str, GraphInfo],
    known: dict[str, TensorInfo],
    carried: Mapping[str, TensorInfo],
) -> None:
    """Check one step's bindings and add what it writes to ``known``."""
    check(step.graph in graphs, where, f"graph {ascii(step.graph)[:80]}", ", ".join(sorted(graphs)))
    graph = graphs[step.graph]
    inputs = {tensor.name: tensor for tensor in graph.inputs}
    outputs = {tensor.name: tensor for tensor in graph.outputs}
    check(set(step.inputs) == set(inputs), f"{where}.inputs", sorted(step.inputs), ", ".join(sorted(inputs)))
    check(set(step.outputs) <= set(outputs), f"{where}.outputs", sorted(step.outputs), ", ".join(sorted(outputs)))
    check(len(set(step.outputs.values())) == len(step.outputs), f"{where}.outputs", "a slot twice", "different slots")
    for name, slot in step.inputs.items():
        check(slot in known, f"{where}.inputs.{name}", f"slot {ascii(slot)[:80]}", f"one of {sorted(known)}")
        _check_same(f"{where}.inputs.{name}", inputs[name], known[slot])
    for name, slot in step.outputs.items():
        check_name("slot", slot)
        check(slot != "image", f"{where}.outputs.{name}", slot, "a slot other than the image")
        if slot in carried:
            _check_same(f"{where}.outputs.{name}", outputs[name], carried[slot])
        known[slot] = outputs[name]


def _check_same(where: str, tensor: TensorInfo, slot: TensorInfo) -> None:
    same = tensor.dtype == slot.dtype and len(tensor.shape) == len(slot.shape)
    if same:
        pairs = zip(tensor.shape, slot.shape, strict=True)
        same = all(a == b or isinstance(a, str) or isinstance(b, str) for a, b in pairs)
    check(same, where, f"{tensor.dtype} {list(tensor.shape)}", f"{slot.dtype} {list(slot.shape)} of the slot")
