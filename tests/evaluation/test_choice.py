"""The choice finds what was planted: the cheapest good way, the best one within a budget, never one that loses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lsts_edge.errors import OptionError
from lsts_edge.evaluation.choice import EVERY_FRAME, MeasuredWay, choose_way, pareto_front


def row(way: str, mean_ms: float, agreement: float | None, interval: int = 3, engine: str = "openvino") -> MeasuredWay:
    return MeasuredWay(
        way, "1" if way == EVERY_FRAME else str(interval), (256, 448), engine, "fp32", mean_ms, agreement
    )


EVERY = row(EVERY_FRAME, 5.0, 1.0)
TABLE = [
    EVERY,
    row("hold", 1.8, 0.77),
    row("flow-boxes", 2.4, 0.87),
    row("fused", 3.7, 0.9),
    row("smaller-input", 4.2, 0.89),
]


def test_cheapest_way_that_agrees_enough():
    choice = choose_way(TABLE)
    assert str(choice.chosen) == "flow-boxes at interval 3 (448x256, openvino, fp32)"
    assert choice.met
    for words in ("0.870", "2.40 ms", "2.08 x", "hold at interval 3", "0.770"):
        assert words in choice.reason
    assert choice.reason.count(".") >= 1 and choice.reason.endswith(".") and "\n" not in choice.reason


def test_planted_better_way_is_chosen():
    planted = row("fused", 2.3, 0.86, interval=5)
    for position in range(len(TABLE) + 1):
        assert choose_way([*TABLE[:position], planted, *TABLE[position:]]).chosen is planted


def test_asking_for_more_costs_more():
    chosen = [choose_way(TABLE, min_agreement=least).chosen.way for least in (0.7, 0.85, 0.9, 0.95)]
    assert chosen == ["hold", "flow-boxes", "fused", EVERY_FRAME]


def test_every_frame_where_nothing_cheaper_is_good_or_nothing_is_cheaper():
    choice = choose_way([EVERY, row("hold", 2.0, 0.6)])
    assert choice.chosen is EVERY and choice.met and "0.600" in choice.reason
    choice = choose_way([EVERY, row("fused", 6.0, 0.99)])
    assert choice.chosen is EVERY and "no way is cheaper" in choice.reason


def test_budget_takes_the_best_within_it_and_says_when_none_is():
    assert choose_way(TABLE, budget_ms=4.5).chosen.way == "fused"  # not smaller-input, which costs more and agrees less
    assert choose_way(TABLE, budget_ms=99).chosen is EVERY
    choice = choose_way(TABLE, budget_ms=1.0)
    assert (choice.chosen.way, choice.met) == ("hold", False)
    assert "no way keeps 1 ms" in choice.reason


def test_undefined_agreement_keeps_every_frame_and_says_so():
    slow = row(EVERY_FRAME, 9.0, None, engine="onnxruntime")
    choice = choose_way([slow, row(EVERY_FRAME, 5.0, None), row("hold", 1.0, None)])
    assert (choice.chosen.way, choice.chosen.mean_ms, choice.front) == (EVERY_FRAME, 5.0, ())
    assert "undefined" in choice.reason


def test_nothing_agrees_enough():
    choice = choose_way([row(EVERY_FRAME, 5.0, 0.8), row("hold", 1.0, 0.5)])
    assert (choice.chosen.way, choice.met) == (EVERY_FRAME, False)


@pytest.mark.parametrize("seed", range(20))
def test_chosen_way_never_loses_to_a_cheaper_one(seed):
    random = np.random.RandomState(seed)
    rows = [EVERY] + [
        row("hold", float(ms), float(value), interval=2 + index)
        for index, (ms, value) in enumerate(zip(random.randint(1, 9, 30), random.randint(0, 10, 30) / 10, strict=True))
    ]
    front = pareto_front(rows)
    for cheaper, dearer in itertools.pairwise(front):
        assert cheaper.mean_ms < dearer.mean_ms
        assert cheaper.agreement < dearer.agreement
    for options in ({"min_agreement": 0.5}, {"min_agreement": 1.0}, {"budget_ms": 4.0}):
        chosen = choose_way(rows, **options).chosen
        assert chosen in front
        assert not any(
            other.mean_ms <= chosen.mean_ms and other.agreement >= chosen.agreement
            and (other.mean_ms, other.agreement) != (chosen.mean_ms, chosen.agreement)
            for other in rows
        )  # fmt: skip


def test_bad_input_is_refused():
    with pytest.raises(OptionError, match="every frame"):
        choose_way([row("hold", 1.0, 0.9)])
    for options in ({"min_agreement": 0.0}, {"min_agreement": 1.1}, {"budget_ms": 0.0}, {"budget_ms": float("nan")}):
        with pytest.raises(OptionError):
            choose_way(TABLE, **options)
    for mean_ms, agreement in ((0.0, 0.5), (float("nan"), 0.5), (1.0, 1.2), (1.0, float("nan"))):
        with pytest.raises(OptionError):
            row("hold", mean_ms, agreement)
