"""Ctrl-C, TERM and HUP end a run between two frames: exit 130, 143 or 129, outputs that parse."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from running import start_program, wait_for_output, write_long_clip

from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from videos import read_pictures


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_long_clip(tmp_path_factory.mktemp("long"))


def start(bundle: Path, clip: Path, folder: Path) -> subprocess.Popen[str]:
    outputs = ("--output-json", folder / "out.jsonl", "--output-video", folder / "out.mp4")
    return start_program("run", bundle, clip, *outputs)


def wait_for_frames(folder: Path, process: subprocess.Popen[str]) -> None:
    """So that the signal falls into the run."""
    wait_for_output(process, folder, ".out.mp4.partial-*")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_complete_outputs(
    hand_made_bundle: Path, long_clip: Path, tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    process = start(hand_made_bundle, long_clip, folder)
    wait_for_frames(folder, process)
    time.sleep(random.Random(number).uniform(0.0, 0.5))
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 128 + number, err
    rows = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert 0 < len(rows) < 30_000  # it did not run to the end of the clip
    assert len(read_pictures(folder / "out.mp4")) == len(rows)
    assert out.splitlines()[-1].startswith(f"stopped: {len(rows)} frames")
    assert sorted(os.listdir(folder)) == ["out.jsonl", "out.mp4"]
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_a_signal_at_any_time_leaves_complete_outputs_or_none(
    hand_made_bundle: Path, long_clip: Path, tmp_path: Path, seed: int
) -> None:
    """From the first import to the last frames; both outputs or neither, and never a third file."""
    source = random.Random(seed)
    number = source.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    folder = tmp_path / "out"
    folder.mkdir()
    process = start(hand_made_bundle, long_clip, folder)
    time.sleep(source.uniform(0.0, 3.0))
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    # Before Python has put its handlers in place, the signal ends the process as it ends any, or Python in its own way.
    assert process.returncode in (128 + number, -number) or "Fatal Python error: init" in err, err
    left = sorted(os.listdir(folder))
    assert left in ([], ["out.jsonl", "out.mp4"])
    if left:
        rows = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
        assert len(read_pictures(folder / "out.mp4")) == len(rows) > 0


def test_what_a_killed_run_left_is_removed_by_the_next_and_a_living_ones_is_not(
    hand_made_bundle: Path, long_clip: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    dead = start(hand_made_bundle, long_clip, folder)
    wait_for_frames(folder, dead)
    dead.kill()
    dead.communicate()
    left = set(os.listdir(folder))
    assert len(left) == 2
    (folder / ".notes.partial-of-mine").write_text("not ours")
    living = start(hand_made_bundle, long_clip, folder)
    for _ in range(2400):
        if not left & set(os.listdir(folder)):
            break
        assert living.poll() is None, living.communicate()
        time.sleep(0.05)
    wait_for_frames(folder, living)
    JsonLinesSink(folder / "other.jsonl")  # a third run in the folder, while the second one writes
    living.send_signal(signal.SIGTERM)
    living.communicate(timeout=120)
    assert sorted(os.listdir(folder)) == [".notes.partial-of-mine", "out.jsonl", "out.mp4"]
    assert len(read_pictures(folder / "out.mp4")) == len((folder / "out.jsonl").read_text().splitlines()) > 0
