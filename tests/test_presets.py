"""Presets: each survives JSON, and a number out of range is refused when it is written down."""

from __future__ import annotations

import dataclasses
import json

import pytest

from lsts_edge.bundle.strict_json import decode
from lsts_edge.errors import LstsEdgeError, ManifestError, OptionError
from lsts_edge.presets import ConvLayer, LstsPreset, ModelPreset, get_preset, preset_from_dict, preset_names


@pytest.mark.parametrize("name", preset_names())
def test_json_round_trip(name: str) -> None:
    preset = get_preset(name)
    data = json.loads(json.dumps(preset.to_dict()))
    assert preset_from_dict(data) == preset
    assert decode(ModelPreset, data) == preset


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(OptionError, match="lsts-tiny"):
        get_preset("lsts-huge")


@pytest.mark.parametrize(
    "changes",
    [
        {"keyframe_interval": 0},
        {"recursion": 1.5},
        {"form": "other"},
        {"transform": (ConvLayer(1, 5),)},
        {"aggregation": None},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_out_of_range(changes: dict[str, object]) -> None:
    with pytest.raises(OptionError, match="preset"):
        dataclasses.replace(get_preset("lsts-tiny"), **changes)


def test_parts_check_themselves() -> None:
    with pytest.raises(OptionError):
        ConvLayer(2, 8)
    with pytest.raises(OptionError):
        LstsPreset(locations=40, init="uniform")
    for size in ((8, None), (0, None), (None, 0), (-64, 64)):
        with pytest.raises(OptionError):
            get_preset("lsts-tiny").resized(*size)


def test_a_size_that_follows_the_video_is_whole_cells() -> None:
    preset = get_preset("lsts-r101")
    assert preset.input.image_px == (600, 1000)
    assert preset.by_shorter_side().input.image_px == (608, 1008)
    for resize, multiple in (("letterbox", 16), ("shorter-side", 1), ("shorter-side", 24), ("shorter-side", 0)):
        with pytest.raises(OptionError, match="multiple_px"):
            rule = dataclasses.replace(preset.input, resize=resize, multiple_px=multiple)  # type: ignore[arg-type]
            dataclasses.replace(preset, input=rule)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("input.height_px", "64"),
        ("input.height_px", True),
        ("input.mean", [1.0, 2.0]),
        ("head.classes", "bird"),
        ("transform", [{"kernel": 2, "channels": 3, "stride": 1}]),
        ("backbone.name", "resnet18"),
        ("keyframe_interval", 0),
        ("surprise", 1),
    ],
)
def test_wrong_fields_are_refused_and_named(path: str, value: object) -> None:
    data = json.loads(json.dumps(get_preset("lsts-tiny").to_dict()))
    *folders, last = path.split(".")
    inner = data
    for folder in folders:
        inner = inner[folder]
    inner[last] = value
    with pytest.raises(ManifestError, match=last):
        decode(ModelPreset, data, "preset")


def test_missing_fields_are_refused() -> None:
    data = get_preset("lsts-tiny").to_dict()
    del data["backbone"]
    with pytest.raises(LstsEdgeError, match="backbone"):
        preset_from_dict(data)
    with pytest.raises(LstsEdgeError, match="backbone"):
        decode(ModelPreset, data)
