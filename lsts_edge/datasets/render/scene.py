"""One video's world, drawn from a seed: who moves where, what stands before them, where the camera is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lsts_edge.datasets.render.background import Background
from lsts_edge.datasets.render.camera import PinholeCamera, Steadiness
from lsts_edge.datasets.render.options import RenderOptions
from lsts_edge.datasets.render.puppets import PUPPETS, Colour, Puppet
from lsts_edge.datasets.render.shapes import Solid, box, ellipsoid, tube
from lsts_edge.presets import FIVE_GROUPS

__all__ = ["Actor", "Placed", "RenderedScene", "draw_scene"]

_DEPTHS_M = (-2.2, 6.0)  # of the lanes that figures keep to, around the point that the camera looks at


@dataclass(frozen=True)
class Placed:
    """Where a solid is: a unit quaternion x, y, z, w and a shift."""

    quaternion: np.ndarray
    shift_m: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """The points ``(N, 3)`` in the world."""
        x, y, z, w = self.quaternion.tolist()
        turn = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
        return np.asarray(points @ turn.T + self.shift_m)


@dataclass(frozen=True)
class Actor:
    """A figure on an ellipse above the ground; ``speed_m`` a frame, ``turn`` 1 or -1."""

    figure: Puppet
    centre_m: tuple[float, float, float]
    radii_m: tuple[float, float]
    start: float
    turn: int
    speed_m: float

    def place(self, frame: float) -> list[Placed]:
        """Of each part, at a time in frames."""
        along, across = self.radii_m
        way = self.speed_m * frame
        around = 2 * np.pi * np.sqrt((along**2 + across**2) / 2)
        angle = self.start + self.turn * 2 * np.pi * way / around
        position = np.asarray(self.centre_m) + np.array([along * np.cos(angle), across * np.sin(angle), 0.0])
        yaw = np.arctan2(self.turn * across * np.cos(angle), -self.turn * along * np.sin(angle))
        heading = _about((0, 0, 1), float(yaw))
        # A figure that hovers still beats its wings: limbs follow the way, wings the time as well.
        steps = self.figure.steps_per_m * way + (0.11 * frame if self.figure.flies else 0.0)
        placed = []
        for part in self.figure.parts:
            if part.joint is None:
                placed.append(Placed(heading, position))
                continue
            joint = part.joint
            bend = _about(joint.axis, joint.swing * float(np.sin(2 * np.pi * (steps + joint.phase))) + joint.rest)
            origin = np.asarray(joint.origin)
            shift = origin - Placed(bend, np.zeros(3)).apply(origin[None])[0]
            placed.append(Placed(_product(heading, bend), Placed(heading, position).apply(shift[None])[0]))
        return placed


@dataclass(frozen=True)
class RenderedScene:
    """What a video shows.

    Attributes:
        actors: the figures; their place in this list plus one is their instance number.
        obstacles: what stands in front of them, in the world.
        steadiness: the camera's way.
        light: towards it, of length 1.
        background: everything else.
        parameters: what was drawn or fixed, as the annotations state it.
        size_hw: of the pictures.
    """

    actors: tuple[Actor, ...]
    obstacles: tuple[tuple[Solid, Colour], ...]
    steadiness: Steadiness
    light: np.ndarray
    background: Background
    parameters: dict[str, Any]
    size_hw: tuple[int, int]

    def camera(self, frame: float) -> PinholeCamera:
        """Its pose at a time in frames."""
        return self.steadiness.at(frame, self.size_hw)


def draw_scene(options: RenderOptions, video: int) -> RenderedScene:
    """The world of a video by its number; nothing else changes with what the options fix."""
    random = np.random.default_rng([options.seed, video])
    speed, blur = float(10 ** random.uniform(-3.2, -0.9)), float(max(0.0, random.uniform(-0.25, 1.0)))
    occlusion, strength = int(random.integers(0, 5)), float(max(0.0, random.uniform(-0.3, 1.0)))
    parameters: dict[str, Any] = {
        "speed": round(speed, 4) if options.speed is None else options.speed,
        "blur": round(blur, 3) if options.blur is None else options.blur,
        "occlusion": occlusion if options.occlusion is None else options.occlusion,
        "camera": round(strength, 3) if options.camera is None else options.camera,
        "noise": round(float(random.uniform(0, 6)), 2),
    }
    distance, height = random.uniform(8, 11), random.uniform(1.1, 3.2)
    steadiness = Steadiness(
        start_m=(0.0, -float(distance), float(height)),
        goal_m=(0.0, 0.0, float(random.uniform(0.6, 1.3))),
        field_deg=float(random.uniform(26, 46)),
        strength=parameters["camera"],
        seed=int(random.integers(1 << 31)),
    )
    light = np.array([random.uniform(-1, 1), random.uniform(-1, 0.3), random.uniform(0.7, 1.6)])
    background = Background(random)
    size_hw = (options.height_px, options.width_px)
    camera = Steadiness(steadiness.start_m, steadiness.goal_m, steadiness.field_deg, 0.0, 0).at(0, size_hw)
    count = int(random.integers(1, 5))
    # Groups take turns over the videos, so that a set of a few has all of them.
    groups = [FIVE_GROUPS[(video + place) % len(FIVE_GROUPS)] for place in range(count)]
    lanes = np.linspace(*_DEPTHS_M, 2 * count + 1)[1::2]
    gap = (_DEPTHS_M[1] - _DEPTHS_M[0]) / count
    actors = []
    for place, (group, lane) in enumerate(zip(groups, random.permutation(lanes), strict=True)):
        of_actor = np.random.default_rng([options.seed, video, place])
        actors.append(_actor(of_actor, group, float(lane), gap, camera, parameters["speed"]))
    obstacles = tuple(
        _obstacle(np.random.default_rng([options.seed, video, 100 + place]), actors, gap, camera)
        for place in range(parameters["occlusion"])
    )
    return RenderedScene(
        tuple(actors), obstacles, steadiness, light / np.linalg.norm(light), background, parameters, size_hw
    )


def _actor(
    random: np.random.Generator, group: str, lane: float, gap: float, camera: PinholeCamera, speed: float
) -> Actor:
    makers = PUPPETS[group]
    figure = makers[int(random.integers(len(makers)))](random)
    depth = lane - float(camera.position_m[1])
    half_hw = (depth * camera.size_hw[0] / 2 / camera.focal_px, depth * camera.size_hw[1] / 2 / camera.focal_px)
    wanted = 2 * half_hw[0] * float(np.exp(random.uniform(np.log(0.14), np.log(0.75))))
    factor = wanted / max(figure.height_m, 0.6 * figure.length_m)
    figure = figure.scaled(min(factor, 1.1 * gap / figure.length_m))
    radii = (float(random.uniform(0.25, 0.75)) * half_hw[1], float(random.uniform(0.1, 0.3)) * gap)
    middle = float(camera.position_m[2] + depth * camera.axes[2][2] / camera.axes[2][1])  # height of the line of sight
    level = middle + float(random.uniform(-0.4, 0.7)) * half_hw[0] - figure.height_m if figure.flies else 0.0
    centre = (float(random.uniform(-0.3, 0.3)) * half_hw[1], lane, max(0.0, level))
    start, turn = float(random.uniform(0, 2 * np.pi)), int(random.choice((-1, 1)))
    return Actor(figure, centre, radii, start, turn, speed * figure.length_m)


def _obstacle(
    random: np.random.Generator, actors: Sequence[Actor], gap: float, camera: PinholeCamera
) -> tuple[Solid, Colour]:
    """Something before the lane of one of the actors, of about its size."""
    actor = actors[int(random.integers(len(actors)))]
    y = actor.centre_m[1] - min(0.55 * gap, 2.0) - 0.3
    depth = y - float(camera.position_m[1])
    x = actor.centre_m[0] + float(random.uniform(-0.8, 0.8)) * depth * camera.size_hw[1] / 2 / camera.focal_px
    size = max(actor.figure.height_m, 0.5 * actor.figure.length_m) * random.uniform(0.5, 1.1)
    top = actor.centre_m[2] + size
    red, green, blue = (float(value) for value in random.uniform(0.1, 0.8, 3))
    kind = int(random.integers(3))
    if kind == 0:
        solid = tube((x, y, 0), (x, y, top + size), float(random.uniform(0.04, 0.14)) * size)
    elif kind == 1:
        solid = box((float(random.uniform(0.3, 1.0)) * size, 0.15, top), (x, y, top / 2))
    else:
        solid = ellipsoid((float(random.uniform(0.25, 0.6)) * size, 0.2, 0.5 * size), (x, y, top - 0.5 * size))
    return solid, (red, green, blue)


def _about(axis: tuple[float, float, float], angle: float) -> np.ndarray:
    return np.array([*(np.sin(angle / 2) * np.asarray(axis, float)), np.cos(angle / 2)])


def _product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The turn that does the second, then the first."""
    a, b, c, d = first.tolist()
    x, y, z, w = second.tolist()
    return np.array(
        [d * x + a * w + b * z - c * y, d * y + b * w + c * x - a * z, d * z + c * w + a * y - b * x,
         d * w - a * x - b * y - c * z]
    )  # fmt: skip
