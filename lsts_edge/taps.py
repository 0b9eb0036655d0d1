"""Offsets to taps: the few integer shifts that K fixed fractional offsets share, and how they blend.

The offsets of LSTS are one table for all positions, so bilinear sampling at ``p0 + offset_k`` is a constant blend of at
most four integer shifts. Export, the custom op and the reference of the ``taps`` graphs all use the plan made here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lsts_edge.errors import ShapeError

__all__ = ["MAX_SIDE_CELLS", "TapPlan", "tap_plan"]

MAX_SIDE_CELLS = 1 << 20
"""Longest side of a feature map. An offset of at least this size lies outside every map, wherever it starts."""


@dataclass(frozen=True)
class TapPlan:
    """Integer shifts and their blend: ``sample_k = sum_u blend[k, u] * F(p0 + taps[u])``.

    Attributes:
        taps: ``(U, 2)`` int64, ``(x, y)`` in cells, unique, sorted by y and then x.
        blend: ``(K, U)`` float64, at most four entries a row; each row sums to one, or is all zero where the offset
            is non-finite or lies outside every map (that sample has feature 0 and similarity 0 and stays in the
            softmax).
    """

    taps: npt.NDArray[np.int64]
    blend: npt.NDArray[np.float64]

    @property
    def locations(self) -> int:
        """K, the number of offsets."""
        return int(self.blend.shape[0])

    @property
    def count(self) -> int:
        """U, the number of distinct taps."""
        return int(self.taps.shape[0])

    @property
    def radius_cells(self) -> int:
        """The farthest a tap reaches in x or y, 0 where there is none."""
        return int(np.abs(self.taps).max(initial=0))


def tap_plan(offsets: npt.ArrayLike) -> TapPlan:
    """Factor K fractional offsets into the few integer shifts (taps) they share.

    ``bilinear(F, p0 + offset_k) = sum_u blend[k, u] * F(p0 + tap_u)``, exact in real arithmetic, cells outside the map
    being zero. Source: Jiang et al., ECCV 2020, Eq. 1, for offsets that do not depend on the position.

    Args:
        offsets: ``(K, 2)`` float, ``(x, y)`` in feature cells, not pixels.

    Returns:
        A ``TapPlan`` with U <= 4 K taps.

    Raises:
        ShapeError: if ``offsets`` is not ``(K, 2)`` with K >= 1, or not floating point.
    """
    table = np.asarray(offsets)
    if table.ndim != 2 or table.shape[1] != 2 or table.shape[0] < 1 or table.dtype.kind != "f":
        raise ShapeError(
            "offsets have the wrong shape or type",
            got=f"{table.shape} {table.dtype}",
            expected="(K, 2) floating point, K >= 1",
            fix="Give one (x, y) pair in feature cells for each sampling location.",
        )
    table = table.astype(np.float64)
    usable = (np.abs(table) < MAX_SIDE_CELLS).all(axis=1)  # false for NaN and Inf, so only numbers in range are cast
    entries: list[tuple[int, tuple[int, int], float]] = []
    for k in np.flatnonzero(usable).tolist():
        base = np.floor(table[k])
        fraction = table[k] - base
        for step_y in (0, 1):
            for step_x in (0, 1):
                weight_x = fraction[0] if step_x else 1.0 - fraction[0]
                weight_y = fraction[1] if step_y else 1.0 - fraction[1]
                weight = float(weight_x * weight_y)
                if weight != 0.0:
                    entries.append((k, (int(base[1]) + step_y, int(base[0]) + step_x), weight))
    order = {tap: u for u, tap in enumerate(sorted({tap for _, tap, _ in entries}))}
    blend = np.zeros((table.shape[0], len(order)), np.float64)
    for k, tap, weight in entries:
        blend[k, order[tap]] += weight
    taps = np.array([(x, y) for y, x in order], np.int64).reshape(-1, 2)
    return TapPlan(taps=taps, blend=blend)
