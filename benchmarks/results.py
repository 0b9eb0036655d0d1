"""One JSON file per benchmark run: what was run, on what, under which conditions; files of two devices never mix."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lsts_edge.benchmarks.machine import describe_device, device_key, device_name, package_versions
from lsts_edge.bundle import Bundle
from lsts_edge.errors import BenchmarkDevice, BenchmarkResult, FileUnwritable

__all__ = [
    "KINDS",
    "SCHEMA",
    "bundle_facts",
    "new_result",
    "precision_label",
    "read_result",
    "require_one_device",
    "write_result",
]

SCHEMA = 1
KINDS = ("latency", "compare", "op", "params", "accuracy", "sweep", "engines")
_REQUIRED = ("schema", "kind", "created_utc", "commit", "device", "device_key", "versions", "settings", "data")
_MAX_BYTES = 64 * 2**20


def new_result(
    kind: str,
    *,
    settings: Mapping[str, Any],
    data: Mapping[str, Any],
    bundle: Mapping[str, Any] | None = None,
    conditions: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The envelope every result has: schema, kind, time, commit, device and versions around the data.

    Args:
        kind: one of ``KINDS``.
        settings: everything that was chosen (runs, warm-up, engine, provider really used, threads, clip ...);
            file names only, never paths.
        data: the numbers; its layout belongs to the kind.
        bundle: name, digest and weights of the bundle, where one was run.
        conditions: what ``ConditionsRecorder.stop`` returned.

    Raises:
        BenchmarkResult: if ``kind`` is unknown.
    """
    if kind not in KINDS:
        raise BenchmarkResult("kind of result", got=repr(kind), expected=", ".join(KINDS), fix="Use a known kind.")
    device = describe_device()
    return {
        "schema": SCHEMA,
        "kind": kind,
        "created_utc": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": _commit(),
        "device": device,
        "device_key": device_key(device),
        "versions": package_versions(),
        "bundle": dict(bundle) if bundle is not None else None,
        "settings": dict(settings),
        "conditions": dict(conditions) if conditions is not None else None,
        "data": dict(data),
    }


def precision_label(graphs: Iterable[str], engine: str) -> str:
    """What the graphs were lowered to and what the engine computes the rest in, where below fp32: ``int8+bf16``."""
    return "+".join([*sorted(set(graphs) - {"fp32"}), *({engine} - {"fp32"})]) or "fp32"


def bundle_facts(bundle: Bundle) -> dict[str, Any]:
    """What a result says about the bundle it ran: name, digest, weights, input, precisions, tap plan."""
    manifest = bundle.manifest
    return {
        "name": manifest.name,
        "digest": bundle.digest,
        "weights": manifest.weights.description,
        "random_weights": manifest.weights.source == "random",
        "input_px": [manifest.input.height_px, manifest.input.width_px],
        "precisions": {name: graph.precision for name, graph in manifest.graphs.items()},
        "lsts": dataclasses.asdict(manifest.lsts) if manifest.lsts is not None else None,
    }


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result in one step: a reader sees the old file or the new one.

    Raises:
        BenchmarkResult: if a number is not finite.
        FileUnwritable: if the folder does not take the file.
    """
    try:
        text = json.dumps(result, indent=1, allow_nan=False) + "\n"
    except ValueError as error:
        raise BenchmarkResult(
            f"result for {path.name}", got=str(error), expected="finite numbers", fix="Report None and the reason."
        ) from error
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


def read_result(path: Path) -> dict[str, Any]:
    """Read one result file and check its envelope.

    Raises:
        BenchmarkResult: if it is missing, no JSON, of another schema or kind, or lacks a field.
    """
    fix = "Run the benchmark again with this version."
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BenchmarkResult(f"result file {path}", got="over 64 MiB", expected="a result of bench", fix=fix)
        result = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise BenchmarkResult(f"result file {path}", got=str(error), expected="JSON of bench", fix=fix) from error
    missing = [name for name in _REQUIRED if not isinstance(result, dict) or name not in result]
    if missing:
        raise BenchmarkResult(f"result file {path}", got=f"no {', '.join(missing)}", expected="all fields", fix=fix)
    if result["schema"] != SCHEMA or result["kind"] not in KINDS:
        raise BenchmarkResult(
            f"result file {path}",
            got=f"schema {result['schema']}, kind {result['kind']!r}",
            expected=f"schema {SCHEMA}, kind {', '.join(KINDS)}",
            fix=fix,
        )
    return dict(result)


def require_one_device(results: Sequence[Mapping[str, Any]]) -> str:
    """The device key that all results share, but for those of the kind ``engines``, which hold no times.

    Raises:
        BenchmarkDevice: if two results come from different devices; their times may not stand in one table.
    """
    devices = {result["device_key"]: device_name(result["device"]) for result in results if result["kind"] != "engines"}
    if len(devices) != 1:
        raise BenchmarkDevice(
            "results in one comparison",
            got=", ".join(f"{name} ({key})" for key, name in devices.items()) or "no result",
            expected="results of one device",
            fix="Report each device on its own.",
        )
    return str(next(iter(devices)))


def _commit() -> dict[str, Any] | None:
    """Commit of the checkout this code lies in, and whether files differ from it; None outside a checkout."""
    folder = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=10)
        return str(done.stdout).strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != folder.parent:
            return None
        return {"id": git("rev-parse", "HEAD"), "changed_files": len(git("status", "--porcelain").splitlines())}
    except (OSError, subprocess.SubprocessError):
        return None
