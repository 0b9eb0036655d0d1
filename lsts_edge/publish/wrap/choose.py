"""The row that a bundle runs by default, and the sentences that say why."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lsts_edge.evaluation.choice import choose_way
from lsts_edge.publish.wrap.rows import measured_way
from lsts_edge.publish.wrap.study import StudyRow

__all__ = ["Chosen", "choose_row"]

_MOST_BELOW = 0.05
"""A choice whose stated agreement falls further below what was asked for is not believed."""
_KINDS = ("hold", "flow-boxes", "fused", "features", "smaller-input", "every-frame")


@dataclass(frozen=True)
class Chosen:
    """The rows, one of them chosen and its rivals named, and what is to be said of it."""

    rows: tuple[StudyRow, ...]
    verdict: str
    command: str
    met: bool


def choose_row(
    rows: Sequence[StudyRow], output: Path, *, min_agreement: float, budget_ms: float | None = None
) -> Chosen:
    """Choose by the agreement on the half of the clips that chooses; tell by what the other half states.

    Where the other half refutes the choice, the cheapest is run that keeps enough on both halves, every frame at the
    end; the verdict then says that the clips which state had a part in the choice.

    Args:
        rows: everything that was measured.
        output: the bundle's directory, for the command line.
        min_agreement: to be kept, where there is no budget.
        budget_ms: mean time of a frame.
    """
    measured = [measured_way(row, row.choosing_agreement) for row in rows]
    choice = choose_way(measured, min_agreement=min_agreement, budget_ms=budget_ms)
    at = measured.index(choice.chosen)
    reason = f"On the clips that choose: {choice.reason}"
    refuted = rows[at] if budget_ms is None and choice.met and _refutes(rows[at], min_agreement) else None
    if refuted is not None:
        on_both = [measured_way(row, _least(row.choosing_agreement, row.agreement.pooled)) for row in rows]
        choice = choose_way(on_both, min_agreement=min_agreement)
        at = on_both.index(choice.chosen)
        reason = f"On both halves of the clips: {choice.reason}"
    told = [dataclasses.replace(row, chosen=index == at) for index, row in enumerate(rows)]
    told[at] = dataclasses.replace(told[at], reason=reason)
    for index in _rivals(told, at):
        row = told[index]
        words = "the detector on every frame" if row.way == "every-frame" else f"best {row.way} at no more time"
        told[index] = dataclasses.replace(row, reason=words)
    row = told[at]
    backend = "" if row.engine == "onnxruntime" else f" --backend {row.engine}"
    command = f"lsts-edge run {output} VIDEO --output-video out.mp4{backend}"
    undefined = row.choosing_agreement is None
    verdict = _undefined(row) if undefined else _verdict(row, told, min_agreement, budget_ms, choice.met, refuted)
    return Chosen(tuple(told), verdict, command, choice.met and not undefined)


def _rivals(rows: Sequence[StudyRow], at: int) -> list[int]:
    """For every other kind of way the row that agrees best at no more time; and the detector on every frame."""
    chosen = rows[at]
    found = []
    for kind in _KINDS:
        if kind == chosen.way:
            continue
        alike = [index for index, row in enumerate(rows) if row.way == kind and index != at]
        if kind == "every-frame":
            same = [index for index in alike if _place(rows[index]) == _place(chosen)]
            found += same
            continue
        cheap = [index for index in alike if rows[index].time_ms.mean <= chosen.time_ms.mean]
        if cheap:
            found.append(max(cheap, key=lambda index: (rows[index].agreement.pooled or 0.0, -rows[index].time_ms.mean)))
    return found


def _place(row: StudyRow) -> tuple[str, str]:
    return row.engine, row.precision


def _refutes(row: StudyRow, min_agreement: float) -> bool:
    stated = row.agreement.pooled
    return row.way != "every-frame" and stated is not None and stated < min_agreement - _MOST_BELOW


def _refuted(refuted: StudyRow, min_agreement: float) -> str:
    return (
        f"{refuted.label} kept {refuted.choosing_agreement:.3f} on the clips that choose but "
        f"{_with_interval(refuted)} on the others, so this is the cheapest that keeps {min_agreement:g} on both: the "
        "clips that state had a part in the choice. More clips, or clips more alike, would settle it."
    )


def _least(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else min(first, second)


def _undefined(row: StudyRow) -> str:
    return (
        f"Agreement is undefined: the detector finds nothing in these clips that scores enough to be true. The bundle "
        f"runs {row.way}, {row.time_ms.mean:.2f} ms a frame; give clips with objects of its classes."
    )


def _verdict(
    row: StudyRow,
    rows: Sequence[StudyRow],
    min_agreement: float,
    budget_ms: float | None,
    met: bool,
    refuted: StudyRow | None,
) -> str:
    whole = next(one for one in rows if one.way == "every-frame" and _place(one) == _place(row))
    sentences = []
    if row.way == "every-frame":
        why = f"no cheaper way keeps an agreement of {min_agreement:g}"
        if budget_ms is not None:
            why = f"nothing within {budget_ms:g} ms agrees better"
        sentences.append(f"Run every frame ({row.label.split(', ')[1]}, {row.engine}, {row.precision}): {why}.")
    else:
        name = "every frame on a smaller input" if row.way == "smaller-input" else row.way
        interval = f" at interval {row.schedule}" if row.keyframe_interval > 1 else ""
        sentences.append(
            f"Run {name}{interval} ({row.label.split(', ')[1]}, {row.engine}, {row.precision}): {row.speedup:.2f} x as "
            f"fast as every frame, {row.time_ms.mean:.2f} ms instead of {whole.time_ms.mean:.2f}, at agreement "
            f"{_with_interval(row)} on {'the stating clips' if refuted else 'clips that had no part in the choice'}."
        )
    if row.keyframe_motion is not None:
        sentences.append(
            f"{row.schedule}: a keyframe once boxes have moved by {row.keyframe_motion:g} of their size, at most "
            f"{row.keyframe_interval} frames after the last; {row.frames_per_keyframe:.1f} frames from one to the next "
            "on those clips."
        )
    if refuted is not None:
        sentences.append(_refuted(refuted, min_agreement))
    if not met:
        kept = f"{budget_ms:g} ms" if budget_ms is not None else f"{min_agreement:g}"
        sentences.append(f"Nothing that was measured keeps {kept}.")
    stated = row.agreement.pooled
    if met and budget_ms is None and stated is not None and stated < min_agreement:
        kept = f"which the choosing clips kept ({row.choosing_agreement:.3f})"
        sentences.append(f"That is below {min_agreement:g}, {kept}.")
    better = [one for one in rows if _beats(one, row)]
    if better:
        best = max(better, key=lambda one: one.agreement.pooled or 0.0)
        what = f"{best.label} ({best.engine}, {best.precision})"
        sentences.append(f"On those clips {what} agrees better at no more time.")
    return " ".join(sentences)


def _beats(one: StudyRow, row: StudyRow) -> bool:
    mine, theirs = row.agreement.pooled, one.agreement.pooled
    return mine is not None and theirs is not None and theirs > mine and one.time_ms.mean <= row.time_ms.mean


def _with_interval(row: StudyRow) -> str:
    agreed = row.agreement
    if agreed.pooled is None:
        return "that is undefined (the detector finds nothing)"
    between = "" if agreed.low is None else f" [{agreed.low:.3f}, {agreed.high:.3f}]"
    return f"{agreed.pooled:.3f}{between}"
