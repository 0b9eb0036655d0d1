"""A preset with other choices: the rows of the paper's tables and our own, each by a few words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from lsts_edge.errors import OptionError
from lsts_edge.presets import Blend, ModelPreset

__all__ = ["CHOICES", "TABLE_2", "Row", "parse_choices", "varied"]


class Row(NamedTuple):
    """One column of the paper's Table 2: what SRFU and DFA are, and whether there is a Transform."""

    srfu: Blend
    dfa: Blend
    transform: bool


TABLE_2: Mapping[str, Row] = {
    "a": Row("off", "off", False),  # sparse deep feature extraction
    "b": Row("mean", "off", False),  # + keyframe memory update
    "c": Row("quality", "off", False),  # + quality-aware memory update
    "d": Row("quality", "mean", False),  # + non-keyframe aggregation
    "e": Row("quality", "mean", True),  # + non-keyframe transformer
    "f": Row("quality", "quality", False),  # quality-aware aggregation, no transformer
    "g": Row("quality", "quality", True),
}
"""Rows (a) to (g); with ``alignment=flow-warp`` they are the table's upper half."""

CHOICES: Mapping[str, str] = {
    "alignment": "lsts, non-local, match-trans, flow-warp, flow-warp-net, copy or none",
    "row": "a to g of the paper's Table 2: sets srfu, dfa and transform",
    "srfu": "quality, mean or off: the blend at keyframes",
    "dfa": "quality, mean or off: the blend between keyframes",
    "transform": "true or false: false leaves it out",
    "init": "gaussian or uniform: where the sampling locations start (uniform: 81 of them)",
    "learn_offsets": "true or false: whether they are trained",
    "spread_cells": "standard deviation of Gaussian locations at the start, or step of uniform ones",
    "recurrent": "true or false: align the previous frame's result, not the keyframe's",
    "light_scale": "0.5 or 1: image side of the light path",
    "deformable": "true or false: deformable convolutions in the last stage of ResNet-101",
}
"""Names that ``varied`` takes, and what each may be."""

_UNIFORM_LOCATIONS = 81
_LSTS = ("init", "learn_offsets", "spread_cells")
_BOOLEANS = ("transform", "learn_offsets", "recurrent", "deformable")
_NUMBERS = ("spread_cells", "light_scale")


def varied(preset: ModelPreset, choices: Mapping[str, Any]) -> ModelPreset:
    """The preset with some choices made otherwise.

    Args:
        preset: any; one without LSTS takes ``deformable`` alone.
        choices: names of ``CHOICES`` to values. ``row`` counts first, so that ``row=g, srfu=off`` is possible.

    Raises:
        OptionError: if a name or value is unknown, or the choices contradict each other.
    """
    left = dict(choices)
    changes: dict[str, Any] = {}
    unknown = sorted(set(left) - set(CHOICES))
    if unknown:
        raise OptionError("variant", got=", ".join(unknown), expected=", ".join(CHOICES), fix="Choose from these.")
    if "deformable" in left:
        changes["backbone"] = dataclasses.replace(preset.backbone, deformable=left.pop("deformable"))
    if left and preset.lsts is None:
        got = f"{', '.join(sorted(left))} for {preset.name}, which has no LSTS"
        raise OptionError("variant", got=got, expected="a preset with LSTS", fix="Choose lsts-lite or lsts-r101.")
    if "row" in left:
        row = left.pop("row")
        if row not in TABLE_2:
            raise OptionError("variant row", got=repr(row), expected=", ".join(TABLE_2), fix="Choose one of these.")
        left = {**TABLE_2[row]._asdict(), **left}
    if left.get("alignment") == "none":
        left = {"srfu": "off", "dfa": "off", **left}
    if not left.pop("transform", True):
        changes["transform"] = ()
    lsts = {name: left.pop(name) for name in _LSTS if name in left}
    if preset.lsts is not None and lsts:
        if lsts.get("init") == "uniform" and preset.lsts.init != "uniform":
            lsts["locations"] = _UNIFORM_LOCATIONS
        changes["lsts"] = dataclasses.replace(preset.lsts, **lsts)
    return dataclasses.replace(preset, **changes, **left)


def parse_choices(words: Mapping[str, str]) -> dict[str, Any]:
    """Choices from text, as a command line or a recipe has them.

    Raises:
        OptionError: if a value is no number, or neither true nor false, where it must be.
    """
    parsed: dict[str, Any] = dict(words)
    for name, text in words.items():
        if name in _BOOLEANS:
            if text not in ("true", "false"):
                raise OptionError(f"variant {name}", got=repr(text), expected="true or false", fix="Write one.")
            parsed[name] = text == "true"
        elif name in _NUMBERS:
            try:
                parsed[name] = float(text)
            except ValueError:
                raise OptionError(
                    f"variant {name}", got=repr(text), expected=CHOICES[name], fix="Give a number."
                ) from None
    return parsed
