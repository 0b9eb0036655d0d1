"""The tap plan: exact against direct sampling, sums of weights, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from lsts_edge.errors import ShapeError
from lsts_edge.opspec import lsts_reference
from lsts_edge.taps import MAX_SIDE_CELLS, TapPlan, tap_plan


def shifted(feature: np.ndarray, x: int, y: int) -> np.ndarray:
    """``out[p] = feature[p + (x, y)]``, zero outside."""
    height, width = feature.shape[2:]
    out = np.zeros_like(feature)
    for row in range(max(0, -y), min(height, height - y)):
        for column in range(max(0, -x), min(width, width - x)):
            out[:, :, row, column] = feature[:, :, row + y, column + x]
    return out


def by_taps(plan: TapPlan, f: np.ndarray, g: np.ndarray, feature: np.ndarray) -> np.ndarray:
    correlation = np.stack([(shifted(f, *tap) * g).sum(axis=1) for tap in plan.taps], axis=1)
    scores = np.einsum("ku,nuhw->nkhw", plan.blend, correlation)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    taps = np.einsum("ku,nkhw->nuhw", plan.blend, weights)
    return sum(taps[:, u : u + 1] * shifted(feature, *tap) for u, tap in enumerate(plan.taps))


@pytest.mark.parametrize("spread", [1.0, 3.0])
def test_taps_equal_direct_sampling(spread: float) -> None:
    random = np.random.RandomState(0)
    offsets = (random.standard_normal((20, 2)) * spread).astype(np.float32)
    offsets[0], offsets[1], offsets[2] = (2, -1), (np.nan, 0), (1e10, 0)
    f, g, feature = (random.standard_normal((2, channels, 9, 11)) for channels in (5, 5, 7))
    aligned, peak = lsts_reference(f, g, feature, offsets)
    np.testing.assert_allclose(by_taps(tap_plan(offsets), f, g, feature), aligned, atol=1e-12)
    assert ((peak > 0) & (peak <= 1)).all()


def test_plan_is_sorted_sparse_and_shared() -> None:
    plan = tap_plan(np.random.RandomState(0).randn(40, 2).astype(np.float32))
    assert plan.locations == 40 and plan.count == 31 < 4 * 40
    assert [tuple(tap) for tap in plan.taps] == sorted(map(tuple, plan.taps), key=lambda tap: (tap[1], tap[0]))
    np.testing.assert_allclose(plan.blend.sum(axis=1), 1.0)
    assert ((plan.blend != 0).sum(axis=1) <= 4).all()
    assert plan.radius_cells == np.abs(plan.taps).max()


def test_integer_offsets_are_single_taps() -> None:
    plan = tap_plan(np.array([(2, -3), (0, 0), (2, -3)], np.float64))
    assert plan.taps.tolist() == [[2, -3], [0, 0]]
    assert plan.blend.tolist() == [[1, 0], [0, 1], [1, 0]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e10, 3e38, MAX_SIDE_CELLS, -MAX_SIDE_CELLS])
def test_offsets_beyond_every_map_are_zero_rows(value: float) -> None:
    plan = tap_plan(np.array([(value, 0), (0, value), (0, 0)], np.float32))
    assert plan.blend.sum(axis=1).tolist() == [0, 0, 1]
    assert tap_plan(np.array([(value, value)], np.float32)).count == 0
    assert tap_plan(np.array([(value, value)], np.float32)).radius_cells == 0


@pytest.mark.parametrize(
    "offsets", [np.zeros((3, 3), np.float32), np.zeros(2), np.zeros((0, 2)), np.zeros((2, 2), int)]
)
def test_wrong_tables_are_refused(offsets: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="offsets"):
        tap_plan(offsets)
