"""Figures of the five groups, composed of convex solids that swing about joints; x is forward, z up, feet at 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from lsts_edge.datasets.render.shapes import Solid, box, ellipsoid, tube

__all__ = ["PUPPETS", "Joint", "Part", "Puppet"]

Colour = tuple[float, float, float]
_DARK: Colour = (0.12, 0.12, 0.14)
_GLASS: Colour = (0.22, 0.28, 0.34)
_SIDES = (("left", 1.0), ("right", -1.0))


@dataclass(frozen=True)
class Joint:
    """A part swings about an axis: ``angle = swing sin(2 pi (steps + phase)) + rest``, steps counted along the way."""

    origin: tuple[float, float, float]
    axis: tuple[float, float, float]
    swing: float
    phase: float = 0.0
    rest: float = 0.0


@dataclass(frozen=True)
class Part:
    """A solid with its colour (RGB, 0..1), whether it shows the figure's texture, and how it moves."""

    solid: Solid
    colour: Colour
    textured: bool = False
    joint: Joint | None = None


@dataclass(frozen=True)
class Puppet:
    """What is labelled.

    Attributes:
        group: its class.
        kind: what it is meant to be.
        parts: in the figure's own metres.
        length_m: from back to front.
        height_m: from its lowest point up.
        steps_per_m: how often limbs swing along the way.
        flies: it moves above the ground.
    """

    group: str
    kind: str
    parts: tuple[Part, ...]
    length_m: float
    height_m: float
    steps_per_m: float = 0.0
    flies: bool = False

    def scaled(self, factor: float) -> Puppet:
        """The same figure, larger or smaller."""
        parts = tuple(
            replace(
                part,
                solid=replace(part.solid, corners=part.solid.corners * factor),
                joint=None if part.joint is None else replace(part.joint, origin=_times(part.joint.origin, factor)),
            )
            for part in self.parts
        )
        return replace(self, parts=parts, length_m=self.length_m * factor, height_m=self.height_m * factor,
                       steps_per_m=self.steps_per_m / factor)  # fmt: skip


def _times(point: tuple[float, float, float], factor: float) -> tuple[float, float, float]:
    return point[0] * factor, point[1] * factor, point[2] * factor


def _made(group: str, kind: str, parts: list[Part], steps_per_m: float = 0.0, flies: bool = False) -> Puppet:
    corners = np.concatenate([part.solid.corners for part in parts])
    size = np.ptp(corners, axis=0)
    return Puppet(group, kind, tuple(parts), float(size[0]), float(corners[:, 2].max()), steps_per_m, flies)


def _axles(shares: tuple[float, ...], length: float, width: float) -> list[tuple[float, float]]:
    """Places of the wheels on both sides, the axles at shares of the length from the middle."""
    return [(share * length, side * width / 2) for share in shares for side in (-1, 1)]


def _wheels(radius: float, width: float, places: list[tuple[float, float]]) -> list[Part]:
    parts = []
    for x, y in places:
        parts.append(Part(tube((x, y - width / 2, radius), (x, y + width / 2, radius), radius), _DARK))
        cap = 0.55 * radius
        parts.append(Part(tube((x, y - 0.52 * width, radius), (x, y + 0.52 * width, radius), cap), (0.6, 0.6, 0.62)))
    return parts


def _car(random: np.random.Generator) -> Puppet:
    paint = _paint(random)
    length, width, roof = random.uniform(3.6, 4.7), random.uniform(1.65, 1.9), random.uniform(0.5, 0.75)
    cabin = random.uniform(0.42, 0.62) * length
    shift = random.uniform(-0.12, -0.02) * length
    parts = [
        Part(box((length, width, 0.55), (0, 0, 0.58), (0.96, 0.96)), paint, textured=True),
        Part(box((cabin, 0.9 * width, roof), (shift, 0, 0.85 + roof / 2), (0.68, 0.86)), _GLASS),
        Part(box((0.62 * cabin, 0.78 * width, 0.06), (shift, 0, 0.86 + roof)), paint),
        Part(box((0.06, 0.7 * width, 0.12), (length / 2, 0, 0.62)), (0.95, 0.93, 0.8)),
        Part(box((0.06, 0.7 * width, 0.12), (-length / 2, 0, 0.66)), (0.7, 0.1, 0.1)),
    ]
    return _made("vehicle", "car", parts + _wheels(0.33, 0.22, _axles((-0.31, 0.31), length, width)))


