"""The result of the engine matrix: which engine versions ran the committed bundle, on which Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lsts_edge.benchmarks.envelope import BundleFacts, Result

__all__ = ["EnginesData", "EnginesResult", "EnginesSettings", "Leg", "LegParity"]


@dataclass(frozen=True)
class LegParity:
    """What ``verify --recorded`` measured of one set of programs; ``form`` None without LSTS."""

    form: str | None
    joined: bool
    frames: int
    boxes: int
    unmatched: int
    max_tensor_error: float


@dataclass(frozen=True)
class Leg:
    """One Python with one engine.

    Attributes:
        python: ``3.10``, ``3.11`` or ``newest``.
        engine: ``onnxruntime`` or ``openvino``.
        version: of the engine.
        status: ``ran``, ``failed`` or ``not run``.
        reason: why it did not run, or how it failed.
        versions: of Python and the packages that ran.
        programs: for each program set, what ``verify --recorded`` measured.
        frames: by LSTS form, how many ``run`` gave boxes for.
    """

    python: str
    engine: str
    version: str
    status: Literal["ran", "failed", "not run"]
    reason: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    programs: tuple[LegParity, ...] = ()
    frames: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class EnginesSettings:
    """How many frames ran, and which legs were asked for."""

    frames: int
    pythons: tuple[str, ...]
    engines: tuple[str, ...]


@dataclass(frozen=True)
class EnginesData:
    """Every leg, those that did not run too."""

    legs: tuple[Leg, ...]


@dataclass(frozen=True, kw_only=True)
class EnginesResult(Result):
    """The committed bundle on every engine; it holds no times, so that it may stand beside results of any device."""

    kind: Literal["engines"] = "engines"
    bundle: BundleFacts
    conditions: None = None
    settings: EnginesSettings
    data: EnginesData
