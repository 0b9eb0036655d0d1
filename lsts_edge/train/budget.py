"""Bytes shared out among sources, and of each source as many evenly spaced images as its part holds."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["share_out", "thin"]

_HALVINGS = 60


def share_out(budget: int, least: Sequence[int], most: Sequence[int], shares: Sequence[float]) -> list[int] | None:
    """Parts of a budget in proportion to the shares; what one does not need is left to the others.

    Args:
        budget: of all.
        least: what each needs at the least.
        most: what each has use for.
        shares: above 0.

    Returns:
        A part for each, together no more than the budget; None where the budget is less than they need.
    """
    if sum(least) > budget:
        return None

    def parts(level: float) -> list[int]:
        rows = zip(shares, least, most, strict=True)
        return [max(low, int(min(level * share, high))) for share, low, high in rows]

    low, high = 0.0, max(most) / min(shares)
    if sum(parts(high)) <= budget:
        return parts(high)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(parts(middle)) <= budget else (low, middle)
    return parts(low)


def thin(groups: Sequence[Sequence[int]], costs: Sequence[int], budget: int) -> list[int]:
    """Take of each group the same fraction, at least one, evenly spaced, as large as the budget allows.

    Args:
        groups: indices into the costs, in the order in which they are spread.
        costs: of each index.
        budget: of all that are taken; at least the cost of one of each group.

    Returns:
        Indices that are taken, sorted.
    """

    def taken(fraction: float) -> list[int]:
        return sorted(group[at] for group in groups for at in _spread(len(group), int(fraction * len(group))))

    def fits(fraction: float) -> bool:
        return sum(costs[at] for at in taken(fraction)) <= budget

    if fits(1.0):
        return taken(1.0)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return taken(low)


def _spread(count: int, kept: int) -> list[int]:
    """So many of ``count`` places, one at least, each in the middle of an equal part of them."""
    kept = max(1, kept)
    return [(2 * place + 1) * count // (2 * kept) for place in range(kept)]
