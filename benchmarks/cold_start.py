"""Cold start in fresh processes: interpreter, import, load, first boxes, and the memory that stays resident."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsts_edge.benchmarks.harness import LatencySummary, summarize
from lsts_edge.errors import BenchmarkResult, OptionError
from lsts_edge.progress import Progress, silent
from lsts_edge.runtime.engines.options import EngineOptions

__all__ = ["ColdStart", "cold_start"]

_PHASES = ("interpreter", "import", "load", "first_boxes", "total")
_TIMEOUT_S = 600


@dataclass(frozen=True)
class ColdStart:
    """Times of each phase over ``repeats`` processes, and the median of what they said of their memory, in MiB."""

    repeats: int
    file_cache: str
    phases: Mapping[str, LatencySummary]
    memory: Mapping[str, float]
    frames_before_memory_is_read: int


def cold_start(
    bundle: Path,
    engine: EngineOptions | None = None,
    stream_options: Mapping[str, Any] | None = None,
    *,
    repeats: int = 5,
    more_frames: int = 20,
    progress: Progress = silent,
) -> ColdStart:
    """Start ``repeats`` processes one after another; each loads the bundle and detects on a plain 640x360 frame.

    The file cache is warm: the bundle was read before, as on a device whose program restarts. ``total`` runs from
    starting the process to having the first boxes.

    Args:
        bundle: path of the bundle.
        engine: what runs it, by name.
        stream_options: keyword arguments of ``Detector`` that JSON can hold.
        repeats: processes, at least 1.
        more_frames: frames after the first before resident memory is read.
        progress: told after every start.

    Raises:
        OptionError: if ``repeats`` is below 1.
        BenchmarkResult: if a process fails.
    """
    if repeats < 1:
        raise OptionError("cold starts", got=repeats, expected="at least 1", fix="Give --cold-starts 5.")
    options = {"engine": (engine or EngineOptions()).to_dict(), "stream": dict(stream_options or {})}
    phases: dict[str, list[float]] = {name: [] for name in _PHASES}
    memory: dict[str, list[float]] = {}
    for index in range(repeats):
        started_ns = time.perf_counter_ns()
        found = _start_once(bundle, options, more_frames)
        moments = [started_ns, *(found.pop(f"{name}_ns") for name in ("entered", "imported", "loaded", "first"))]
        for name, begin, end in zip(_PHASES, moments, moments[1:], strict=False):
            phases[name].append((end - begin) / 1e6)
        phases["total"].append((moments[-1] - moments[0]) / 1e6)
        for name, value in found.items():
            if value is not None:
                memory.setdefault(name, []).append(value)
        progress("cold starts", index + 1, repeats)
    return ColdStart(
        repeats=repeats,
        file_cache="warm",
        phases={name: summarize(values) for name, values in phases.items()},
        memory={name: statistics.median(values) for name, values in memory.items()},
        frames_before_memory_is_read=more_frames + 1,
    )


def _start_once(bundle: Path, options: Mapping[str, Any], more_frames: int) -> dict[str, Any]:
    arguments = [str(bundle), json.dumps(options), str(more_frames)]
    done = subprocess.run(
        [sys.executable, "-m", "lsts_edge.benchmarks.first_boxes", *arguments],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BenchmarkResult(
            "cold start in a fresh process",
            got=f"exit {done.returncode}: {last[:300]}",
            expected="first boxes",
            fix="Run lsts-edge run on the bundle to see the whole error.",
        )
    return dict(json.loads(done.stdout.splitlines()[-1]))
