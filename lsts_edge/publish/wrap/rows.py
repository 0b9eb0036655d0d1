"""The table of ways: what was found and timed becomes figures, on the half of the clips that states them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.evaluation.agreement import Agreement, AgreementOptions, measure_agreement
from lsts_edge.evaluation.choice import MeasuredWay, pareto_front
from lsts_edge.evaluation.frame_boxes import FrameBoxes
from lsts_edge.progress import Progress, silent
from lsts_edge.publish.wrap.candidates import Candidate
from lsts_edge.publish.wrap.clips import CutClip
from lsts_edge.publish.wrap.found import PieceFound
from lsts_edge.publish.wrap.labels import Labels
from lsts_edge.publish.wrap.sample import Half, SampledPieces
from lsts_edge.publish.wrap.study import Agreed, Ap50, AtDistance, Precision, StudyRow, TruthUsed
from lsts_edge.publish.wrap.times import BlockTimes, WayTimes

__all__ = ["HalfFound", "Timed", "make_rows", "measured_way", "with_front"]

_FEWEST_UNITS = 3  # fewer clips than that give no interval

Timed = Mapping[tuple[str, Precision], Mapping[tuple[Any, ...], BlockTimes]]
"""Engine and precision -> family of ways -> times."""


@dataclass(frozen=True)
class HalfFound:
    """What one precision found in the pieces of one half, by way, with the clip of each frame.

    Attributes:
        pieces: numbers of the half's pieces.
        found: of every piece of both halves.
        units: ``(F,)`` int64, clip of each frame, 0 up; pieces where all are of one clip.
    """

    pieces: tuple[int, ...]
    found: Sequence[PieceFound]
    units: np.ndarray

    @classmethod
    def of(cls, sample: SampledPieces, found: Sequence[PieceFound], half: Half) -> HalfFound:
        """Of one half."""
        numbers = tuple(index for index, piece in enumerate(sample.pieces) if piece.half == half)
        clips = [sample.pieces[index].clip for index in numbers]
        if len(set(clips)) == 1:
            clips = list(range(len(numbers)))
        order = {clip: unit for unit, clip in enumerate(dict.fromkeys(clips))}
        frames = [sample.pieces[index].frames for index in numbers]
        return cls(numbers, found, np.repeat([order[clip] for clip in clips], frames))

    def boxes(self, way: int) -> FrameBoxes:
        """Of a way, in all frames of the half."""
        parts = [self.found[index].of(way) for index in self.pieces]
        starts = np.cumsum([0, *(part.frames for part in parts)])
        frame = np.concatenate([part.frame + start for part, start in zip(parts, starts[:-1], strict=True)])
        return FrameBoxes(frame, Boxes.join([part.boxes for part in parts]), int(starts[-1]))

    def distances(self, way: int) -> np.ndarray:
        """``(F,)``, frames since the keyframe."""
        return np.concatenate([self.found[index].distances[way] for index in self.pieces])

    def frames_per_keyframe(self, way: int) -> float:
        """As they were; the first frame of every piece is a keyframe, which makes them fewer than in a long video."""
        distances = self.distances(way)
        return len(distances) / max(int((distances == 0).sum()), 1)

    def agreement(self, truth: FrameBoxes, way: int, score: float, *, resamples: int) -> Agreement:
        """Of a way with the detector on every frame."""
        enough = int(self.units.max(initial=-1)) + 1 >= _FEWEST_UNITS
        options = AgreementOptions(score, score, resamples=resamples if enough else 0)
        return measure_agreement(truth, self.boxes(way), self.units, self.distances(way), options)


def make_rows(
    ways: Sequence[Candidate],
    sample: SampledPieces,
    clips: Sequence[CutClip],
    found: Mapping[Precision, Sequence[PieceFound]],
    times: Timed,
    truth: TruthUsed,
    labels: Labels | None = None,
    progress: Progress = silent,
) -> list[StudyRow]:
    """A row for each way, engine and precision.

    Args:
        ways: the first is the detector on every frame.
        sample: the pieces that were looked at.
        clips: of the pieces.
        found: by precision, of each piece; float32 is the truth.
        times: of engines and precisions.
        truth: the score that defines it.
        labels: of sequences among the clips.
        progress: told of ways done and ways in all.
    """
    rows: list[StudyRow] = []
    stated_truth = HalfFound.of(sample, found["fp32"], "state").boxes(0)
    chosen_truth = HalfFound.of(sample, found["fp32"], "choose").boxes(0)
    total = len(ways) * len(found)
    done = 0
    for precision, pieces in found.items():
        state, choose = (HalfFound.of(sample, pieces, half) for half in ("state", "choose"))
        for index, way in enumerate(ways):
            progress("comparing boxes", done := done + 1, total)
            stated = state.agreement(stated_truth, index, truth.score, resamples=1000)
            beside = [state.agreement(stated_truth, index, at, resamples=0) for at in (truth.lower, truth.upper)]
            chose = choose.agreement(chosen_truth, index, truth.score, resamples=0)
            ap50 = None if labels is None else _ap50(labels, sample, clips, state, index)
            for (engine, of_precision), families in times.items():
                if of_precision == precision:
                    whole = families[ways[0].family]
                    interval = way.interval if way.most_motion is None else state.frames_per_keyframe(index)
                    spent = WayTimes.of(families[way.family], interval, whole)
                    rows.append(_row(way, engine, precision, spent, interval, stated, beside, chose, ap50))
    return with_front(rows)


def measured_way(row: StudyRow, agreement: float | None) -> MeasuredWay:
    """As the choice takes it, with an agreement of either half."""
    small = "" if row.small_width_px is None else f", + {row.small_width_px}x{row.small_height_px}"
    return MeasuredWay(
        row.way,
        row.schedule,
        (row.height_px, row.width_px),
        row.engine,
        f"{row.precision}{small}",
        row.time_ms.mean,
        agreement,
    )


def with_front(rows: Sequence[StudyRow]) -> list[StudyRow]:
    """The rows, those marked that lose to no cheaper one by the figures that they state."""
    measured = [measured_way(row, row.agreement.pooled) for row in rows]
    front = pareto_front(measured)
    return [dataclasses.replace(row, on_front=one in front) for row, one in zip(rows, measured, strict=True)]


def _row(
    way: Candidate,
    engine: str,
    precision: Precision,
    spent: WayTimes,
    interval: float,
    stated: Agreement,
    beside: Sequence[Agreement],
    chose: Agreement,
    ap50: Ap50 | None,
) -> StudyRow:
    low, high = stated.pooled_interval or (None, None)
    small_height, small_width = way.small or (None, None)
    carries = not way.detects_always
    return StudyRow(
        way=way.kind,
        keyframe_interval=way.interval,
        width_px=way.size[1],
        height_px=way.size[0],
        small_width_px=small_width,
        small_height_px=small_height,
        engine=engine,
        precision=precision,
        time_ms=spent.time_ms,
        keyframe_ms=spent.keyframe_ms,
        propagated_ms=spent.propagated_ms,
        cost=spent.cost,
        speedup=round(1 / spent.cost, 4),
        agreement=Agreed(
            *(
                _rounded(value)
                for value in (stated.pooled, low, high, stated.class_mean, beside[0].pooled, beside[1].pooled)
            )
        ),
        by_distance=tuple(AtDistance(at, _rounded(value)) for at, value in sorted(stated.by_distance.items())),
        new_object_recall=_rounded(stated.new_recall) if carries else None,
        misplaced_per_frame=_rounded(stated.misplaced_per_frame) if carries else None,
        false_per_frame=_rounded(stated.false_per_frame) if carries else None,
        ap50=None if ap50 is None else Ap50(_rounded(ap50.value), _rounded(ap50.low), _rounded(ap50.high)),
        half="state",
        choosing_agreement=_rounded(chose.pooled),
        keyframe_motion=way.most_motion,
        frames_per_keyframe=round(interval, 3),
    )


def _ap50(labels: Labels, sample: SampledPieces, clips: Sequence[CutClip], state: HalfFound, way: int) -> Ap50:
    found: dict[int, Boxes] = {}
    for index in state.pieces:
        piece = sample.pieces[index]
        records = clips[piece.clip].records
        if not records:
            continue
        boxes = state.found[index].of(way)
        for at in range(piece.frames):
            found[records[piece.first + at].image_id] = boxes.boxes.select(boxes.frame == at)
    return labels.ap50(found)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)
