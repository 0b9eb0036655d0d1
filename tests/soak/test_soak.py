"""The camera's soak in short: nothing grows, and a leak that is planted is caught by the same judgement."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from resources import growth

_TIMES = ("seen_s", "first_frame_s")


def _start(root: Path, bundle: Path, *words: object) -> subprocess.Popen[str]:
    program = Path(__file__).with_name("camera_soak.py")
    command = [sys.executable, str(program), "--bundle", str(bundle), *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_a_planted_leak_is_caught_and_without_it_nothing_grows(root: Path, hand_made_bundle: Path) -> None:
    short = ("--frames", 120, "--consumer-ms", 10, "--restart-every-s", 3)
    runs = [_start(root, hand_made_bundle, *short, "--leak-bytes", leak) for leak in (0, 100_000)]
    flat, leaky = (json.loads(run.communicate(timeout=250)[0]) for run in runs)
    assert flat["reconnects"] >= 1 and flat["frames"] == 120
    assert (flat["grew"], runs[0].returncode) == ({}, 0)
    assert ("resident_bytes" in leaky["grew"], runs[1].returncode) == (True, 1)


@pytest.mark.slow
def test_ten_minutes(root: Path, hand_made_bundle: Path) -> None:
    run = _start(root, hand_made_bundle, "--minutes", 10)
    result = json.loads(run.communicate(timeout=1500)[0])
    assert (result["grew"], run.returncode) == ({}, 0)
    assert result["reconnects"] >= 5 and result["dropped"] > 0


def test_the_committed_runs_hold_what_the_documents_say(root: Path) -> None:
    results = root / "benchmarks" / "results" / "faults"
    long = json.loads((results / "soak.json").read_text())
    assert growth(long["samples"]) == long["grew"] == {}
    assert long["settings"]["minutes"] >= 20 and long["reconnects"] >= 15
    cycles = json.loads((results / "cameras.json").read_text())["cycles"]
    assert len(cycles) == 50
    assert max(cycle["seen_s"] for cycle in cycles) <= 5.0
    assert max(cycle["first_frame_s"] for cycle in cycles) <= 2.0
    assert growth([cycle for cycle in cycles if cycle["fault"] != "freeze-udp"]) == {}
    text = " ".join((root / "docs" / "runtime.md").read_text().split())
    seen_s, first_s = (math.ceil(max(cycle[what] for cycle in cycles) * 10) / 10 for what in _TIMES)
    held = [round(cycle["resident_bytes"] / 2**20) for cycle in cycles]
    assert f"each seen within {seen_s:.1f} s, the first frame at most {first_s:.1f} s after the camera's return" in text
    assert f"threads and descriptors as before, {min(held)} to {max(held)} MiB" in text
    assert f"{long['frames']:,} frames, {long['dropped']:,} dropped" in text
