"""A bundle that is small, valid and hungry is refused in a child; one that is not runs, and says what it took."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hand_made import field, hand_made_files, hand_made_manifest, head_model, node, tensor, value_info
from lsts_edge.bundle import Bundle, write_bundle
from lsts_edge.errors import BundleResources
from lsts_edge.runtime.bundle_trial import try_bundle
from lsts_edge.runtime.child import ChildLimits, run_child
from lsts_edge.runtime.engines.options import EngineOptions

_FLOAT, _INT64, _BOOL = 1, 7, 9
_GRAPH_ATTRIBUTE = 5


def memory() -> bytes:
    """A vector of 8 GB, worked out of nothing, and its largest number."""
    no_axes_kept = field(5, field(1, "keepdims") + field(3, 0) + field(20, 2))
    return (
        field(1, node("ConstantOfShape", ["size"], ["large"]))
        + field(1, node("ReduceMax", ["large"], ["shift"], no_axes_kept))
        + field(5, tensor("size", np.array([1 << 31], np.int64)))
    )


def hours() -> bytes:
    """Zero added to zero, 2^60 times."""
    body = (
        field(1, node("Identity", ["condition"], ["goes_on"]))
        + field(1, node("Add", ["before", "before"], ["after"]))
        + field(2, "body")
        + field(11, value_info("turn", _INT64, ()))
        + field(11, value_info("condition", _BOOL, ()))
        + field(11, value_info("before", _FLOAT, ()))
        + field(12, value_info("goes_on", _BOOL, ()))
        + field(12, value_info("after", _FLOAT, ()))
    )
    attribute = field(5, field(1, "body") + field(6, body) + field(20, _GRAPH_ATTRIBUTE))
    return (
        field(1, node("Loop", ["turns", "", "start"], ["shift"], attribute))
        + field(5, tensor("turns", np.array(1 << 60, np.int64)))
        + field(5, tensor("start", np.array(0, np.float32)))
    )


def bundle_with(folder: Path, head: bytes) -> Bundle:
    return write_bundle(folder / "hungry", hand_made_manifest(), {**hand_made_files(), "head.onnx": head})


def test_a_modest_bundle_says_what_it_took(hand_made_bundle: Path) -> None:
    usage = try_bundle(Bundle.open(hand_made_bundle), EngineOptions(threads=1))
    assert usage is not None
    assert 20e6 < usage.peak_memory_bytes < 1e9 and usage.load_s > 0 and usage.frames_s > 0


@pytest.mark.parametrize(("hunger", "time_s"), [(memory, 300.0), (hours, 6.0)], ids=["memory", "hours"])
def test_a_hungry_bundle_is_refused(tmp_path: Path, hunger: Callable[[], bytes], time_s: float) -> None:
    bundle = bundle_with(tmp_path, head_model(shift=hunger()))  # valid: it opens
    with pytest.raises(BundleResources) as refused:
        try_bundle(bundle, EngineOptions(threads=1), ChildLimits(time_s, 2 << 30))
    assert "within 6 s" in str(refused.value) if hunger is hours else "lloc" in str(refused.value)


def test_the_planted_head_itself_is_fine(tmp_path: Path) -> None:
    """So that what is refused above is refused for its hunger."""
    sated = field(5, tensor("shift", np.array(0, np.float32)))
    assert try_bundle(bundle_with(tmp_path, head_model(shift=sated)), EngineOptions(threads=1)) is not None


def main(arguments: list[str]) -> None:
    """What the children of this file do."""
    if arguments == ["crash"]:
        os.kill(os.getpid(), signal.SIGSEGV)
    if arguments == ["eat"]:
        print(len(bytes(1 << 30)))
    print("fed", *arguments)


def test_children_crash_eat_and_answer() -> None:
    crash, eat, answer = (
        run_child(__name__, words, ChildLimits(300, 1 << 29), "it") for words in (["crash"], ["eat"], ["a"])
    )
    assert crash is not None and eat is not None and answer is not None
    assert crash.crashed and "SIGSEGV" in crash.refused
    assert not eat.crashed and "MemoryError" in eat.refused
    assert answer.refused == "" and answer.output == "fed a\n"
