"""Convex solids: closed, seen from outside, with the volume that geometry says."""

from __future__ import annotations

import numpy as np
import pytest

from lsts_edge.datasets.render.puppets import PUPPETS
from lsts_edge.datasets.render.shapes import Solid, box, ellipsoid, tube
from lsts_edge.presets import FIVE_GROUPS


def volume(solid: Solid) -> float:
    """By the divergence theorem; positive only where the triangles face outwards."""
    a, b, c = (solid.corners[solid.triangles[:, k]] for k in range(3))
    return float((np.cross(a, b) * c).sum() / 6)


@pytest.mark.parametrize(
    ("solid", "expected", "tolerance"),
    [
        (box((1, 2, 3), (5, 6, 7)), 6.0, 1e-9),
        (box((2, 2, 3), taper=(0.5, 0.5)), 3 / 3 * (4 + 1 + 2), 1e-9),  # a frustum: h / 3 (A + a + sqrt(A a))
        (ellipsoid((1, 2, 3), (1, 1, 1)), 4 / 3 * np.pi * 6, 0.12),  # 8 rings of 14 are a little less
        (tube((1, 0, 0), (1, 0, 4), 1.0), 4 * np.pi, 0.05),
        (tube((0, 0, 0), (3, 0, 0), 1.0, 0.5), np.pi * 3 / 3 * (1 + 0.25 + 0.5), 0.05),
    ],
)
def test_solids_enclose_their_volume(solid: Solid, expected: float, tolerance: float):
    assert volume(solid) == pytest.approx(expected, rel=max(tolerance, 1e-9)) and volume(solid) <= expected * (1 + 1e-9)
    np.testing.assert_allclose(np.linalg.norm(solid.normals, axis=1), 1)
    outwards = (solid.normals * (solid.corners - solid.corners.mean(0))).sum(1)
    assert (outwards > 0).all()
    assert len(solid.corners) == len(solid.normals) == len(solid.uv)


def test_there_are_figures_of_every_group_and_they_stand_on_the_ground():
    assert set(PUPPETS) == set(FIVE_GROUPS)
    for group, makers in PUPPETS.items():
        for maker in makers:
            for seed in range(8):
                figure = maker(np.random.default_rng(seed))
                assert figure.group == group and figure.kind
                lowest = min(part.solid.corners[:, 2].min() for part in figure.parts)
                assert figure.flies or abs(lowest) < 0.06
                large = figure.scaled(3.0)
                assert large.height_m == pytest.approx(3 * figure.height_m)
                assert max(part.solid.corners[:, 2].max() for part in large.parts) == pytest.approx(large.height_m)
