"""The frames of one scene: pictures with the shutter's blur, and who is seen in which pixel at its middle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from lsts_edge.datasets.render.background import clouds
from lsts_edge.datasets.render.camera import NEAR_M, PinholeCamera
from lsts_edge.datasets.render.outline import fill_outlines, whole_area_px
from lsts_edge.datasets.render.scene import Placed, RenderedScene
from lsts_edge.datasets.render.tiny_renderer import TinyRenderer

__all__ = ["RenderedFrame", "render_video"]

_LENS_SIGMA_PX = 0.6  # what a lens does to edges, and what hides the renderer's stairs
_SHADOW = 0.45
_MOST_SHOTS = 9


@dataclass(frozen=True)
class RenderedFrame:
    """One frame.

    Attributes:
        picture: ``(H, W, 3)`` uint8 BGR.
        shown: ``(H, W)`` int, which actor each pixel shows in the middle of the exposure; -1: none.
        whole_px: of each actor, the pixels that it would have with nothing before it and no border.
    """

    picture: np.ndarray
    shown: np.ndarray
    whole_px: tuple[float, ...]


def render_video(scene: RenderedScene, frames: int, seed: list[int]) -> Iterator[RenderedFrame]:
    """Draw the frames one after the other.

    The shutter is open around each frame's time; what it sees is averaged over some moments, more for faster motion.
    Boxes come from the middle one, so that they do not depend on the blur.

    Args:
        scene: the world.
        frames: how many.
        seed: of textures and noise.
    """
    with TinyRenderer(scene.light) as renderer:
        stage = _Stage(scene, renderer, np.random.default_rng([*seed, 7]))
        for frame in range(frames):
            moments = _moments(scene, frame)
            total: np.ndarray = np.zeros((*scene.size_hw, 3), np.float32)
            shown = whole = None
            for place, moment in enumerate(moments):
                picture, ids = stage.shoot(moment)
                total += picture
                if place == len(moments) // 2:
                    shown, whole = ids, stage.whole_px(moment)
            assert shown is not None and whole is not None
            noise = np.random.default_rng([*seed, 11, frame])
            yield RenderedFrame(_developed(total / len(moments), scene.parameters["noise"], noise), shown, whole)


class _Stage:
    """The scene's solids in the renderer."""

    def __init__(self, scene: RenderedScene, renderer: TinyRenderer, random: np.random.Generator) -> None:
        self._scene = scene
        self._renderer = renderer
        self._bodies: list[list[int]] = []
        for actor in scene.actors:
            texture = renderer.add_texture(_texture(random))
            parts = actor.figure.parts
            self._bodies.append([renderer.add(p.solid, p.colour, texture if p.textured else None) for p in parts])
        for solid, colour in scene.obstacles:
            renderer.add(solid, colour, renderer.add_texture(_texture(random)))
        count = max(max(bodies) for bodies in self._bodies) + len(scene.obstacles) + 1
        self._owner = np.full(count + 1, -1)  # the last one is that of -1
        for place, bodies in enumerate(self._bodies):
            self._owner[bodies] = place

    def shoot(self, moment: float) -> tuple[np.ndarray, np.ndarray]:
        """Picture ``(H, W, 3)`` float32 and actors ``(H, W)`` at a moment."""
        placed = [actor.place(moment) for actor in self._scene.actors]
        for bodies, places in zip(self._bodies, placed, strict=True):
            for body, place in zip(bodies, places, strict=True):
                self._renderer.move(body, place)
        camera = self._scene.camera(moment)
        colours, ids = self._renderer.draw(camera)
        behind = self._scene.background.draw(camera) * (1 - _SHADOW * self._shadow(camera, placed)[..., None])
        picture = np.where((ids >= 0)[..., None], colours, behind)
        return picture.astype(np.float32), self._owner[ids]

    def whole_px(self, moment: float) -> tuple[float, ...]:
        """Of each actor."""
        camera = self._scene.camera(moment)
        placed = [actor.place(moment) for actor in self._scene.actors]
        return tuple(whole_area_px(corners, camera) for corners in self._corners(placed))

    def _corners(self, placed: list[list[Placed]]) -> list[list[np.ndarray]]:
        return [
            [place.apply(part.solid.corners) for part, place in zip(actor.figure.parts, places, strict=True)]
            for actor, places in zip(self._scene.actors, placed, strict=True)
        ]

    def _shadow(self, camera: PinholeCamera, placed: list[list[Placed]]) -> np.ndarray:
        """Of everything on the ground, ``(H, W)`` float32, 0..1."""
        light = self._scene.light
        solids = [corners for actor in self._corners(placed) for corners in actor]
        solids += [solid.corners for solid, _ in self._scene.obstacles]
        flat = [camera.project(corners - light * (corners[:, 2:] / light[2])) for corners in solids]
        canvas = np.zeros(camera.size_hw, np.float32)
        fill_outlines(canvas, [points for points, depths in flat if (depths > NEAR_M).all()], 1.0)
        return cv2.GaussianBlur(canvas, (0, 0), 1.5)


def _moments(scene: RenderedScene, frame: int) -> list[float]:
    """Around the frame's time, over the shutter's opening; an odd number, so that one is the frame's own."""
    blur = scene.parameters["blur"]
    if blur == 0:
        return [float(frame)]
    ends = []
    for moment in (frame - blur / 2, frame + blur / 2):
        camera = scene.camera(moment)
        points = [actor.place(moment)[0].shift_m for actor in scene.actors]
        ends.append(camera.project(np.array([*points, scene.steadiness.goal_m]))[0])
    way_px = float(np.linalg.norm(ends[1] - ends[0], axis=1).max())
    shots = int(np.clip(2 * np.ceil(way_px / 2) + 1, 3, _MOST_SHOTS))
    return [frame + blur * (place / (shots - 1) - 0.5) for place in range(shots)]


def _developed(light: np.ndarray, noise: float, random: np.random.Generator) -> np.ndarray:
    grain: np.ndarray = random.standard_normal(light.shape, dtype=np.float32)
    picture = cv2.GaussianBlur(light, (0, 0), _LENS_SIGMA_PX) + np.float32(noise) * grain
    return np.asarray(np.clip(np.round(picture), 0, 255), np.uint8)


def _texture(random: np.random.Generator) -> np.ndarray:
    """Plain, mottled, striped or checked; it multiplies a solid's colour."""
    size, kind = 64, int(random.integers(4))
    dark = random.uniform(0.3, 0.8)
    rows, columns = np.mgrid[:size, :size] // int(random.choice((4, 8, 16)))
    pattern = (np.zeros((size, size)), clouds(random, size, 4), rows % 2, (rows + columns) % 2)[kind]
    shade: np.ndarray = 255 * (1 - (1 - dark) * np.asarray(pattern))
    return np.asarray(np.repeat(shade[..., None], 3, axis=2), np.uint8)
