"""The harness measures what was planted: known times give known percentiles, known ratios give known ratios."""

from __future__ import annotations

import time

import pytest

from lsts_edge.benchmarks.harness import compare, measure, paired_ratio, summarize
from lsts_edge.errors import OptionError
from lsts_edge.statistics import nearest_rank


class FakeSession:
    """A session whose every run sleeps a known time (milliseconds), in the order given, over and over."""

    def __init__(self, sleeps_ms: list[float]) -> None:
        self.sleeps_ms = sleeps_ms
        self.calls = 0

    def run(self) -> None:
        time.sleep(self.sleeps_ms[self.calls % len(self.sleeps_ms)] / 1e3)
        self.calls += 1


class FakeClock:
    """A clock that moves only when told: exact percentiles without waiting."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([3.0], 50, 3.0),
        ([1.0, 2.0], 50, 1.0),
        ([1.0, 2.0], 51, 2.0),
        (list(range(1, 101)), 50, 50),
        (list(range(1, 101)), 95, 95),
        (list(range(1, 101)), 99, 99),
        (list(range(100, 0, -1)), 100, 100),
        (list(range(1, 11)), 99, 10),
        (list(range(1, 11)), 90, 9),
        ([15, 20, 35, 40, 50], 30, 20),
        ([15, 20, 35, 40, 50], 40, 20),
    ],
)
def test_nearest_rank_is_a_value_that_occurred(values: list[float], percent: float, expected: float) -> None:
    assert nearest_rank(values, percent) == expected


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], 0), ([1.0], 101), ([1.0], float("nan"))])
def test_nearest_rank_refuses(values: list[float], percent: float) -> None:
    with pytest.raises(OptionError, match="percentile"):
        nearest_rank(values, percent)


def test_fake_clock_gives_exact_percentiles() -> None:
    clock = FakeClock()
    times_ms = iter([999.0] * 2 + [float(value) for value in range(1, 101)])

    def call() -> None:
        clock.now_ns += int(next(times_ms) * 1e6)

    summary = summarize(measure(call, runs=100, warmup_runs=2, clock=clock))
    assert (summary.n, summary.p50_ms, summary.p90_ms, summary.p95_ms, summary.p99_ms) == (100, 50, 90, 95, 99)
    assert (summary.min_ms, summary.max_ms, summary.mean_ms) == (1, 100, 50.5)


def test_real_sleeps_are_never_measured_as_shorter() -> None:
    session = FakeSession([4.0] * 9 + [24.0])
    summary = summarize(measure(session.run, runs=40, warmup_runs=10))
    assert session.calls == 50, "warm-up runs happen, and no run more than stated"
    # A sleep never ends early; how late it ends is the machine's affair.
    assert 4.0 <= summary.p50_ms <= summary.p90_ms
    assert 24.0 <= summary.p95_ms <= summary.p99_ms <= summary.max_ms


def test_the_device_is_waited_for_inside_the_timed_part() -> None:
    clock = FakeClock()
    pending = [0]

    def launch() -> None:
        pending[0] = 7_000_000

    def synchronize() -> None:
        clock.now_ns += pending[0]
        pending[0] = 0

    assert measure(launch, runs=3, warmup_runs=1, synchronize=synchronize, clock=clock) == (7.0, 7.0, 7.0)
    assert measure(launch, runs=3, warmup_runs=1, clock=clock) == (0.0, 0.0, 0.0), "the planted error: no wait"


def test_paired_ratio_survives_a_machine_that_slows_down() -> None:
    clock = FakeClock()
    speed = [1.0]

    def candidate(milliseconds: float) -> None:
        clock.now_ns += int(milliseconds * speed[0] * 1e6)
        speed[0] *= 1.02

    comparison = compare(
        {"slow": lambda: candidate(30.0), "fast": lambda: candidate(10.0)}, runs=200, warmup_runs=0, clock=clock
    )
    assert comparison.ratio("fast", "slow").median == pytest.approx(3.0, rel=0.03)
    assert comparison.ratio("slow", "fast").median == pytest.approx(1 / 3.0, rel=0.03)
    first, last = comparison.samples_ms["slow"][0], comparison.samples_ms["slow"][-1]
    assert last > 1000 * first, "the drift was there"


def test_rounds_run_each_candidate_once_in_changing_order() -> None:
    calls: list[str] = []
    candidates = {name: (lambda name=name: calls.append(name)) for name in "abc"}
    seen: list[tuple[str, int, int]] = []
    compare(candidates, runs=30, warmup_runs=2, seed=3, progress=lambda *told: seen.append(told))
    rounds = [tuple(calls[start : start + 3]) for start in range(0, len(calls), 3)]
    assert len(rounds) == 32
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len(set(rounds)) > 1
    assert seen[0] == ("rounds", 1, 32)
    assert seen[-1] == ("rounds", 32, 32)
    again: list[str] = []
    compare({name: (lambda name=name: again.append(name)) for name in "abc"}, runs=30, warmup_runs=2, seed=3)
    assert again == calls, "the order is the seed's"


def test_bounds_of_the_median() -> None:
    ratio = paired_ratio([float(value) for value in range(1, 21)], [1.0] * 20)
    assert (ratio.low, ratio.median, ratio.high) == (6.0, 10.5, 15.0), "ranks 6 and 15 of 20 (binomial tables)"
    assert paired_ratio([2.0] * 5, [1.0] * 5).low is None, "five pairs cannot bound a median at 95 %"
    long = paired_ratio([2.0] * 3000, [1.0] * 3000)
    assert long.low == long.median == long.high == 2.0


@pytest.mark.parametrize(("baseline", "candidate"), [([], []), ([1.0], [1.0, 2.0])])
def test_paired_ratio_refuses(baseline: list[float], candidate: list[float]) -> None:
    with pytest.raises(OptionError, match="paired ratio"):
        paired_ratio(baseline, candidate)


@pytest.mark.parametrize("arguments", [{"runs": 0}, {"runs": 1, "warmup_runs": -1}])
def test_compare_refuses(arguments: dict[str, int]) -> None:
    with pytest.raises(OptionError):
        compare({"a": lambda: None}, **arguments)
    with pytest.raises(OptionError, match="nothing to time"):
        compare({}, runs=1)
