"""How the frames between keyframes are filled: the ways a bundle knows, and which slots they use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lsts_edge.bundle.check import check, check_name, check_texts
from lsts_edge.bundle.graphs import StateInfo
from lsts_edge.bundle.programs import Programs

__all__ = [
    "Parameter",
    "PropagationInfo",
    "PropagationWay",
    "WayKind",
    "check_propagation",
    "check_slots",
    "schedule_text",
]

MAX_WAYS = 16
MAX_PARAMETERS = 32
MAX_FEATURES = 16
MAX_SIGNALS = 16
MAX_TEXT_CHARS = 200
MAX_NUMBER = 1e12

WayKind = Literal["features", "hold", "flow-boxes", "fused", "smaller-input", "every-frame"]
Parameter = int | float | str | bool

_WITH_PROGRAM = ("fused", "smaller-input")


@dataclass(frozen=True)
class PropagationWay:
    """One way to fill the frames between keyframes.

    Attributes:
        kind: which propagator: ``features`` runs the program ``propagated``, ``hold`` repeats the keyframe's boxes,
            ``flow-boxes`` moves them, ``fused`` joins moved boxes with those of ``program``, ``smaller-input`` runs
            ``program``, ``every-frame`` makes each frame a keyframe.
        keyframe_interval: frames from one keyframe to the next, unless the caller says otherwise; 2.5: 2, 3, 2, ...
            At most so many where the parameter ``most_motion`` is above 0: a keyframe is due sooner once boxes have
            moved by that share of their size.
        parameters: of the propagator, by name.
        program: one of ``extra_programs``; needed by ``fused`` and ``smaller-input``, and only there.
    """

    kind: WayKind
    keyframe_interval: int | float
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    program: str | None = None

    def __post_init__(self) -> None:
        longest = 1 if self.kind == "every-frame" else 1000
        interval = self.keyframe_interval
        check(1 <= interval <= longest, f"{self.kind}: keyframe_interval", interval, f"1..{longest}")
        found = f"{len(self.parameters)} parameters"
        check(len(self.parameters) <= MAX_PARAMETERS, f"{self.kind}: parameters", found, f"at most {MAX_PARAMETERS}")
        for name, value in self.parameters.items():
            check_name(f"{self.kind}: parameter", name)
            if isinstance(value, str):
                check_texts(f"{self.kind}: {name}", [value], MAX_TEXT_CHARS)
            else:
                check(abs(value) <= MAX_NUMBER, f"{self.kind}: {name}", value, f"at most {MAX_NUMBER:g}")
        needs = self.kind in _WITH_PROGRAM
        expected = "a name of extra_programs" if needs else "none"
        check((self.program is not None) == needs, f"{self.kind}: program", repr(self.program)[:80], expected)

    @property
    def most_motion(self) -> float | None:
        """Motion after which a keyframe is due; None where the interval alone decides."""
        value = self.parameters.get("most_motion")
        return float(value) if isinstance(value, (int, float)) and value else None

    @property
    def schedule(self) -> str:
        """Such as ``2.5``, or ``6/0.1``: see ``schedule_text``."""
        return schedule_text(self.keyframe_interval, self.most_motion)


def schedule_text(interval: float, most_motion: float | None) -> str:
    """Such as ``2.5``, or ``6/0.1``: at most 6 frames apart, sooner once boxes have moved by 0.1 of their size."""
    return f"{interval}" if most_motion is None else f"{interval}/{most_motion:g}"


@dataclass(frozen=True)
class PropagationInfo:
    """The ways by name, and the one that runs unless the caller says otherwise."""

    default: str
    ways: Mapping[str, PropagationWay]

    def __post_init__(self) -> None:
        check(1 <= len(self.ways) <= MAX_WAYS, "propagation.ways", f"{len(self.ways)} ways", f"1..{MAX_WAYS}")
        for name in self.ways:
            check_name("propagation way", name)
        known = ", ".join(self.ways)
        check(self.default in self.ways, "propagation.default", ascii(self.default)[:80], f"one of {known}")

    @property
    def chosen(self) -> PropagationWay:
        """The default way."""
        return self.ways[self.default]

    @classmethod
    def only(cls, kind: WayKind, keyframe_interval: float) -> PropagationInfo:
        """One way, called as its kind."""
        return cls(kind, {kind: PropagationWay(kind, keyframe_interval)})


def check_propagation(info: PropagationInfo, programs: Programs, extra: Programs) -> None:
    """Refuse ways whose programs the bundle does not have.

    Raises:
        ManifestError: naming the way.
    """
    for name, way in info.ways.items():
        if way.kind == "features":
            check("propagated" in programs, f"propagation way {name}", sorted(programs), "a program propagated")
        if way.program is not None:
            known = ", ".join(extra) or "none"
            check(way.program in extra, f"propagation way {name}: program", ascii(way.program)[:80], known)


def check_slots(
    features: tuple[str, ...], signals: Mapping[str, str], state: tuple[StateInfo, ...], sets: tuple[Programs, ...]
) -> None:
    """Refuse features that are no state, and signals that a set of programs never writes.

    Raises:
        ManifestError: naming the slot.
    """
    check(len(features) <= MAX_FEATURES, "features", f"{len(features)} slots", f"at most {MAX_FEATURES}")
    check(len(set(features)) == len(features), "features", list(features), "different slots")
    carried = {slot.name for slot in state}
    for slot in features:
        check(slot in carried, "features", ascii(slot)[:80], f"slots of state: {', '.join(sorted(carried)) or 'none'}")
    check(len(signals) <= MAX_SIGNALS, "signals", f"{len(signals)} signals", f"at most {MAX_SIGNALS}")
    for meaning, slot in signals.items():
        check_name("signal", meaning)
        for programs in sets:
            written = {name for steps in programs.values() for step in steps for name in step.outputs.values()}
            check(slot in written, f"signals.{meaning}", ascii(slot)[:80], "a slot that the programs write")
