"""Which subgraphs a frame of each kind runs, and which tensors it leaves for the next: data, not code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lsts_edge.bundle.manifest import PropagationInfo, Step
from lsts_edge.errors import ExportError
from lsts_edge.presets import ModelPreset

__all__ = ["NetworkPrograms", "programs_of", "two_features"]

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


def two_features(preset: ModelPreset) -> bool:
    """Whether what the next keyframe aligns and what frames between align start as one tensor and then differ."""
    aligns = not preset.per_frame and preset.form == "released" and preset.srfu != "off"
    return aligns and (preset.recursion != 1.0 or preset.recurrent)


def programs_of(preset: ModelPreset) -> NetworkPrograms:
    """The programs of a preset's form.

    ``released`` with r = 1: memory and task feature are one tensor, the state ``task``. With another r, or where
    frames between keyframes write ``task`` too, the state ``memory`` lives beside it. ``paper``: propagated frames
    align the memory, so the task feature is no state. Without SRFU there is ``task`` alone.

    Raises:
        ExportError: if the preset asks for what no program expresses.
    """
    if preset.per_frame:
        alone = (_step("heavy", "image", "feature=task"), _head("task"))
        return NetworkPrograms((), (), {"first": alone}, PropagationInfo.only("every-frame", 1))
    _check(preset)
    ways = PropagationInfo.only("features", preset.keyframe_interval)
    if preset.alignment == "none":
        alone = (_step("heavy", "image", "feature=task"), _head("task"))
        moved = (_step("light", "image", "high"), _head("high"))
        return NetworkPrograms((), (), {"first": alone, "keyframe": alone, "propagated": moved}, ways)
    carried = "memory" if preset.form == "paper" else "task"
    memory = "memory" if two_features(preset) else carried
    begin: tuple[Step, ...] = (_step("heavy", "image", f"feature={carried}"),)
    if two_features(preset):
        begin = (_step("heavy", "image", "feature"), _step("start", "feature", "memory task"))
    compared = _compared(preset, carried)
    first = (*begin, *compared, _head(carried))
    keyframe = first
    if preset.srfu != "off":
        # A keyframe's alignment by pictures reads the old one and hands on the new one itself.
        keyframe = (*_keyframe(preset, memory), *(compared if preset.embeds else ()), _head("task"))
    kinds = {"first": first, "keyframe": keyframe, "propagated": _propagated(preset, carried)}
    features = tuple(dict.fromkeys((memory, carried)))
    state = (*features, *(slot for step in compared for slot in step.outputs.values()))
    return NetworkPrograms(state, features, kinds, ways)


def _keyframe(preset: ModelPreset, memory: str) -> tuple[Step, ...]:
    """A later keyframe to its task feature."""
    heavy = _step("heavy", "image", "feature")
    aligned = "aligned"
    steps: tuple[Step, ...] = (heavy,)
    if preset.embeds:
        steps += (_step("embed_key", f"memory={memory} feature", "memory_embedding feature_embedding"),)
        inputs = f"memory={memory} memory_embedding feature_embedding"
        steps += (_step(_align(preset, "key"), inputs, "aligned"),)
    elif preset.alignment == "copy":
        aligned = memory
    else:
        steps += (_step("shrink", "image", "picture=new_picture"),)
        steps += (_step("align_key", f"memory={memory} picture new_picture", "aligned next_picture=picture"),)
    blended = f"feature aligned={aligned}"
    if preset.form == "paper":
        return (
            *steps,
            _step("aggregate_key", blended, "task=memory"),
            _step("aggregate_task", "memory feature", "task"),
        )
    return (*steps, _step("aggregate_key", blended, "task memory" if two_features(preset) else "task"))


def _propagated(preset: ModelPreset, carried: str) -> tuple[Step, ...]:
    """A frame between keyframes to its boxes."""
    steps: list[Step] = []
    result = "task" if preset.recurrent else "task_current"
    aligned = "aligned" if preset.dfa != "off" else result
    if preset.sees:
        steps.append(_step("light", "image", "high"))
    if preset.embeds:
        steps.append(_step("embed_current", "high", "high_embedding"))
        inputs = f"memory={carried} memory_embedding=task_embedding high_embedding"
        steps.append(_step(_align(preset, "current"), inputs, f"aligned={aligned}"))
    elif preset.alignment == "copy":
        aligned = carried
    else:
        steps.append(_step("shrink", "image", "picture=new_picture"))
        steps.append(_step("align_current", f"memory={carried} picture new_picture", f"aligned={aligned}"))
    if preset.dfa != "off":
        steps.append(_step("aggregate_current", f"high aligned={aligned}", f"task={result}"))
        aligned = result
    steps.append(_head(aligned))
    if preset.recurrent:
        steps.extend(_compared(preset, carried))
    return tuple(steps)


def _compared(preset: ModelPreset, carried: str) -> tuple[Step, ...]:
    """What leaves behind what later frames compare themselves with."""
    if preset.embeds:
        return (_step("embed_memory", f"task={carried}", "task_embedding"),)
    return () if preset.alignment == "copy" else (_step("shrink", "image", "picture"),)


def _align(preset: ModelPreset, which: str) -> str:
    return f"lsts_{which}" if preset.samples else f"align_{which}"


def _check(preset: ModelPreset) -> None:
    if preset.form == "paper" and preset.recursion != 1.0:
        raise ExportError(
            "preset of form paper with a recursion",
            got=preset.recursion,
            expected="1 (the paper's memory has no r)",
            fix="Use form released, or recursion 1.",
        )
    if preset.alignment == "flow-warp":
        raise ExportError(
            "alignment flow-warp",
            got="DIS flow, which no ONNX operator computes",
            expected="an alignment of standard operators",
            fix="Evaluate the checkpoint itself, or export flow-warp-net.",
        )
    if preset.alignment == "flow-warp-net" and preset.recurrent:
        raise ExportError(
            "alignment flow-warp-net",
            got="a recurrent preset, whose frames and keyframes remember different pictures",
            expected="frames between keyframes that align the keyframe",
            fix="Leave recurrent out.",
        )


def _step(graph: str, inputs: str, outputs: str) -> Step:
    return Step(graph, _binding(inputs.split()), _binding(outputs.split()))


def _binding(words: Sequence[str]) -> dict[str, str]:
    """``name=slot`` or, where both are called the same, ``name``."""
    pairs = (word.partition("=") for word in words)
    return {name: slot or name for name, _, slot in pairs}


def _head(task: str) -> Step:
    return Step("head", {"task": task}, dict(_DETECTIONS))
