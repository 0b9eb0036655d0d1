"""Side by side in one run on one machine: methods, LSTS forms, engines, precisions and peers over the same frames."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lsts_edge.benchmarks.conditions import ConditionsRecorder
from lsts_edge.benchmarks.contestants import Contestant
from lsts_edge.benchmarks.frame_times import frames_per_second
from lsts_edge.benchmarks.harness import paired_ratio, summarize
from lsts_edge.benchmarks.results import new_result
from lsts_edge.benchmarks.timed_clip import Clip
from lsts_edge.errors import OptionError
from lsts_edge.progress import Progress, silent
from lsts_edge.statistics import nearest_rank

__all__ = ["Entry", "RunSettings", "SegmentTimes", "run_comparison", "summarize_entry", "time_segments"]

MIN_SEGMENT_FRAMES = 10
"""Fewer, and the frame that comes after another entry, its data in the caches, would count for too much."""


@dataclass(frozen=True)
class Entry:
    """One line of the comparison: who takes part and how it is described.

    ``baseline`` names the entry that this one is divided by at the same engine and precision.
    """

    name: str
    contestant: Contestant
    labels: Mapping[str, Any]
    baseline: str | None = None


@dataclass(frozen=True)
class RunSettings:
    """How many segments are timed, after how many of warm-up, and how often a keyframe comes."""

    segments: int = 12
    warmup_segments: int = 1
    keyframe_interval: int = 10
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
        return self.keyframe_interval * math.ceil(MIN_SEGMENT_FRAMES / self.keyframe_interval)


@dataclass
class SegmentTimes:
    """Times of one entry, in milliseconds: ``model[s][i]`` is frame ``i`` of segment ``s``; frame 0 is a keyframe."""

    keyframe_interval: int
    model: list[list[float]] = field(default_factory=list)
    frame_to_boxes: list[list[float]] = field(default_factory=list)
    graphs: dict[str, dict[str, list[float]]] = field(default_factory=lambda: {"keyframe": {}, "propagated": {}})
    boxes: int = 0

    def is_keyframe(self, index: int) -> bool:
        """Whether frame ``index`` of a segment is one."""
        return index % self.keyframe_interval == 0

    def of_kind(self, part: str, *, keyframes: bool) -> list[float]:
        """Times of all keyframes, or of all frames between them."""
        return [
            value
            for segment in getattr(self, part)
            for index, value in enumerate(segment)
            if self.is_keyframe(index) == keyframes
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
    model, whole = [], []
    for index, frame in enumerate(segment):
        is_keyframe = times.is_keyframe(index)
        begin = time.perf_counter_ns()
        outcome = contestant.detect(frame, is_keyframe)
        whole.append((time.perf_counter_ns() - begin) / 1e6)
        model.append(outcome.model_ms)
        if timed:
            times.boxes += len(outcome.boxes)
            graphs = times.graphs["keyframe" if is_keyframe or not contestant.propagates else "propagated"]
            for name, value in outcome.timings.graphs_ms.items():
                graphs.setdefault(name, []).append(value)
    if timed:
        times.model.append(model)
        times.frame_to_boxes.append(whole)


def summarize_entry(entry: Entry, times: Mapping[str, SegmentTimes], fastest_fp32: str | None) -> dict[str, Any]:
    """One entry's row: percentiles by kind, rate, ratios by paired segments.

    ``ratio_same_engine`` compares with the entry's own baseline (schedule alone); ``ratio_fastest_fp32`` with the
    fastest per-frame fp32 entry of all engines (schedule times precision times engine).
    """
    mine = times[entry.name]
    row: dict[str, Any] = {"name": entry.name, **entry.labels, "boxes": mine.boxes}
    for part in ("model", "frame_to_boxes"):
        segments: list[list[float]] = getattr(mine, part)
        everything = [value for segment in segments for value in segment]
        row[part] = {"all": {**summarize(everything).to_dict(), "fps": round(frames_per_second(everything), 3)}}
        if entry.contestant.propagates:
            row[part]["keyframe"] = summarize(mine.of_kind(part, keyframes=True)).to_dict()
            between = mine.of_kind(part, keyframes=False)
            if between:
                row[part]["propagated"] = summarize(between).to_dict()
        for key, other in (("ratio_same_engine", entry.baseline), ("ratio_fastest_fp32", fastest_fp32)):
            if other is not None:
                ratio = paired_ratio(times[other].totals(part), mine.totals(part)).to_dict()
                row[part][key] = {"against": other, **ratio}
    row["graphs"] = {
        kind: {name: round(nearest_rank(values, 50), 4) for name, values in graphs.items()}
        for kind, graphs in mine.graphs.items()
        if graphs
    }
    row["bound"] = _bound(row, entry, mine.keyframe_interval)
    return row


def _bound(row: Mapping[str, Any], entry: Entry, interval: int) -> dict[str, float] | None:
    """What the schedule could give at most, and the share of a propagated frame outside its light graph."""
    graphs = row["graphs"]
    heavy = graphs.get("keyframe", {}).get("heavy")
    light = graphs.get("propagated", {}).get("light")
    if not heavy or not light or not entry.contestant.propagates:
        return None
    propagated = row["model"]["propagated"]["p50_ms"]
    return {
        "schedule": round(interval * heavy / (heavy + (interval - 1) * light), 4),
        "outside_light_share": round((propagated - light) / propagated, 4),
        "heavy_p50_ms": heavy,
        "light_p50_ms": light,
    }


def run_comparison(
    entries: Sequence[Entry],
    clip: Clip,
    settings: RunSettings,
    *,
    bundle: Mapping[str, Any],
    notes: Mapping[str, Any],
    left_out: Mapping[str, str],
    accuracy: Callable[[Entry], Mapping[str, Any]] | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Time all entries, then measure their accuracy where annotations are given, and return the result.

    Args:
        entries: who takes part; names differ.
        clip: the frames.
        settings: how much is run.
        bundle: facts about the bundle.
        notes: further settings for the result file.
        left_out: who could not take part, and why.
        accuracy: measures one entry; None leaves accuracy out.
        progress: told after every segment and every accuracy.

    Raises:
        OptionError: if there is no entry or two share a name.
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
        for index, (entry, row) in enumerate(zip(entries, rows, strict=True)):
            row["accuracy"] = dict(accuracy(entry))
            progress("accuracy", index + 1, len(entries))
    return new_result(
        "compare",
        bundle=bundle,
        settings={
            **dataclasses.asdict(settings),
            "frames_per_segment": settings.frames_per_segment,
            **notes,
            "clip": clip.name,
        },
        conditions=conditions,
        data={"rows": rows, "left_out": dict(left_out), "fastest_per_frame_fp32": fastest},
    )


def _fastest_fp32(entries: Sequence[Entry], times: Mapping[str, SegmentTimes]) -> str | None:
    per_frame = [
        entry.name
        for entry in entries
        if entry.labels.get("method") == "per-frame" and entry.labels.get("precision") == "fp32"
    ]
    return min(per_frame, key=lambda name: sum(times[name].totals("model")), default=None)
