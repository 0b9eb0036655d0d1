"""Keyframe intervals side by side: time, energy and accuracy of one bundle at each, over the same frames."""

from __future__ import annotations

import importlib
import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lsts_edge.benchmarks.compare_result import EntryAccuracy
from lsts_edge.benchmarks.conditions import ConditionsRecorder
from lsts_edge.benchmarks.energy import EnergyMeter, open_energy_meter
from lsts_edge.benchmarks.engine_facts import EngineFacts
from lsts_edge.benchmarks.envelope import Origin, bundle_facts
from lsts_edge.benchmarks.harness import paired_ratio, summarize_rate
from lsts_edge.benchmarks.sweep_result import SweepData, SweepResult, SweepRow, SweepSettings
from lsts_edge.benchmarks.timed_clip import Clip
from lsts_edge.bundle import Bundle
from lsts_edge.errors import OptionError
from lsts_edge.kinds import check_fields
from lsts_edge.progress import Progress, renamed, silent
from lsts_edge.runtime import Detector, EngineOptions

__all__ = ["SweepOptions", "measure_sweep"]


@dataclass(frozen=True)
class SweepOptions:
    """Which intervals, and how many rounds of as many frames as all intervals divide."""

    intervals: tuple[int, ...] = (2, 5, 10, 20, 30)
    rounds: int = 6
    engine: EngineOptions = field(default_factory=EngineOptions)
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.intervals or min(self.intervals) < 1 or len(set(self.intervals)) != len(self.intervals):
            raise OptionError("intervals", got=self.intervals, expected="different, at least 1", fix="Give 2,5,10.")
        if math.lcm(*self.intervals) > 1000:
            got = f"{math.lcm(*self.intervals)} frames a round"
            raise OptionError(
                "intervals", got=got, expected="at most 1000", fix="Choose intervals that divide each other."
            )
        if not 1 <= self.rounds <= 10_000:
            raise OptionError("rounds", got=self.rounds, expected="1..10000", fix="Change --rounds.")


def measure_sweep(
    bundle: Bundle,
    source: Path | None,
    options: SweepOptions,
    annotations: Path | None = None,
    progress: Progress = silent,
) -> SweepResult:
    """Time a bundle at each interval, in rounds whose order is drawn, and measure its accuracy at each.

    Args:
        bundle: the bundle.
        source: a video file; None runs the procedural clip.
        options: which intervals, how many rounds, which engine.
        annotations: COCO-VID style JSON; None leaves accuracy out.
        progress: told after every run and every image.

    Raises:
        OptionError: if the bundle has no memory to propagate.
        ProviderError: if the engine is missing or fails.
    """
    if annotations is not None:
        importlib.import_module("pycocotools")  # told now, not after the rounds
    engine = options.engine
    detectors = {interval: Detector(bundle, engine, keyframe_interval=interval) for interval in options.intervals}
    if not next(iter(detectors.values())).carries_memory:
        raise OptionError(
            "interval sweep", got="a per-frame model", expected="a bundle with a memory", fix="Export one."
        )
    meter = open_energy_meter(accelerator=engine.provider in ("cuda", "tensorrt"))
    recorder = ConditionsRecorder().start()
    clip = Clip(source)
    times, joules = _rounds(detectors, clip, options, meter, progress)
    conditions = recorder.stop()
    meter.close()
    accuracies = {} if annotations is None else _accuracies(bundle, options, annotations, progress)
    shortest = min(options.intervals)
    rows = []
    for interval in options.intervals:
        flat = [value for one_round in times[interval] for value in one_round]
        totals = [sum(one_round) for one_round in times[interval]]
        rows.append(
            SweepRow(
                keyframe_interval=interval,
                model=summarize_rate(flat),
                ratio_to_shortest=paired_ratio([sum(one_round) for one_round in times[shortest]], totals),
                energy_mj_per_frame=None if joules is None else round(1e3 * joules[interval] / len(flat), 3),
                energy_reason=meter.reason,
                accuracy=accuracies.get(interval),
            )
        )
    return SweepResult(
        origin=Origin.here(),
        bundle=bundle_facts(bundle),
        conditions=conditions,
        settings=SweepSettings(
            intervals=options.intervals,
            rounds=options.rounds,
            frames_per_round=math.lcm(*options.intervals),
            seed=options.seed,
            engine=EngineFacts.of(engine, detectors[shortest].pipeline),
            clip=clip.facts,
            annotations=annotations.name if annotations is not None else None,
        ),
        data=SweepData(tuple(rows)),
    )


def _rounds(
    detectors: dict[int, Detector], clip: Clip, options: SweepOptions, meter: EnergyMeter, progress: Progress
) -> tuple[dict[int, list[list[float]]], dict[int, float] | None]:
    """Model times by interval and round; the first round is warm-up. Joules by interval, None where none are told."""
    order = random.Random(options.seed)
    frames = itertools.chain.from_iterable(clip.passes())
    length = math.lcm(*options.intervals)
    times: dict[int, list[list[float]]] = {interval: [] for interval in detectors}
    joules = dict.fromkeys(detectors, 0.0)
    counted = meter.joules() is not None
    shuffled: Sequence[int] = list(detectors)
    for index in range(options.rounds + 1):
        chunk = list(itertools.islice(frames, length))
        shuffled = order.sample(shuffled, len(shuffled))
        for number, interval in enumerate(shuffled):
            before, values = meter.joules(), []
            for frame in chunk:
                found = detectors[interval].push(frame)
                values.append(found.timings.graphs_total_ms)
            after = meter.joules()
            if index:
                times[interval].append(values)
                joules[interval] += (after or 0.0) - (before or 0.0)
            progress("rounds", index * len(detectors) + number + 1, (options.rounds + 1) * len(detectors))
    return times, joules if counted else None


def _accuracies(
    bundle: Bundle, options: SweepOptions, annotations: Path, progress: Progress
) -> dict[int, EntryAccuracy]:
    """AP50 at each interval."""
    from lsts_edge.benchmarks.accuracy.meter import AccuracyMeter
    from lsts_edge.benchmarks.contestants import BundleContestant
    from lsts_edge.runtime.runners.open import open_runner

    runner = open_runner(bundle, options.engine)
    contestant = BundleContestant(bundle.manifest.classes, runner, bundle.manifest.detection.score_floor)
    found = {}
    for interval in options.intervals:
        meter = AccuracyMeter(annotations, bundle.manifest.classes, interval)
        told = renamed(progress, f"accuracy at {interval}")
        found[interval] = meter.measure(f"interval {interval}", contestant, told)
    return found
