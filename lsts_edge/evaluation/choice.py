"""The way of running a detector that pays, chosen from what was measured, and why in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lsts_edge.errors import OptionError

__all__ = ["EVERY_FRAME", "Choice", "MeasuredWay", "choose_way", "pareto_front"]

EVERY_FRAME = "every-frame"
Interval = tuple[float, float]


@dataclass(frozen=True)
class MeasuredWay:
    """One row of the table.

    Attributes:
        way: ``every-frame`` or the name of a propagator.
        schedule: of keyframes, as it is shown: ``2.5``, or ``6/0.1``; anything for every frame.
        size_px: height and width of the keyframes' input.
        engine: that ran it.
        precision: of the graphs.
        mean_ms: a frame, decoding to boxes, keyframes and propagated frames together.
        agreement: with the detector on every frame; None where it found nothing.
        agreement_interval: 95 % over the clips.
    """

    way: str
    schedule: str
    size_px: tuple[int, int]
    engine: str
    precision: str
    mean_ms: float
    agreement: float | None
    agreement_interval: Interval | None = None

    def __post_init__(self) -> None:
        if not 0 < self.mean_ms < float("inf"):  # also refuses NaN
            fix = "Measure it again."
            raise OptionError(f"mean time of {self.way}", got=self.mean_ms, expected="above 0 ms", fix=fix)
        if self.agreement is not None and not 0 <= self.agreement <= 1:
            fix = "Measure it again."
            raise OptionError(f"agreement of {self.way}", got=self.agreement, expected="0..1 or None", fix=fix)

    def __str__(self) -> str:
        height, width = self.size_px
        schedule = "" if self.way == EVERY_FRAME else f" at interval {self.schedule}"
        return f"{self.way}{schedule} ({width}x{height}, {self.engine}, {self.precision})"


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        chosen: the row.
        front: rows that lose to no cheaper one, the cheapest first.
        met: False where no way keeps what was asked for.
        reason: one sentence.
    """

    chosen: MeasuredWay
    front: tuple[MeasuredWay, ...]
    met: bool
    reason: str


def pareto_front(rows: Sequence[MeasuredWay]) -> tuple[MeasuredWay, ...]:
    """Rows that agree better than every row that costs as much or less, the cheapest first."""
    front: list[MeasuredWay] = []
    for row in sorted(rows, key=lambda row: (row.mean_ms, -(row.agreement or 0.0))):
        if row.agreement is not None and (not front or row.agreement > (front[-1].agreement or 0.0)):
            front.append(row)
    return tuple(front)


def choose_way(rows: Sequence[MeasuredWay], *, min_agreement: float = 0.85, budget_ms: float | None = None) -> Choice:
    """The cheapest way that agrees enough, or the one that agrees best within a budget.

    What is chosen lies on the front, so it never loses to a cheaper way. Without a budget, running the detector on
    every frame is chosen where nothing cheaper agrees enough, or where agreement is undefined.

    Args:
        rows: what was measured, running every frame among them.
        min_agreement: kept at least, where there is no budget.
        budget_ms: mean time of a frame; ``min_agreement`` is not looked at then.
    Raises:
        OptionError: if a number is out of range or no row runs every frame.
    """
    if not 0 < min_agreement <= 1 or (budget_ms is not None and not 0 < budget_ms < float("inf")):
        got = f"min_agreement {min_agreement}, budget_ms {budget_ms}"
        expected = "an agreement above 0, at most 1; a budget above 0 ms"
        raise OptionError("what a way must keep", got=got, expected=expected, fix="Leave them out if unsure.")
    every = [row for row in rows if row.way == EVERY_FRAME]
    if not every:
        expected = "one that runs every frame"
        raise OptionError("ways to choose from", got=len(rows), expected=expected, fix="Measure it beside the others.")
    # The yardstick: the detector as it agrees with itself best, and among those the fastest.
    whole = min(every, key=lambda row: (-(row.agreement or 0.0), row.mean_ms))
    front = pareto_front(rows)
    if not front:
        reason = f"{whole} is kept, for agreement is undefined: the detector finds nothing in these clips."
        return Choice(whole, front, budget_ms is None or whole.mean_ms <= budget_ms, reason)
    if budget_ms is not None:
        return _within_budget(front, whole, budget_ms)
    enough = [row for row in front if _agreement(row) >= min_agreement]
    if not enough:
        reason = f"{front[-1]} agrees best, and no way agrees by {min_agreement:g}: "
        return Choice(front[-1], front, False, f"{reason}{_figures(front[-1], whole)}.")
    chosen = enough[0]
    cheaper = "no way is cheaper" if chosen is front[0] else _next_cheaper(front, chosen)
    if chosen.way == EVERY_FRAME:
        return Choice(chosen, front, True, f"{chosen} is best, {chosen.mean_ms:.2f} ms a frame: {cheaper}.")
    reason = f"{chosen} is the cheapest way that agrees by {min_agreement:g}: {_figures(chosen, whole)}; {cheaper}."
    return Choice(chosen, front, True, reason)


def _within_budget(front: tuple[MeasuredWay, ...], whole: MeasuredWay, budget_ms: float) -> Choice:
    affordable = [row for row in front if row.mean_ms <= budget_ms]
    if not affordable:
        reason = f"{front[0]} is the fastest, and no way keeps {budget_ms:g} ms: {_figures(front[0], whole)}."
        return Choice(front[0], front, False, reason)
    chosen = affordable[-1]
    reason = f"{chosen} agrees best within {budget_ms:g} ms: {_figures(chosen, whole)}."
    return Choice(chosen, front, True, reason)


def _figures(row: MeasuredWay, whole: MeasuredWay) -> str:
    between = row.agreement_interval
    interval = f" [{between[0]:.3f}, {between[1]:.3f}]" if between else ""
    share = whole.mean_ms / row.mean_ms
    return f"agreement {_agreement(row):.3f}{interval}, {row.mean_ms:.2f} ms a frame, {share:.2f} x as fast as {whole}"


def _next_cheaper(front: tuple[MeasuredWay, ...], chosen: MeasuredWay) -> str:
    below = front[front.index(chosen) - 1]
    return f"the next cheaper one, {below}, agrees by {_agreement(below):.3f}"


def _agreement(row: MeasuredWay) -> float:
    return row.agreement or 0.0
