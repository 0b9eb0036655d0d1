"""A pinhole camera that pans, shakes and travels: where the world's points fall in the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["NEAR_M", "PinholeCamera", "Steadiness"]

NEAR_M, FAR_M = 0.3, 200.0


@dataclass(frozen=True)
class PinholeCamera:
    """One pose.

    Attributes:
        position_m: ``(3,)``.
        axes: ``(3, 3)``, rows right, up and ahead, in the world.
        focal_px: focal length.
        size_hw: of the picture.
    """

    position_m: np.ndarray
    axes: np.ndarray
    focal_px: float
    size_hw: tuple[int, int]

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places ``(N, 2)`` in pixels, edges (the picture's corner is 0, 0), and depths ``(N,)`` in metres."""
        right, up, ahead = ((points - self.position_m) @ self.axes.T).T
        depth = np.maximum(ahead, 1e-6)
        height, width = self.size_hw
        places = (width / 2 + self.focal_px * right / depth, height / 2 - self.focal_px * up / depth)
        return np.stack(places, axis=1), ahead

    def rays(self) -> np.ndarray:
        """Direction of every pixel's centre, ``(H, W, 3)`` float32, not of length 1."""
        height, width = self.size_hw
        x = (np.arange(width) + 0.5 - width / 2) / self.focal_px
        y = (height / 2 - np.arange(height) - 0.5) / self.focal_px
        right, up, ahead = self.axes.astype(np.float32)
        rows = y.astype(np.float32)[:, None, None] * up + ahead
        return np.asarray(x.astype(np.float32)[None, :, None] * right + rows)

    def view_matrix(self) -> list[float]:
        """Column by column, as OpenGL has it."""
        right, up, ahead = self.axes
        turn = np.stack((right, up, -ahead))
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = turn, -turn @ self.position_m
        return [float(value) for value in matrix.T.ravel()]

    def projection_matrix(self) -> list[float]:
        """Column by column, as OpenGL has it."""
        height, width = self.size_hw
        matrix = np.zeros((4, 4))
        matrix[0, 0], matrix[1, 1] = 2 * self.focal_px / width, 2 * self.focal_px / height
        matrix[2, 2], matrix[2, 3] = -(FAR_M + NEAR_M) / (FAR_M - NEAR_M), -2 * FAR_M * NEAR_M / (FAR_M - NEAR_M)
        matrix[3, 2] = -1
        return [float(value) for value in matrix.T.ravel()]


@dataclass(frozen=True)
class Steadiness:
    """How a camera moves: it stands at ``start_m`` and looks at ``goal_m``; ``strength`` 0 keeps it there."""

    start_m: tuple[float, float, float]
    goal_m: tuple[float, float, float]
    field_deg: float
    strength: float
    seed: int

    def at(self, frame: float, size_hw: tuple[int, int]) -> PinholeCamera:
        """The camera at a time, in frames."""
        random = np.random.default_rng(self.seed)
        phases = random.uniform(0, 2 * np.pi, 8)
        slow, quick = 2 * np.pi * frame / random.uniform(60, 160), 2 * np.pi * frame / random.uniform(5, 12)
        travel = np.array([np.sin(slow + phases[0]), 0.5 * np.sin(slow + phases[1]), 0.2 * np.sin(slow + phases[2])])
        position = np.asarray(self.start_m) + 1.2 * self.strength * travel
        pan, shake = np.radians(9.0) * self.strength, np.radians(0.5) * self.strength
        ahead = np.asarray(self.goal_m) - np.asarray(self.start_m)
        yaw = np.arctan2(ahead[1], ahead[0]) + pan * np.sin(slow + phases[3]) + shake * np.sin(quick + phases[4])
        pitch = np.arctan2(ahead[2], np.hypot(*ahead[:2])) + shake * np.sin(1.3 * quick + phases[5])
        roll = 0.6 * shake * np.sin(0.7 * quick + phases[6])
        forward = np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)])
        level = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
        up = np.cross(level, forward)
        axes = np.stack((np.cos(roll) * level + np.sin(roll) * up, np.cos(roll) * up - np.sin(roll) * level, forward))
        return PinholeCamera(position, axes, size_hw[0] / 2 / np.tan(np.radians(self.field_deg) / 2), size_hw)
