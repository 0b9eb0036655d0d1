"""Convex solids as triangles: boxes, ellipsoids and tubes, from which every figure is composed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Solid", "box", "ellipsoid", "tube"]

Point = Sequence[float]
_ROUND = 14  # corners of a circle


@dataclass(frozen=True)
class Solid:
    """A convex solid; that it is convex makes the hull of its projected corners its outline.

    Attributes:
        corners: ``(V, 3)`` float64.
        normals: ``(V, 3)``, outwards, of length 1.
        uv: ``(V, 2)`` place on a texture.
        triangles: ``(T, 3)`` int, counter-clockwise seen from outside.
    """

    corners: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    triangles: np.ndarray


def box(size: Point, centre: Point = (0, 0, 0), taper: tuple[float, float] = (1, 1)) -> Solid:
    """A box, or a wedge.

    Args:
        size: along x, y and z.
        centre: of it.
        taper: size of the upper side over that of the lower, along x and y.
    """
    corners, normals, uv = [], [], []
    for axis in range(3):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        for sign in (-1.0, 1.0):
            face = np.zeros((4, 3))
            face[:, axis] = sign
            face[:, first] = (-1, 1, 1, -1)
            face[:, second] = (-1, -1, 1, 1)
            corners.append(face)
            uv.append(np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float))
    points = np.concatenate(corners)
    upper = points[:, 2] > 0
    points[upper, 0] *= taper[0]
    points[upper, 1] *= taper[1]
    points = points * np.asarray(size, float) / 2
    triangles = np.array([(4 * side + a, 4 * side + b, 4 * side + c) for side in range(6) for a, b, c in
                          ((0, 1, 2), (0, 2, 3))])  # fmt: skip
    triangles = _outwards(points, triangles)
    for side in range(6):
        a, b, c = points[triangles[2 * side]]
        normals.append(np.tile(np.cross(b - a, c - a), (4, 1)))
    return Solid(points + np.asarray(centre, float), _unit(np.concatenate(normals)), np.concatenate(uv), triangles)


def ellipsoid(radii: Point, centre: Point = (0, 0, 0)) -> Solid:
    """An ellipsoid along the axes."""
    rings = 8
    latitude, longitude = np.meshgrid(
        np.linspace(-np.pi / 2, np.pi / 2, rings + 1), np.linspace(0, 2 * np.pi, _ROUND + 1), indexing="ij"
    )
    sphere = np.stack(
        (np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)), axis=-1
    ).reshape(-1, 3)
    uv = np.stack((longitude / np.pi, latitude / np.pi + 0.5), axis=-1).reshape(-1, 2)
    size = np.asarray(radii, float)
    points = sphere * size
    triangles = _outwards(points, _strips(rings, _ROUND))
    return Solid(points + np.asarray(centre, float), _unit(sphere / size), uv, triangles)


def tube(start: Point, end: Point, radius: float, end_radius: float | None = None) -> Solid:
    """A cylinder or, with another radius at its end, a cone cut off; flat at both ends."""
    first, last = np.asarray(start, float), np.asarray(end, float)
    axis = (last - first) / np.linalg.norm(last - first)
    across = np.cross(axis, (0, 0, 1) if abs(axis[2]) < 0.9 else (1, 0, 0))
    across /= np.linalg.norm(across)
    angle = np.linspace(0, 2 * np.pi, _ROUND + 1)
    circle = np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * np.cross(axis, across)
    radii = (radius, radius if end_radius is None else end_radius)
    sides = np.concatenate([place + r * circle for place, r in zip((first, last), radii, strict=True)])
    turns = np.tile(angle / np.pi, 2)
    uv = np.stack((turns, np.repeat((0.0, 1.0), _ROUND + 1)), axis=1)
    points, normals = [sides], [np.tile(circle, (2, 1))]
    triangles = [_strips(1, _ROUND)]
    for place, rim, direction in ((first, sides[: _ROUND + 1], -axis), (last, sides[_ROUND + 1 :], axis)):
        base = sum(map(len, points))
        points.append(np.concatenate((rim, place[None])))
        normals.append(np.tile(direction, (_ROUND + 2, 1)))
        triangles.append(np.array([(base + k, base + k + 1, base + _ROUND + 1) for k in range(_ROUND)]))
    corners = np.concatenate(points)
    uv = np.concatenate((uv, np.full((len(corners) - len(uv), 2), 0.5)))
    return Solid(corners, _unit(np.concatenate(normals)), uv, _outwards(corners, np.concatenate(triangles)))


def _strips(rows: int, columns: int) -> np.ndarray:
    """Triangles of a grid of ``(rows + 1) x (columns + 1)`` corners."""
    row, column = (part.ravel() for part in np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"))
    corner = row * (columns + 1) + column
    above = corner + columns + 1
    return np.concatenate((np.stack((corner, corner + 1, above), 1), np.stack((corner + 1, above + 1, above), 1)))


def _outwards(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """The triangles turned so that each is seen counter-clockwise from outside the convex solid."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    wrong = (np.cross(b - a, c - a) * ((a + b + c) / 3 - points.mean(0))).sum(1) < 0
    return np.where(wrong[:, None], triangles[:, ::-1], triangles)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
