"""Manifests of schema 1, read as schema 2: what the preset implied is stated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lsts_edge.bundle.files import FileInfo
from lsts_edge.bundle.graphs import GraphInfo, LstsInfo, StateInfo
from lsts_edge.bundle.interface import InputInfo
from lsts_edge.bundle.precision_info import PrecisionInfo
from lsts_edge.bundle.programs import Step
from lsts_edge.bundle.provenance import ParityInfo, WeightsInfo
from lsts_edge.bundle.strict_json import decode
from lsts_edge.presets import ModelPreset

__all__ = ["upgraded"]

_FEATURES = ("memory", "task")
"""Slots of state that were features; the others were embeddings of them."""


@dataclass(frozen=True)
class _Keyframes:
    interval: int


@dataclass(frozen=True)
class _Detection:
    score_floor: float
    max_detections: int


@dataclass(frozen=True)
class _Manifest:
    name: str
    tools: Mapping[str, str]
    weights: WeightsInfo
    preset: ModelPreset
    input: InputInfo
    classes: tuple[str, ...]
    graphs: Mapping[str, GraphInfo]
    state: tuple[StateInfo, ...]
    programs: Mapping[str, tuple[Step, ...]]
    joined: Mapping[str, tuple[Step, ...]]
    lsts: LstsInfo | None
    keyframes: _Keyframes
    detection: _Detection
    parity: ParityInfo | None
    files: Mapping[str, FileInfo]
    schema: Literal[1]
    precision: PrecisionInfo | None = None


def upgraded(data: object) -> dict[str, Any]:
    """Parsed JSON of schema 1 as schema 2 would write it; what contradicts itself is refused there.

    Every schema-1 bundle holds an R-FCN network: corners are inclusive, and frames between keyframes are filled by
    features unless each frame is detected on its own.

    Raises:
        ManifestError: if the data is not of schema 1.
    """
    old = decode(_Manifest, data)
    assert isinstance(data, dict)
    kept = {name: value for name, value in data.items() if name != "keyframes"}
    way, interval = ("features", old.keyframes.interval) if "propagated" in old.programs else ("every-frame", 1)
    return kept | {
        "schema": 2,
        "detection": {**data["detection"], "nms_iou": old.preset.head.nms_iou, "corners": "inclusive"},
        "features": [slot.name for slot in old.state if slot.name in _FEATURES],
        "propagation": {"default": way, "ways": {way: {"kind": way, "keyframe_interval": interval}}},
    }