def _van(random: np.random.Generator) -> Puppet:
    long = random.random() < 0.5
    length, width, height = (random.uniform(7, 11), 2.4, 2.7) if long else (random.uniform(4.6, 5.6), 1.95, 1.9)
    paint = _paint(random)
    band = Part(box((0.9 * length, 1.02 * width, 0.24 * height), (0, 0, 0.45 + 0.68 * height)), _GLASS)
    parts = [
        Part(box((length, width, height), (0, 0, 0.4 + height / 2), (0.98, 0.94)), paint, textured=True),
        Part(box((0.1, 0.84 * width, 0.36 * height), (length / 2, 0, 0.4 + 0.68 * height)), _GLASS),
        *([band] if long or random.random() < 0.4 else []),
    ]
    wheels = _wheels(0.42, 0.28, _axles((-0.34, 0.34), length, width))
    return _made("vehicle", "bus" if long else "van", parts + wheels)


def _truck(random: np.random.Generator) -> Puppet:
    paint, load = _paint(random), _paint(random)
    length, width, height = random.uniform(5.5, 8), 2.3, random.uniform(1.9, 2.5)
    parts = [
        Part(box((0.74 * length, width, height), (-0.13 * length, 0, 0.75 + height / 2)), load, textured=True),
        Part(box((0.24 * length, width, 1.75), (0.38 * length, 0, 0.55 + 0.87), (0.8, 0.95)), paint),
        Part(box((0.05, 0.85 * width, 0.6), (0.485 * length, 0, 1.75)), _GLASS),
    ]
    return _made("vehicle", "truck", parts + _wheels(0.45, 0.3, _axles((-0.38, -0.24, 0.36), length, width)))


def _aeroplane(random: np.random.Generator) -> Puppet:
    paint = _paint(random)
    span = random.uniform(6, 9)
    parts = [
        Part(ellipsoid((3.6, 0.5, 0.55), (0, 0, 0.7)), paint, textured=True),
        Part(box((1.1, span, 0.1), (0.2, 0, 0.75)), paint),
        Part(box((0.7, 2.4, 0.08), (-3.1, 0, 0.95)), paint),
        Part(box((0.9, 0.09, 1.0), (-3.1, 0, 1.4), (0.6, 1)), _paint(random)),
        Part(ellipsoid((0.7, 0.35, 0.35), (1.7, 0, 1.1)), _GLASS),
    ]
    return _made("vehicle", "aeroplane", parts, flies=True)


def _limb(hip: tuple[float, float, float], end: tuple[float, float, float], radius: float, colour: Colour, swing: float,
          phase: float, rest: float = 0.0) -> Part:  # fmt: skip
    return Part(tube(hip, end, radius, 0.75 * radius), colour, joint=Joint(hip, (0, 1, 0), swing, phase, rest))


