"""The op's specification: its reference at places that can be computed by hand, tolerances, errors."""

from __future__ import annotations

import numpy as np
import pytest

from lsts_edge.errors import OptionError, ShapeError
from lsts_edge.opspec import LSTS, lsts_conditioning, lsts_reference


def test_reference_by_hand() -> None:
    """One channel, one row: s = g * f(sample), two locations."""
    f = np.array([1.0, 2.0, 3.0]).reshape(1, 1, 1, 3)
    g = np.array([1.0, 0.5, 2.0]).reshape(1, 1, 1, 3)
    feature = np.array([10.0, 20.0, 40.0]).reshape(1, 1, 1, 3)
    aligned, peak = lsts_reference(f, g, feature, [(0.5, 0.0), (1.0, 0.0)], "linear")
    # position 0: samples f 1.5 and 2, F 15 and 20; position 1: 2.5 and 3, 30 and 40; position 2: 1.5 and 0, 20 and 0
    np.testing.assert_allclose(aligned.ravel(), [(1.5 * 15 + 2 * 20) / 3.5, (2.5 * 30 + 3 * 40) / 5.5, 20.0])
    np.testing.assert_allclose(peak.ravel(), [2 / 3.5, 3 / 5.5, 1.0])
    aligned, _ = lsts_reference(f, g, feature, [(0.5, 0.0), (1.0, 0.0)])
    a, b = np.exp([1.5, 2.0])
    np.testing.assert_allclose(aligned.ravel()[0], (a * 15 + b * 20) / (a + b))


def test_outside_samples_stay_in_the_softmax() -> None:
    """A location that reads nothing has similarity 0: it takes its share of the weight and gives nothing."""
    f = np.zeros((1, 1, 2, 2))
    aligned, peak = lsts_reference(f, f, f + 8.0, [(0.0, 0.0), (np.nan, 0.0), (0.0, 1e30), (7.0, 0.0)])
    np.testing.assert_allclose(aligned, 2.0)
    np.testing.assert_allclose(peak, 0.25)


def test_linear_with_sum_zero_is_nan() -> None:
    f = np.zeros((1, 1, 2, 2))
    aligned, peak = lsts_reference(f, f, f + 8.0, [(0.0, 0.0)], "linear")
    assert np.isnan(aligned).all() and np.isnan(peak).all()
    assert np.isinf(lsts_conditioning(f, f, [(0.0, 0.0)])).all()


def test_conditioning_grows_where_similarities_cancel() -> None:
    f = np.array([1.0, -0.9]).reshape(1, 1, 1, 2)
    found = lsts_conditioning(f, np.ones_like(f), [(0.0, 0.0), (1.0, 0.0)])
    np.testing.assert_allclose(found.ravel(), [19.0, 1.0])


def test_allowed_error_scales_with_the_feature() -> None:
    assert LSTS.allowed_error("float32") == LSTS.allowed_error("float32", 0.1) == 1e-5
    assert LSTS.allowed_error("float16", 4.0) == 4 * LSTS.tolerance["float16"]
    with pytest.raises(OptionError, match="float64"):
        LSTS.allowed_error("float64")


def test_wrong_inputs_are_told() -> None:
    f = np.zeros((1, 2, 3, 4))
    for inputs in ((f, f[:, :1], f), (f, f, f[:, :, :2]), (f[0], f[0], f[0])):
        with pytest.raises(ShapeError):
            lsts_reference(*inputs, [(0.0, 0.0)])
    with pytest.raises(ShapeError, match="offsets"):
        lsts_reference(f, f, f, [0.0, 0.0])
    with pytest.raises(OptionError, match="normalization"):
        lsts_reference(f, f, f, [(0.0, 0.0)], "other")
