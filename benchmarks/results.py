"""One JSON file per benchmark run, written in one step and read strictly; results of two devices never mix."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from lsts_edge.benchmarks.accuracy.result import AccuracyResult
from lsts_edge.benchmarks.accuracy.study_result import StudyResult
from lsts_edge.benchmarks.compare_result import CompareResult
from lsts_edge.benchmarks.elsewhere_result import ElsewhereResult
from lsts_edge.benchmarks.engines_result import EnginesResult
from lsts_edge.benchmarks.envelope import SCHEMA, Result
from lsts_edge.benchmarks.latency_result import LatencyResult
from lsts_edge.benchmarks.op_result import CudaOpResult, OpResult
from lsts_edge.benchmarks.sweep_result import SweepResult
from lsts_edge.bundle.strict_json import decode, parse_json
from lsts_edge.errors import BenchmarkDevice, BenchmarkResult, FileUnwritable, ManifestError

__all__ = ["KINDS", "read_result", "require_one_device", "to_json", "write_result", "write_text"]

KINDS: Mapping[str, type[Result]] = {
    "latency": LatencyResult,
    "compare": CompareResult,
    "sweep": SweepResult,
    "accuracy": AccuracyResult,
    "elsewhere": ElsewhereResult,
    "study": StudyResult,
    "op": OpResult,
    "op-cuda": CudaOpResult,
    "engines": EnginesResult,
}
_MAX_BYTES = 64 * 2**20
_AGAIN = "Run the benchmark again with this version."


def to_json(result: Result, indent: int = 2) -> str:
    """A result as JSON.

    Raises:
        BenchmarkResult: if a number is not finite.
    """
    try:
        return json.dumps(dataclasses.asdict(result), indent=indent, allow_nan=False)
    except ValueError as error:
        raise BenchmarkResult(
            f"result of {result.kind}", got=str(error), expected="finite numbers", fix="Report None and the reason."
        ) from error


def write_result(path: Path, result: Result) -> None:
    """Write a result in one step: a reader sees the old file or the new one.

    Raises:
        BenchmarkResult: if a number is not finite.
        FileUnwritable: if the folder does not take the file.
    """
    write_text(path, to_json(result, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file of text in one step: a reader sees the old file or the new one.

    Raises:
        FileUnwritable: if the folder does not take the file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as staged:
            staged.write(text)
        os.chmod(staged.name, 0o644)
        os.replace(staged.name, path)
    except OSError as error:
        raise FileUnwritable(
            f"result file {path}", got=error.strerror, expected="a writable folder", fix="Choose another --output."
        ) from error


def read_result(path: Path) -> Result:
    """Read one result file; what does not fit its kind's dataclass is refused.

    Raises:
        BenchmarkResult: if it is missing, no JSON, of another schema or kind, or has a field too many, too few or
            of another type.
    """
    where = f"result file {path}"
    try:
        with path.open("rb") as stream:
            data = parse_json(stream.read(_MAX_BYTES + 1), max_bytes=_MAX_BYTES, file=where)
        schema, kind = (data.get("schema"), data.get("kind")) if isinstance(data, dict) else (None, None)
        if schema != SCHEMA or not isinstance(kind, str) or kind not in KINDS:
            raise BenchmarkResult(
                where,
                got=f"schema {ascii(schema)[:60]}, kind {ascii(kind)[:60]}",
                expected=f"schema {SCHEMA}, kind {', '.join(KINDS)}",
                fix=_AGAIN,
            )
        return decode(KINDS[kind], data, where)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BenchmarkResult(where, got=reason, expected="a result of bench", fix=_AGAIN) from error
    except ManifestError as error:
        raise BenchmarkResult(error.problem, got=error.got, expected=error.expected, fix=_AGAIN) from error


def require_one_device(results: Sequence[Result]) -> str:
    """The device key that all results share, but for those of the kind ``engines``, which hold no times.

    Raises:
        BenchmarkDevice: if two results come from different devices; their times may not stand in one table.
    """
    timed = [result.origin.device for result in results if not isinstance(result, EnginesResult)]
    devices = {device.key: device.name for device in timed}
    if len(devices) != 1:
        raise BenchmarkDevice(
            "results in one comparison",
            got=", ".join(f"{name} ({key})" for key, name in devices.items()) or "no result",
            expected="results of one device",
            fix="Report each device on its own.",
        )
    return next(iter(devices))
