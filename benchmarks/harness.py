"""Time callables one by one or paired and interleaved: percentiles by nearest rank, ratios by pairs."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from lsts_edge.errors import OptionError
from lsts_edge.progress import Progress, silent
from lsts_edge.statistics import nearest_rank

__all__ = [
    "Comparison",
    "LatencySummary",
    "PairedRatio",
    "RateSummary",
    "compare",
    "measure",
    "paired_ratio",
    "summarize",
    "summarize_rate",
]

Clock = Callable[[], int]
"""Called with (rounds done, rounds in all), warm-up included."""


@dataclass(frozen=True)
class LatencySummary:
    """Nearest-rank percentiles of ``n`` times in milliseconds, to 0.1 microseconds: each is a time that occurred."""

    n: int
    min_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    mean_ms: float


@dataclass(frozen=True)
class RateSummary(LatencySummary):
    """The same with the sustained rate over all of them: count over total time."""

    fps: float


@dataclass(frozen=True)
class PairedRatio:
    """Median of the per-round ratios ``baseline / candidate`` (above 1: the candidate is faster).

    ``low`` and ``high`` bound the median with at least 95 % confidence (order statistics, no assumption about
    the distribution); with fewer than 6 pairs no such bound exists and both are None.
    """

    median: float
    low: float | None
    high: float | None
    n: int


def summarize(samples_ms: Sequence[float]) -> LatencySummary:
    """Percentiles of a list of times in milliseconds.

    Raises:
        OptionError: if the list is empty.
    """
    return LatencySummary(
        n=len(samples_ms),
        min_ms=round(min(samples_ms, default=math.nan), 4),
        p50_ms=round(nearest_rank(samples_ms, 50), 4),
        p90_ms=round(nearest_rank(samples_ms, 90), 4),
        p95_ms=round(nearest_rank(samples_ms, 95), 4),
        p99_ms=round(nearest_rank(samples_ms, 99), 4),
        max_ms=round(max(samples_ms), 4),
        mean_ms=round(statistics.fmean(samples_ms), 4),
    )


def summarize_rate(samples_ms: Sequence[float]) -> RateSummary:
    """``summarize`` with frames per second.

    Raises:
        OptionError: if the list is empty.
    """
    rate = round(1e3 * len(samples_ms) / sum(samples_ms), 3) if samples_ms else math.nan
    return RateSummary(**asdict(summarize(samples_ms)), fps=rate)


def paired_ratio(baseline_ms: Sequence[float], candidate_ms: Sequence[float]) -> PairedRatio:
    """How much faster the candidate is, pair by pair: noise that hits a round hits both.

    Args:
        baseline_ms: one time per round.
        candidate_ms: the candidate's times of the same rounds, in the same order.

    Raises:
        OptionError: if the lists differ in length or are empty.
    """
    if len(baseline_ms) != len(candidate_ms) or not baseline_ms:
        raise OptionError(
            "paired ratio",
            got=f"{len(baseline_ms)} and {len(candidate_ms)} samples",
            expected="the same number, at least 1",
            fix="Pair times of the same rounds.",
        )
    ratios = sorted(b / c for b, c in zip(baseline_ms, candidate_ms, strict=True))
    count = len(ratios)
    rank = _median_rank(count)
    return PairedRatio(
        median=round(statistics.median(ratios), 5),
        low=round(ratios[rank], 5) if rank is not None else None,
        high=round(ratios[count - 1 - rank], 5) if rank is not None else None,
        n=count,
    )


def measure(
    call: Callable[[], object],
    *,
    runs: int,
    warmup_runs: int = 3,
    synchronize: Callable[[], object] | None = None,
    clock: Clock = time.perf_counter_ns,
    progress: Progress = silent,
) -> tuple[float, ...]:
    """Time one callable ``runs`` times after ``warmup_runs`` untimed ones.

    Args:
        call: takes no argument; its result is kept until the clock has stopped.
        runs: timed calls, at least 1.
        warmup_runs: calls before the first timed one.
        synchronize: waits for the device; called before the clock starts and before it stops.
        clock: nanoseconds, monotonic.
        progress: told about every call made.

    Returns:
        Milliseconds, one per run, in the order measured.

    Raises:
        OptionError: if ``runs`` or ``warmup_runs`` is out of range.
    """
    comparison = compare(
        {"call": call}, runs=runs, warmup_runs=warmup_runs, synchronize=synchronize, clock=clock, progress=progress
    )
    return comparison.samples_ms["call"]


@dataclass(frozen=True)
class Comparison:
    """Times of several callables from the same rounds: ``samples_ms[name][i]`` belongs to round ``i``."""

    samples_ms: Mapping[str, tuple[float, ...]]
    warmup_runs: int
    seed: int

    def summary(self, name: str) -> LatencySummary:
        """Percentiles of one candidate."""
        return summarize(self.samples_ms[name])

    def ratio(self, candidate: str, baseline: str) -> PairedRatio:
        """``baseline / candidate`` pair by pair: above 1 says that the candidate is faster."""
        return paired_ratio(self.samples_ms[baseline], self.samples_ms[candidate])


def compare(
    candidates: Mapping[str, Callable[[], object]],
    *,
    runs: int,
    warmup_runs: int = 3,
    seed: int = 0,
    synchronize: Callable[[], object] | None = None,
    clock: Clock = time.perf_counter_ns,
    progress: Progress = silent,
) -> Comparison:
    """Time several callables side by side: every round runs each of them once, in an order drawn per round.

    A slow second of the machine, a frequency step or a warmer core then meets all of them alike, and no one
    always runs behind the same neighbour.

    Args:
        candidates: name to callable without arguments.
        runs: timed rounds.
        warmup_runs: untimed rounds before.
        seed: of the order.
        synchronize: waits for the device; called before each start and before each stop.
        clock: nanoseconds, monotonic.
        progress: told after every round, warm-up included.

    Raises:
        OptionError: if there is no candidate, or ``runs`` or ``warmup_runs`` is out of range.
    """
    if not candidates:
        raise OptionError("nothing to time", got="no candidate", expected="at least one", fix="Name a candidate.")
    if runs < 1 or warmup_runs < 0:
        raise OptionError(
            "timed and warm-up runs",
            got=f"{runs} and {warmup_runs}",
            expected="at least 1 and at least 0",
            fix="Give --runs and --warmup-runs in range.",
        )
    order = random.Random(seed)
    names = list(candidates)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for round_index in range(-warmup_runs, runs):
        order.shuffle(names)
        for name in names:
            if synchronize is not None:
                synchronize()
            start_ns = clock()
            kept = candidates[name]()
            if synchronize is not None:
                synchronize()
            elapsed_ns = clock() - start_ns
            del kept
            if round_index >= 0:
                samples[name].append(elapsed_ns / 1e6)
        progress("rounds", round_index + warmup_runs + 1, warmup_runs + runs)
    return Comparison({name: tuple(samples[name]) for name in candidates}, warmup_runs=warmup_runs, seed=seed)


def _median_rank(count: int) -> int | None:
    """Index r such that [r, count - 1 - r] of the sorted values holds the median with probability >= 0.95.

    The number of values below the median is binomial(count, 1/2): the interval misses with twice the lower tail.
    """
    tail = 0.0
    rank = None
    for index in range(count // 2):
        tail += math.comb(count, index) * 0.5**count if count <= 1000 else _binomial_half(count, index)
        if 2 * tail > 0.05:
            break
        rank = index
    return rank


def _binomial_half(count: int, index: int) -> float:
    log = math.lgamma(count + 1) - math.lgamma(index + 1) - math.lgamma(count - index + 1) - count * math.log(2)
    return math.exp(log)
