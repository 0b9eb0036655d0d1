"""Wrong types of options give the four-part error, wherever options are taken."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from lsts_edge.bundle import Bundle
from lsts_edge.errors import LstsEdgeError, OptionError
from lsts_edge.kinds import check_kind
from lsts_edge.runtime import Detector, EngineOptions, FixedInterval, open_source
from lsts_edge.runtime.loop import run_stream
from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from lsts_edge.runtime.sinks.video import VideoSink
from lsts_edge.runtime.sources.arrays import ArraySource
from lsts_edge.runtime.sources.options import SourceOptions

ROOT = Path(__file__).resolve().parent.parent
WITHOUT_FIELDS = {"SmallerInputOptions"}


class Odd:
    """Of no type that an option has, and unwilling to be compared."""

    def __eq__(self, other: object) -> bool:
        raise TypeError("not to be compared")

    __hash__ = None  # type: ignore[assignment]


def options_of_the_package() -> list[tuple[str, str]]:
    """(module, class) of every dataclass of options, found in the text so that a new one cannot be forgotten."""
    found = []
    for folder in ("lsts_edge", "runtime", "export", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            module = module if module.startswith("lsts_edge") else f"lsts_edge.{module}"
            tree = ast.parse(path.read_text("utf-8"))
            for node in tree.body:
                if isinstance(node, ast.ClassDef) and node.name.endswith("Options"):
                    found.append((module, node.name))
    return [pair for pair in dict.fromkeys(found) if pair[1] not in WITHOUT_FIELDS]


@pytest.mark.parametrize(("module", "name"), options_of_the_package(), ids=lambda value: value.rsplit(".")[-1])
def test_every_field_of_every_options_class(module: str, name: str) -> None:
    if module.startswith("lsts_edge.train"):
        pytest.importorskip("torch")
    owner = getattr(importlib.import_module(module), name)
    paths = dict.fromkeys(("output", "checkpoint", "train", "validation", "folder"), Path("somewhere"))
    needed = {"steps": 10, "truth_score": 0.3, **paths}
    fields = dataclasses.fields(owner)
    plain = {field.name: needed[field.name] for field in fields if field.default is field.default_factory}
    owner(**plain)
    for field in fields:
        if field.name in ("family", "overrides"):  # a type that the program does not import; values of any type
            continue
        with pytest.raises(LstsEdgeError) as caught:
            owner(**{**plain, field.name: Odd()})
        assert caught.value.code == "option" and field.name in str(caught.value), f"{field.name}: check_fields(self)"


@pytest.mark.parametrize(
    ("value", "kind", "fits"),
    [
        (3, int, True),
        (np.int64(3), int, True),
        (True, int, False),
        (3.0, int, False),
        (3, float, True),
        (np.float32(3), float, True),
        (math.nan, float, False),
        (np.float32("nan"), float, False),
        (math.inf, float, True),
        ("3", float, False),
        (None, int | None, True),
        ("a", Literal["a", "b"], True),
        ("c", Literal["a", "b"], False),
        (True, Literal[1], False),
        ((1, 2), tuple[int, int], True),
        ((1, 2, 3), tuple[int, int], False),
        ([1, 2], tuple[int, ...], False),
        ((1, "2"), tuple[int, ...], False),
        ({"a": 1.0}, Mapping[str, float], True),
        ({1: 1.0}, Mapping[str, float], False),
        ({"a": "b"}, dict[str, float], False),
        (len, Callable[[object], int], True),
        (3, Callable, False),
        ("x", str | Path, True),
        (Path("x"), str | Path, True),
        (b"x", str | Path, False),
    ],
)
def test_kinds(value: object, kind: Any, fits: bool) -> None:
    if fits:
        check_kind("it", value, kind)
    else:
        with pytest.raises(OptionError, match=r"^it: got .*, expected .*\. Give a value of this kind\.$"):
            check_kind("it", value, kind)


def test_what_is_long_is_cut() -> None:
    with pytest.raises(OptionError) as caught:
        check_kind("it", "x" * 10**6, int)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "wrong", [Odd(), 3, 2.5, b"x", [], "no such"], ids=["odd", "int", "float", "bytes", "list", "text"]
)
@pytest.mark.parametrize(
    "name", ["engine", "keyframe_interval", "score_threshold", "scheduler", "propagator", "expect_digest", "clock"]
)
def test_a_detectors_options(hand_made_bundle: Path, name: str, wrong: object) -> None:
    if name == "keyframe_interval" and isinstance(wrong, (int, float)):
        return
    with pytest.raises(LstsEdgeError) as caught:
        Detector(hand_made_bundle, **{name: wrong})  # type: ignore[arg-type]
    assert caught.value.code in ("option", "bundle-digest")


@pytest.mark.parametrize(
    "take",
    [
        lambda bundle, value: Detector(value),
        lambda bundle, value: Bundle.open(value),
        lambda bundle, value: open_source(value),
        lambda bundle, value: open_source("clip.mp4", value),
        lambda bundle, value: next(Detector(bundle).run(value)),
        lambda bundle, value: JsonLinesSink(value),
        lambda bundle, value: VideoSink(value),
        lambda bundle, value: VideoSink(Path("x.mp4"), rate_fps=value),
        lambda bundle, value: ArraySource(value),
        lambda bundle, value: ArraySource([], rate_fps=value),
        lambda bundle, value: run_stream(Detector(bundle), ArraySource([]), max_frames=value),
        lambda bundle, value: FixedInterval(value),
        lambda bundle, value: EngineOptions(value),
        lambda bundle, value: SourceOptions(every=value),
    ],
    ids=range(14),
)
@pytest.mark.parametrize("wrong", [Odd(), 1j], ids=["odd", "complex"])
def test_the_first_arguments(hand_made_bundle: Path, take: Callable[[Path, object], object], wrong: object) -> None:
    with pytest.raises(OptionError):
        take(hand_made_bundle, wrong)
