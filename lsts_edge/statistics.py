"""Percentiles of measured times: nearest-rank, so that every figure is one that occurred."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lsts_edge.errors import OptionError

__all__ = ["nearest_rank"]


def nearest_rank(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least ``percent`` of all values do not exceed.

    ``sorted(values)[ceil(percent / 100 * n) - 1]``: no interpolation.

    Args:
        values: at least one number, any order.
        percent: above 0, at most 100.

    Raises:
        OptionError: if ``values`` is empty or ``percent`` out of range.
    """
    if not values:
        raise OptionError("percentile of nothing", got="0 samples", expected="at least 1", fix="Measure more runs.")
    if not 0 < percent <= 100:
        raise OptionError("percentile", got=percent, expected="above 0, at most 100", fix="Ask for 50, 90, 95 or 99.")
    return sorted(values)[max(math.ceil(percent / 100 * len(values)), 1) - 1]