def _body(random: np.random.Generator, lift: float, walks: bool) -> list[Part]:
    """A person's parts, hips at 0.9 m + lift; who does not walk sits, arms ahead."""
    skin = _skin(random)
    coat, trousers = _paint(random), _paint(random)
    wide = random.uniform(0.19, 0.26)
    parts = [
        Part(ellipsoid((0.15, wide, 0.36), (0, 0, 1.2 + lift)), coat, textured=True),
        Part(ellipsoid((0.11, 0.1, 0.14), (0.02, 0, 1.66 + lift)), skin),
        Part(ellipsoid((0.125, 0.115, 0.1), (-0.02, 0, 1.73 + lift)), _paint(random, dull=True)),
    ]
    for side, (_, sign) in enumerate(_SIDES):
        hip, shoulder = (0.0, 0.1 * sign, 0.92 + lift), (0.0, (wide + 0.04) * sign, 1.45 + lift)
        if walks:
            parts.append(_limb(hip, (0.0, 0.1 * sign, 0.0), 0.1, trousers, 0.5, 0.5 * side))
            parts.append(_limb(shoulder, (0.02, shoulder[1], 0.82), 0.06, coat, 0.45, 0.5 * side + 0.5))
        else:
            knee = (0.42, 0.16 * sign, 0.78 + lift)
            parts.append(Part(tube(hip, knee, 0.1), trousers))
            parts.append(_limb(knee, (0.3, 0.16 * sign, 0.3 + lift), 0.08, trousers, 0.25, 0.5 * side))
            parts.append(Part(tube(shoulder, (0.5, 0.25 * sign, 1.12 + lift), 0.06), coat))
    return parts


def _person(random: np.random.Generator) -> Puppet:
    return _made("person", "person", _body(random, 0.0, walks=True), steps_per_m=0.7)


def _rider(random: np.random.Generator) -> Puppet:
    if random.random() < 0.35:
        mount = _legged(random, 1.5, 0.95, random.uniform(0.3, 0.5))
        return _made("rider", "rider on a horse", mount + _body(random, 0.42, walks=False), steps_per_m=0.4)
    motor = random.random() < 0.5
    paint = _paint(random)
    radius, thick = (0.34, 0.14) if motor else (0.35, 0.05)
    lift = -0.08 if motor else 0.05
    parts = _wheels(radius, thick, [(-0.62, 0), (0.62, 0)])
    if motor:
        parts += [Part(box((0.95, 0.3, 0.34), (0, 0, 0.55)), paint, textured=True),
                  Part(ellipsoid((0.3, 0.17, 0.16), (0.2, 0, 0.85)), paint)]  # fmt: skip
    else:
        saddle, crank, neck = (-0.1, 0, 0.9), (0, 0, 0.35), (0.5, 0, 0.85)
        bars = (((-0.62, 0, 0.35), saddle), (saddle, neck), (crank, neck), (crank, saddle))
        parts += [Part(tube(start, end, 0.03), paint) for start, end in bars]
    parts.append(Part(tube((0.62, 0, 0.35), (0.48, 0, 1.1), 0.035), _DARK))
    parts.append(Part(tube((0.48, -0.3, 1.1), (0.48, 0.3, 1.1), 0.03), _DARK))
    kind = "rider on a motorcycle" if motor else "rider on a bicycle"
    return _made("rider", kind, parts + _body(random, lift, walks=False), steps_per_m=0.25)


def _legged(random: np.random.Generator, length: float, leg: float, neck: float) -> list[Part]:
    """Four legs, a body, a neck and a head, a tail."""
    fur = _paint(random, dull=True)
    thick = random.uniform(0.16, 0.26) * length
    top = leg + thick
    head = (0.5 * length + 0.8 * neck, 0.0, top + neck)
    snout = (head[0] + 0.2 * length, 0.0, head[2] - 0.2 * thick)
    parts = [
        Part(ellipsoid((0.56 * length, 0.72 * thick, thick), (0, 0, leg + 0.8 * thick)), fur, textured=True),
        Part(tube((0.4 * length, 0, leg + thick), head, 0.5 * thick, 0.34 * thick), fur, textured=True),
        Part(ellipsoid((0.2 * length, 0.5 * thick, 0.5 * thick), head), fur),
        Part(ellipsoid((0.12 * length, 0.3 * thick, 0.3 * thick), snout), fur),
        Part(tube((-0.52 * length, 0, top), (-0.75 * length, 0, 0.8 * leg), 0.06 * length, 0.03 * length), fur,
             joint=Joint((-0.52 * length, 0, top), (1, 0, 0), 0.3)),
    ]  # fmt: skip
    for side, (_, sign) in enumerate(_SIDES):
        ear = (head[0] - 0.08 * length, 0.35 * thick * sign, head[2] + 0.45 * thick)
        parts.append(Part(box((0.06 * length, 0.2 * thick, 0.5 * thick), ear, (0.3, 0.3)), fur))
        for end, x in enumerate((0.36 * length, -0.4 * length)):
            hip = (x, 0.45 * thick * sign, leg + 0.5 * thick)
            parts.append(_limb(hip, (x, hip[1], 0.0), 0.3 * thick, fur, 0.5, 0.5 * side + 0.25 * end))
    return parts


