"""A procedural moving clip: the same frames on every machine, with no file and no network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from lsts_edge.errors import OptionError

__all__ = ["moving_clip"]

_SUBPIXEL_BITS = 4  # cv2 draws at 1/16 pixel, so slow shapes move smoothly


@dataclass(frozen=True)
class _Mover:
    """One shape: lengths are fractions of the frame's shorter side, places fractions of the frame, phases radians."""

    kind: str
    color_bgr: tuple[int, int, int]
    stripe_bgr: tuple[int, int, int]
    center: tuple[float, float]
    swing: tuple[float, float]
    speed: tuple[float, float]
    phase: tuple[float, float]
    size: float
    growth: float
    spin: float


def moving_clip(frames: int = 30, height_px: int = 360, width_px: int = 640, seed: int = 0) -> Iterator[np.ndarray]:
    """Textured background that pans, shapes that move, grow, turn and hide each other, and a change of brightness.

    Drawn from ``seed`` alone, so parity checks, self-tests and demos need no video file.

    Args:
        frames: how many frames, at least 0.
        height_px: frame height, 16 to 4096 pixels.
        width_px: frame width, 16 to 4096 pixels.
        seed: picks the texture, the shapes and their paths.
    Yields:
        ``(height_px, width_px, 3)`` uint8 BGR, a fresh array each time.
    Raises:
        OptionError: if a number is out of range.
    """
    for name, value, least, most in (
        ("frames", frames, 0, 1_000_000),
        ("height_px", height_px, 16, 4096),
        ("width_px", width_px, 16, 4096),
        ("seed", seed, 0, 2**32 - 1),
    ):
        if not least <= value <= most:
            raise OptionError(f"moving clip: {name}", got=value, expected=f"{least}..{most}", fix="Correct the call.")
    return _frames(frames, height_px, width_px, seed)


def _frames(frames: int, height_px: int, width_px: int, seed: int) -> Iterator[np.ndarray]:
    random = np.random.RandomState(seed)
    background = _background(random, height_px + height_px // 4, width_px + width_px // 4)
    movers = [_mover(random, kind) for kind in ("ellipse", "box", "triangle", "ellipse", "box", "triangle")]
    for index in range(frames):
        time = index / 25.0
        dx = round(width_px / 8 * (1 + np.sin(0.5 * time)))
        dy = round(height_px / 8 * (1 + np.cos(0.4 * time)))
        frame = background[dy : dy + height_px, dx : dx + width_px].copy()
        for mover in movers:
            _draw(frame, mover, time)
        gain = 1.0 + 0.25 * np.sin(0.9 * time)
        yield cv2.convertScaleAbs(frame, alpha=float(gain), beta=float(-12.0 * np.sin(0.7 * time)))


def _background(random: np.random.RandomState, height_px: int, width_px: int) -> np.ndarray:
    """Noise of four grain sizes, summed: it has edges and gradients for a network to hold on to."""
    total: np.ndarray = np.zeros((height_px, width_px, 3), np.float32)
    for grain_px, weight in ((96, 70.0), (32, 35.0), (8, 18.0), (2, 8.0)):
        rows, columns = height_px // grain_px + 2, width_px // grain_px + 2
        noise = random.uniform(-1.0, 1.0, (rows, columns, 3)).astype(np.float32)
        total = total + weight * cv2.resize(noise, (width_px, height_px), interpolation=cv2.INTER_LINEAR)
    texture: np.ndarray = np.clip(total + 120.0, 0, 255).astype(np.uint8)
    return texture


def _mover(random: np.random.RandomState, kind: str) -> _Mover:
    def pair(low: float, high: float) -> tuple[float, float]:
        return float(random.uniform(low, high)), float(random.uniform(low, high))

    def color() -> tuple[int, int, int]:
        blue, green, red = (int(value) for value in random.randint(0, 256, 3))
        return blue, green, red

    return _Mover(
        kind=kind,
        color_bgr=color(),
        stripe_bgr=color(),
        center=pair(0.25, 0.75),
        swing=pair(0.1, 0.35),
        speed=pair(0.5, 2.2),
        phase=pair(0.0, 6.28),
        size=float(random.uniform(0.08, 0.22)),
        growth=float(random.uniform(0.1, 0.45)),
        spin=float(random.uniform(-1.5, 1.5)),
    )


def _draw(frame: np.ndarray, mover: _Mover, time: float) -> None:
    height_px, width_px = frame.shape[:2]
    x = width_px * (mover.center[0] + mover.swing[0] * np.sin(mover.speed[0] * time + mover.phase[0]))
    y = height_px * (mover.center[1] + mover.swing[1] * np.sin(mover.speed[1] * time + mover.phase[1]))
    size = min(height_px, width_px) * mover.size * (1.0 + mover.growth * np.sin(0.8 * time + mover.phase[0]))
    corners = {"ellipse": 24, "box": 4, "triangle": 3}[mover.kind]
    turn = mover.spin * time + mover.phase[1]
    stretch = 1.5 if mover.kind == "ellipse" else 1.0
    _polygon(frame, x, y, size, stretch, corners, turn, mover.color_bgr)
    _polygon(frame, x, y, size * 0.55, stretch, corners, turn, mover.stripe_bgr)
    _polygon(frame, x + size * 0.2, y - size * 0.2, size * 0.2, 1.0, 4, turn, mover.color_bgr)


def _polygon(
    frame: np.ndarray,
    x: float,
    y: float,
    size: float,
    stretch: float,
    corners: int,
    turn: float,
    color_bgr: tuple[int, int, int],
) -> None:
    angles = 2 * np.pi * np.arange(corners) / corners
    local = np.stack([stretch * size * np.cos(angles), size * np.sin(angles)], axis=1)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    points = np.round((local @ rotation + (x, y)) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(frame, [points], color_bgr, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
