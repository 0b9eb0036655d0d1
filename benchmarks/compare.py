"""Side by side in one run on one machine: methods, LSTS forms, engines, precisions and peers over the same frames."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction

import numpy as np

from lsts_edge.benchmarks.compare_result import (
    Bound,
    CompareData,
    CompareRow,
    EntryAccuracy,
    EntryFacts,
    PartTimes,
    RatioAgainst,
)
from lsts_edge.benchmarks.conditions import Conditions, ConditionsRecorder
from lsts_edge.benchmarks.contestants import Contestant
from lsts_edge.benchmarks.harness import paired_ratio, summarize, summarize_rate
from lsts_edge.benchmarks.timed_clip import Clip
from lsts_edge.bundle.programs import is_keyframe
from lsts_edge.errors import OptionError
from lsts_edge.progress import Progress, silent
from lsts_edge.statistics import nearest_rank

__all__ = ["Entry", "RunSettings", "SegmentTimes", "run_comparison", "summarize_entry", "time_segments"]

MIN_SEGMENT_FRAMES = 10
"""Fewer, and the frame that comes after another entry, its data in the caches, would count for too much."""


@dataclass(frozen=True)
class Entry:
    """One line of the comparison: who takes part and how it is described.

    ``baseline`` is the label of the entry that this one is divided by at the same engine and precision.
    """

    facts: EntryFacts
    contestant: Contestant
    baseline: str | None = None

    @property
    def name(self) -> str:
        """Its label, which no other entry has."""
        return self.facts.label


@dataclass(frozen=True)
class RunSettings:
    """How many segments are timed, after how many of warm-up, and how often a keyframe comes."""

    segments: int = 12
    warmup_segments: int = 1
    keyframe_interval: float = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("segments", self.segments, 1, 100_000),
            ("warmup_segments", self.warmup_segments, 1, 1000),
            ("keyframe_interval", self.keyframe_interval, 1, 1000),
        ):
            if not least <= value <= most:
                fix = f"Change --{name.replace('_', '-')}."
                raise OptionError(f"compare: {name}", got=value, expected=f"{least}..{most}", fix=fix)

    @property
    def frames_per_segment(self) -> int:
        """Whole keyframe intervals, as many as make ``MIN_SEGMENT_FRAMES``."""
        whole = Fraction(self.keyframe_interval).limit_denominator(64).numerator
        return whole * math.ceil(MIN_SEGMENT_FRAMES / whole)


@dataclass
class SegmentTimes:
    """Times of one entry in milliseconds: ``model[s][i]`` is frame ``i`` of segment ``s``, as ``keyframes`` says."""

    keyframe_interval: float
    model: list[list[float]] = field(default_factory=list)
    frame_to_boxes: list[list[float]] = field(default_factory=list)
    keyframes: list[list[bool]] = field(default_factory=list)
    graphs: dict[str, dict[str, list[float]]] = field(default_factory=lambda: {"keyframe": {}, "propagated": {}})
    boxes: int = 0

    def is_keyframe(self, index: int) -> bool:
        """Whether frame ``index`` of a segment is one."""
        return is_keyframe(index, self.keyframe_interval)

    def of_kind(self, part: str, *, keyframes: bool) -> list[float]:
        """Times of all keyframes, or of all frames between them."""
        return [
            value
            for segment, kinds in zip(getattr(self, part), self.keyframes, strict=True)
            for value, keyframe in zip(segment, kinds, strict=True)
            if keyframe == keyframes
        ]

    def totals(self, part: str) -> list[float]:
        """Sum of each segment."""
        return [sum(segment) for segment in getattr(self, part)]


def time_segments(
    entries: Sequence[Entry], clip: Clip, settings: RunSettings, progress: Progress = silent
) -> dict[str, SegmentTimes]:
    """Run every entry over the same segments of frames, one segment after another.

    Within a round each entry runs one whole segment (keyframes and the frames after them), in an order drawn per
    round: a drift of the machine meets all entries alike, and each still runs as it would alone, with its own
    weights in the caches. The warm-up segments start each stream and are not timed.

    Args:
        entries: who takes part.
        clip: read once into memory, segment by segment, outside the timed parts.
        settings: how much.
        progress: told after every segment.

    Returns:
        Times by entry name.
    """
    order = random.Random(settings.seed)
    frames = itertools.chain.from_iterable(clip.passes())
    times = {entry.name: SegmentTimes(settings.keyframe_interval) for entry in entries}
    for entry in entries:
        entry.contestant.start()
    rounds = settings.warmup_segments + settings.segments
    shuffled = list(entries)
    for index in range(rounds):
        segment = list(itertools.islice(frames, settings.frames_per_segment))
        order.shuffle(shuffled)
        for number, entry in enumerate(shuffled):
            _run_segment(entry, segment, times[entry.name], timed=index >= settings.warmup_segments)
            progress("segments", index * len(entries) + number + 1, rounds * len(entries))
    return times


def _run_segment(entry: Entry, segment: Sequence[np.ndarray], times: SegmentTimes, *, timed: bool) -> None:
    contestant = entry.contestant
    model, whole, kinds = [], [], []
    for index, frame in enumerate(segment):
        asked = times.is_keyframe(index)
        begin = time.perf_counter_ns()
        outcome = contestant.detect(frame, asked)
        whole.append((time.perf_counter_ns() - begin) / 1e6)
        model.append(outcome.model_ms)
        kinds.append(outcome.keyframe)
        if timed:
            times.boxes += len(outcome.boxes)
            graphs = times.graphs["keyframe" if outcome.keyframe else "propagated"]
            for name, value in outcome.timings.graphs_ms.items():
                graphs.setdefault(name, []).append(value)
    if timed:
        times.model.append(model)
        times.keyframes.append(kinds)
        times.frame_to_boxes.append(whole)


def summarize_entry(entry: Entry, times: Mapping[str, SegmentTimes], fastest_fp32: str | None) -> CompareRow:
    """One entry's row: percentiles by kind, rate, ratios by paired segments.

    Args:
        entry: whose row it is.
        times: of every entry, by name.
        fastest_fp32: name of the fastest per-frame fp32 entry of all engines.
    """
    mine = times[entry.name]
    model = _part_times("model", entry, times, fastest_fp32)
    graphs = {
        kind: {name: round(nearest_rank(values, 50), 4) for name, values in graphs.items()}
        for kind, graphs in mine.graphs.items()
        if graphs
    }
    return CompareRow(
        entry=entry.facts,
        boxes=mine.boxes,
        model=model,
        frame_to_boxes=_part_times("frame_to_boxes", entry, times, fastest_fp32),
        graphs=graphs,
        bound=_bound(model, graphs, mine.keyframe_interval),
    )


def _part_times(part: str, entry: Entry, times: Mapping[str, SegmentTimes], fastest_fp32: str | None) -> PartTimes:
    mine = times[entry.name]
    segments: list[list[float]] = getattr(mine, part)
    keyframe = propagated = None
    if entry.contestant.propagates:
        keyframe = summarize(mine.of_kind(part, keyframes=True))
        between = mine.of_kind(part, keyframes=False)
        propagated = summarize(between) if between else None

    def against(other: str | None) -> RatioAgainst | None:
        if other is None:
            return None
        return RatioAgainst(**asdict(paired_ratio(times[other].totals(part), mine.totals(part))), against=other)

    return PartTimes(
        all=summarize_rate([value for segment in segments for value in segment]),
        keyframe=keyframe,
        propagated=propagated,
        ratio_same_engine=against(entry.baseline),
        ratio_fastest_fp32=against(fastest_fp32),
    )


def _bound(model: PartTimes, graphs: Mapping[str, Mapping[str, float]], interval: float) -> Bound | None:
    heavy = graphs.get("keyframe", {}).get("heavy")
    light = graphs.get("propagated", {}).get("light")
    if not heavy or not light or model.propagated is None:
        return None
    propagated = model.propagated.p50_ms
    return Bound(
        schedule=round(interval * heavy / (heavy + (interval - 1) * light), 4),
        outside_light_share=round((propagated - light) / propagated, 4),
        heavy_p50_ms=heavy,
        light_p50_ms=light,
    )


def run_comparison(
    entries: Sequence[Entry],
    clip: Clip,
    settings: RunSettings,
    *,
    left_out: Mapping[str, str],
    accuracy: Callable[[str, Contestant], EntryAccuracy] | None = None,
    progress: Progress = silent,
) -> tuple[CompareData, Conditions]:
    """Time all entries, then measure their accuracy where annotations are given.

    Args:
        entries: who takes part; labels differ.
        clip: the frames.
        settings: how much is run.
        left_out: who could not take part, and why.
        accuracy: measures one entry; None leaves accuracy out.
        progress: told after every segment and every accuracy.

    Returns:
        The rows, and what the machine was doing while they were timed.

    Raises:
        OptionError: if there is no entry or two share a label.
    """
    names = [entry.name for entry in entries]
    if not names or len(set(names)) != len(names):
        raise OptionError("entries to compare", got=names, expected="different names", fix="Choose methods.")
    recorder = ConditionsRecorder().start()
    times = time_segments(entries, clip, settings, progress)
    conditions = recorder.stop()
    fastest = _fastest_fp32(entries, times)
    rows = [summarize_entry(entry, times, fastest) for entry in entries]
    if accuracy is not None:
        for index, entry in enumerate(entries):
            rows[index] = replace(rows[index], accuracy=accuracy(entry.name, entry.contestant))
            progress("accuracy", index + 1, len(entries))
    return CompareData(tuple(rows), dict(left_out), fastest), conditions


def _fastest_fp32(entries: Sequence[Entry], times: Mapping[str, SegmentTimes]) -> str | None:
    per_frame = [entry.name for entry in entries if entry.facts.method == "per-frame" and entry.facts.precision.is_fp32]
    return min(per_frame, key=lambda name: sum(times[name].totals("model")), default=None)