def _quadruped(random: np.random.Generator) -> Puppet:
    length = random.uniform(0.7, 1.9)
    parts = _legged(random, length, random.uniform(0.35, 0.75) * length, random.uniform(0.12, 0.5) * length)
    return _made("quadruped", "quadruped", parts, steps_per_m=0.5 / length)


def _bird(random: np.random.Generator) -> Puppet:
    flies = bool(random.random() < 0.6)
    feather, wing, beak = _paint(random), _paint(random), (0.9, random.uniform(0.4, 0.8), 0.15)
    legs = 0.0 if flies else random.uniform(0.08, 0.25)
    neck = random.uniform(0.03, 0.28)
    z = legs + 0.14
    head = (0.27 + 0.4 * neck, 0.0, z + 0.06 + neck)
    parts = [
        Part(ellipsoid((0.26, 0.12, 0.13), (0, 0, z)), feather, textured=True),
        Part(tube((0.16, 0, z + 0.03), head, 0.07, 0.045), feather),
        Part(ellipsoid((0.085, 0.07, 0.07), head), feather),
        Part(tube((head[0] + 0.06, 0, head[2]), (head[0] + 0.19, 0, head[2] - 0.02), 0.028, 0.004), beak),
        Part(box((0.22, 0.14, 0.025), (-0.32, 0, z + 0.02)), wing),
    ]
    for side, (_, sign) in enumerate(_SIDES):
        if flies:
            joint = Joint((0, 0.08 * sign, z + 0.05), (sign, 0, 0), 0.75, rest=-0.15)
            parts.append(Part(box((0.24, 0.5, 0.025), (0, 0.33 * sign, z + 0.05), (0.8, 1)), wing, True, joint))
        else:
            parts.append(Part(ellipsoid((0.22, 0.03, 0.1), (-0.04, 0.12 * sign, z + 0.01)), wing, True))
            parts.append(_limb((0, 0.05 * sign, z - 0.08), (0, 0.05 * sign, 0), 0.015, beak, 0.5, 0.5 * side))
    return _made("bird", "bird in flight" if flies else "bird on foot", parts, steps_per_m=1.5, flies=flies)


def _paint(random: np.random.Generator, dull: bool = False) -> Colour:
    """A colour; dull ones as fur and hair have."""
    light, strong = random.uniform(0.25, 0.95), random.uniform(0.05, 0.35 if dull else 0.9)
    hue = random.uniform(0.02, 0.13) if dull else random.uniform(0, 1)
    rgb = 0.5 + 0.5 * np.cos(2 * np.pi * (hue + np.array((0, 1 / 3, 2 / 3))))
    red, green, blue = light * (1 - strong + strong * rgb)
    return float(red), float(green), float(blue)


def _skin(random: np.random.Generator) -> Colour:
    light = random.uniform(0.3, 1.0)
    return 0.95 * light, 0.75 * light, 0.62 * light


PUPPETS: Mapping[str, tuple[Callable[[np.random.Generator], Puppet], ...]] = MappingProxyType(
    {
        "person": (_person,),
        "rider": (_rider,),
        "vehicle": (_car, _car, _van, _truck, _aeroplane),
        "bird": (_bird,),
        "quadruped": (_quadruped,),
    }
)
"""Makers of figures by group; a maker draws sizes and colours."""
