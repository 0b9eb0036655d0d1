"""Triangles to pixels by pybullet's TinyRenderer: on the CPU, without a display, the same bytes each time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lsts_edge.datasets.render.camera import PinholeCamera
from lsts_edge.datasets.render.puppets import Colour
from lsts_edge.datasets.render.scene import Placed
from lsts_edge.datasets.render.shapes import Solid

__all__ = ["TinyRenderer"]


class TinyRenderer:
    """Solids in a world of their own; close it, or use it in a ``with``.

    Args:
        light: towards it.
    """

    def __init__(self, light: np.ndarray) -> None:
        import pybullet

        self._bullet: Any = pybullet
        self._client = pybullet.connect(pybullet.DIRECT)
        self._light = [float(value) for value in light]
        self._folder = tempfile.TemporaryDirectory()
        self._textures = 0

    def __enter__(self) -> TinyRenderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back what the world holds."""
        self._bullet.disconnect(self._client)
        self._folder.cleanup()

    def add_texture(self, picture: np.ndarray) -> int:
        """A BGR picture that solids may show; returns its number."""
        path = Path(self._folder.name) / f"{self._textures}.png"
        self._textures += 1
        if not cv2.imwrite(str(path), picture):
            raise OSError(f"{path} cannot be written")
        return int(self._bullet.loadTexture(str(path), physicsClientId=self._client))

    def add(self, solid: Solid, colour: Colour, texture: int | None = None) -> int:
        """A solid at the origin; returns the number that its pixels have."""
        shape = self._call(
            self._bullet.createVisualShape,
            shapeType=self._bullet.GEOM_MESH,
            vertices=solid.corners.tolist(),
            indices=solid.triangles.ravel().tolist(),
            normals=solid.normals.tolist(),
            uvs=solid.uv.tolist(),
            rgbaColor=[*colour, 1.0],
        )
        body = int(self._call(self._bullet.createMultiBody, baseMass=0, baseVisualShapeIndex=shape))
        if texture is not None:
            self._call(self._bullet.changeVisualShape, objectUniqueId=body, linkIndex=-1, textureUniqueId=texture)
        return body

    def move(self, body: int, placed: Placed) -> None:
        """Put a solid elsewhere."""
        shift, turn = placed.shift_m.tolist(), placed.quaternion.tolist()
        self._call(self._bullet.resetBasePositionAndOrientation, bodyUniqueId=body, posObj=shift, ornObj=turn)

    def draw(self, camera: PinholeCamera) -> tuple[np.ndarray, np.ndarray]:
        """``(H, W, 3)`` uint8 BGR, and of each pixel the number of what it shows, ``(H, W)`` int; -1 is nothing."""
        height, width = camera.size_hw
        drawn = self._call(
            self._bullet.getCameraImage,
            width=width,
            height=height,
            viewMatrix=camera.view_matrix(),
            projectionMatrix=camera.projection_matrix(),
            lightDirection=self._light,
            lightAmbientCoeff=0.55,
            lightDiffuseCoeff=0.5,
            lightSpecularCoeff=0.05,
            shadow=0,
            renderer=self._bullet.ER_TINY_RENDERER,
        )
        colours = np.asarray(drawn[2], np.uint8).reshape(height, width, 4)
        return np.ascontiguousarray(colours[..., 2::-1]), np.asarray(drawn[4], np.int64).reshape(height, width)

    def _call(self, function: Callable[..., Any], **words: object) -> Any:
        return function(**words, physicsClientId=self._client)
