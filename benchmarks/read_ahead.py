"""Whole passes over a video from end to end, frames decoded in turn and beside detection: paired, in one process."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lsts_edge.benchmarks.harness import PairedRatio, RateSummary, compare, summarize_rate
from lsts_edge.benchmarks.timed_clip import Output
from lsts_edge.progress import Progress, renamed, silent
from lsts_edge.runtime import Detector
from lsts_edge.runtime.sources.open import open_source
from lsts_edge.runtime.sources.options import SourceOptions

__all__ = ["ReadAheadTimes", "time_read_ahead"]


@dataclass(frozen=True)
class ReadAheadTimes:
    """Milliseconds a frame of each pass, opening the file included; ``speedup`` is by pairs of passes.

    ``depth`` frames may wait; ``frames`` were run in every pass.
    """

    depth: int
    frames: int
    in_turn: RateSummary
    beside: RateSummary
    speedup: PairedRatio


def time_read_ahead(
    detector: Detector,
    source: Path,
    *,
    depth: int,
    frames: int,
    passes: int,
    output: Output | None = None,
    progress: Progress = silent,
) -> ReadAheadTimes:
    """Run the video ``passes`` times each way, in an order drawn for each pair, after one pair that is not timed.

    Args:
        detector: whose stream begins anew with each pass.
        source: a file or folder, which can be read again.
        depth: frames that may wait.
        frames: of each pass, at most; a shorter video gives all it has.
        passes: timed ones, at least 1.
        output: draws or writes a frame; None leaves that out.
        progress: told after every pair.

    Raises:
        OptionError: if a number is out of range.
        StreamError: if the video cannot be read.
    """
    counts: set[int] = set()

    def one_pass(read_ahead: int) -> Callable[[], None]:
        def run() -> None:
            with open_source(source, SourceOptions(read_ahead=read_ahead)) as opened:
                count = 0
                for frame, found in itertools.islice(detector.run(opened), frames):
                    if output is not None:
                        output(frame.image, found)
                    count += 1
            counts.add(count)

        return run

    ways = {"in turn": one_pass(0), "beside": one_pass(depth)}
    timed = compare(ways, runs=passes, warmup_runs=1, progress=renamed(progress, "passes, decoding beside detection"))
    (count,) = counts
    in_turn, beside = (summarize_rate([total_ms / count for total_ms in timed.samples_ms[way]]) for way in ways)
    return ReadAheadTimes(depth, count, in_turn, beside, timed.ratio("beside", "in turn"))
