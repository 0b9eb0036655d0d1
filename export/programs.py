"""Which subgraphs a frame of each kind runs, and which tensors it leaves for the next: data, not code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lsts_edge.bundle.manifest import PropagationInfo, Step
from lsts_edge.errors import ExportError
from lsts_edge.presets import ModelPreset

__all__ = ["NetworkPrograms", "programs_of"]

_DETECTIONS = {"boxes": "boxes", "scores": "scores", "labels": "labels"}


@dataclass(frozen=True)
class NetworkPrograms:
    """A bundle's programs.

    Attributes:
        state: names of the slots that live from frame to frame.
        features: those of them that are feature maps.
        programs: kind of frame -> steps over the split graphs.
        propagation: how the frames between keyframes are filled.
    """

    state: tuple[str, ...]
    features: tuple[str, ...]
    programs: Mapping[str, tuple[Step, ...]]
    propagation: PropagationInfo


def programs_of(preset: ModelPreset) -> NetworkPrograms:
    """The programs of a preset's form.

    ``released`` with r = 1: memory and task feature are one tensor, the state ``task``. With another r the state
    ``memory`` lives beside it. ``paper``: propagated frames align the memory, so the task feature is no state.

    Raises:
        ExportError: if the preset asks for what no program expresses.
    """
    if preset.lsts is None:
        alone = (_step("heavy", "image", "feature=task"), _head("task"))
        return NetworkPrograms((), (), {"first": alone}, PropagationInfo.only("every-frame", 1))
    aggregate: tuple[Step, ...]
    start: tuple[Step, ...]
    if preset.form == "paper":
        if preset.recursion != 1.0:
            raise ExportError(
                "preset of form paper with a recursion",
                got=preset.recursion,
                expected="1 (the paper's memory has no r)",
                fix="Use form released, or recursion 1.",
            )
        memory = carried = "memory"
        aggregate = (
            _step("aggregate_key", "feature aligned", "task=memory"),
            _step("aggregate_task", "memory feature", "task"),
        )
        start = (_step("heavy", "image", "feature=memory"),)
    elif preset.recursion == 1.0:
        memory = carried = "task"
        aggregate = (_step("aggregate_key", "feature aligned", "task"),)
        start = (_step("heavy", "image", "feature=task"),)
    else:
        memory, carried = "memory", "task"
        aggregate = (_step("aggregate_key", "feature aligned", "task memory"),)
        start = (_step("heavy", "image", "feature"), _step("start", "feature", "memory task"))
    embed = _step("embed_memory", f"task={carried}", "task_embedding")
    first = (*start, embed, _head(carried))
    keyframe = (
        _step("heavy", "image", "feature"),
        _step("embed_key", f"memory={memory} feature", "memory_embedding feature_embedding"),
        _step("lsts_key", f"memory={memory} memory_embedding feature_embedding", "aligned"),
        *aggregate,
        embed,
        _head("task"),
    )
    propagated = (
        _step("light", "image", "high"),
        _step("embed_current", "high", "high_embedding"),
        _step("lsts_current", f"memory={carried} memory_embedding=task_embedding high_embedding", "aligned"),
        _step("aggregate_current", "high aligned", "task=task_current"),
        _head("task_current"),
    )
    features = tuple(dict.fromkeys((memory, carried)))
    kinds = {"first": first, "keyframe": keyframe, "propagated": propagated}
    ways = PropagationInfo.only("features", preset.keyframe_interval)
    return NetworkPrograms((*features, "task_embedding"), features, kinds, ways)


def _step(graph: str, inputs: str, outputs: str) -> Step:
    return Step(graph, _binding(inputs.split()), _binding(outputs.split()))


def _binding(words: Sequence[str]) -> dict[str, str]:
    """``name=slot`` or, where both are called the same, ``name``."""
    pairs = (word.partition("=") for word in words)
    return {name: slot or name for name, _, slot in pairs}


def _head(task: str) -> Step:
    return Step("head", {"task": task}, dict(_DETECTIONS))
