"""Ground, sky and what stands on the horizon, from noise: drawn for a camera by looking up where each pixel looks."""

from __future__ import annotations

import cv2
import numpy as np

from lsts_edge.datasets.render.camera import PinholeCamera

__all__ = ["Background", "clouds"]

_TILE_PX, _TILE_M = 512, 12.0
_PANORAMA_HW = (256, 2048)  # pitch -10 to 50 degrees, all around
_LOWEST, _HIGHEST = np.radians(-10.0), np.radians(50.0)


def clouds(random: np.random.Generator, size: int, octaves: int, roughness: float = 0.6) -> np.ndarray:
    """Noise ``(size, size)`` in 0..1 that can be tiled."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        cells = min(4 << octave, size)
        grid = np.pad(random.random((cells, cells), dtype=np.float32), 2, mode="wrap")
        step = size // cells
        large = cv2.resize(grid, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        total += roughness**octave * large[2 * step : 2 * step + size, 2 * step : 2 * step + size]
    low, high = float(total.min()), float(total.max())
    return np.asarray((total - low) / max(high - low, 1e-6))


class Background:
    """One video's surroundings; the same generator gives the same ones."""

    def __init__(self, random: np.random.Generator) -> None:
        self._ground = _ground(random)
        self._far = np.asarray(self._ground.mean(axis=(0, 1)))
        self._panorama = _panorama(random)

    def draw(self, camera: PinholeCamera) -> np.ndarray:
        """``(H, W, 3)`` float32 BGR, 0..255."""
        rays = camera.rays()
        flat = np.hypot(rays[..., 0], rays[..., 1])
        pitch = np.arctan2(rays[..., 2], flat)
        yaw = np.arctan2(rays[..., 1], rays[..., 0])
        height, width = _PANORAMA_HW
        column = yaw * (width / (2 * np.pi))
        row = np.clip((_HIGHEST - pitch) / (_HIGHEST - _LOWEST), 0, 1) * (height - 1)
        picture = _looked_up(self._panorama, column, row)
        below = rays[..., 2] < -1e-3
        reach = float(camera.position_m[2]) / np.maximum(-rays[..., 2], 1e-3)
        x, y = (float(camera.position_m[axis]) + reach * rays[..., axis] for axis in (0, 1))
        ground = _looked_up(self._ground, x * (_TILE_PX / _TILE_M), y * (_TILE_PX / _TILE_M))
        near = np.exp(-reach * flat / 25.0)[..., None].astype(np.float32)
        ground = near * ground + (1 - near) * self._far
        return np.asarray(np.where(below[..., None], ground, picture), np.float32)


def _looked_up(image: np.ndarray, column: np.ndarray, row: np.ndarray) -> np.ndarray:
    return cv2.remap(
        image, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    )


def _colours(random: np.random.Generator, count: int, spread: float = 26.0) -> np.ndarray:
    base = random.uniform(30, 220)
    return np.asarray(np.clip(base + random.normal(0, spread, (count, 3)), 5, 250), np.float32)


def _ground(random: np.random.Generator) -> np.ndarray:
    """Noise between colours and, at times, tiles or a road's marks."""
    mix = clouds(random, _TILE_PX, 7, random.uniform(0.5, 0.9))[..., None]
    first, second, third = _colours(random, 3, 14.0)
    picture = first * mix + second * (1 - mix)
    if random.random() < 0.5:
        cells = int(random.integers(3, 12))
        line = int(random.integers(2, 12))
        for place in range(0, _TILE_PX, _TILE_PX // cells):
            picture[place : place + line] = third
            if random.random() < 0.8:
                picture[:, place : place + line] = third
    grain = random.normal(0, 6, (_TILE_PX, _TILE_PX, 1)).astype(np.float32)
    return np.asarray(picture + grain, np.float32)


def _panorama(random: np.random.Generator) -> np.ndarray:
    """Sky with clouds; on the horizon boxes as houses and ellipses as trees, the far ones first."""
    height, width = _PANORAMA_HW
    top, low, cloud = _colours(random, 3)
    fade = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    picture = np.repeat(top * (1 - fade) + low * fade, width, axis=1)
    mist = np.tile(clouds(random, 256, 5), (1, width // 256))[:height, :, None]
    picture += np.clip(mist - 0.5, 0, 1) * (cloud - picture)
    horizon = int(height * _HIGHEST / (_HIGHEST - _LOWEST))
    for _ in range(int(random.integers(20, 140))):
        x, wide, tall = int(random.integers(width)), int(random.integers(8, 90)), int(random.integers(6, 110))
        colour = tuple(float(value) for value in _colours(random, 1)[0])
        if random.random() < 0.55:
            cv2.rectangle(picture, (x, horizon - tall), (x + wide, height), colour, -1)
            window = tuple(0.6 * value for value in colour)
            for row in range(horizon - tall + 5, horizon - 4, 12):
                for column in range(x + 4, x + wide - 5, 10):
                    cv2.rectangle(picture, (column, row), (column + 4, row + 5), window, -1)
        else:
            middle = (x, horizon - int(0.6 * tall))
            cv2.rectangle(picture, (x - 2, middle[1]), (x + 2, height), tuple(0.5 * value for value in colour), -1)
            cv2.ellipse(picture, middle, (wide // 2, tall // 2), 0, 0, 360, colour, -1)
    return cv2.GaussianBlur(np.asarray(picture, np.float32), (0, 0), 0.8)  # edges were drawn in whole pixels
