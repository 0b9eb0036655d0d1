"""Bytes shared out among sources, and evenly spaced images within a part."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lsts_edge.train.budget import share_out, thin


@pytest.mark.parametrize(
    ("budget", "least", "most", "expected"),
    [
        (100, [0, 0, 0], [1000, 1000, 1000], [25, 50, 25]),
        (100, [0, 0, 0], [10, 1000, 1000], [10, 60, 30]),
        (100, [40, 0, 0], [1000, 1000, 1000], [40, 40, 20]),
        (100, [0, 0, 0], [10, 20, 30], [10, 20, 30]),
        (100, [50, 25, 25], [90, 90, 90], [50, 25, 25]),
    ],
    ids=["shares", "one needs less", "one needs more", "all fits", "just enough"],
)
def test_what_one_does_not_need_is_left_to_the_others(
    budget: int, least: list[int], most: list[int], expected: list[int]
) -> None:
    parts = share_out(budget, least, most, [1, 2, 1])
    assert parts is not None and sum(parts) <= budget
    assert parts == pytest.approx(expected, abs=1)


def test_less_than_they_need_is_no_part() -> None:
    assert share_out(9, [5, 5], [50, 50], [1, 1]) is None


def test_images_are_taken_evenly_from_each_group() -> None:
    groups = [list(range(40)), list(range(40, 60)), [60]]
    taken = thin(groups, [10] * 61, 160)
    assert taken == [*range(2, 40, 4), *range(42, 60, 4), 60]
    assert thin(groups, [10] * 61, 610) == list(range(61))
    assert thin(groups, [10] * 61, 30) == [20, 50, 60], "one of each, from its middle"


def test_a_part_is_filled_and_never_exceeded() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        costs = random.integers(1, 1000, 300).tolist()
        ends = [0, *sorted(random.choice(range(1, 300), 5, replace=False).tolist()), 300]
        groups = [list(range(*pair)) for pair in itertools.pairwise(ends)]
        part = int(random.integers(6000, sum(costs)))
        spent = sum(costs[at] for at in thin(groups, costs, part))
        assert part - 6 * 1000 <= spent <= part
