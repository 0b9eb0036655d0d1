"""Ctrl-C, TERM and HUP end a run between two frames: exit 130, 143 or 129, outputs that parse."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from videos import read_pictures, small_clip, write_video


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_video(tmp_path_factory.mktemp("long") / "clip.h264", small_clip(60), gop=60)
    path.write_bytes(path.read_bytes() * 500)  # a raw stream may simply be repeated
    return path


def start(root: Path, bundle: Path, clip: Path, folder: Path) -> subprocess.Popen[str]:
    words = ["run", bundle, clip, "--output-json", folder / "out.jsonl", "--output-video", folder / "out.mp4"]
    return subprocess.Popen(
        [sys.executable, "-m", "lsts_edge", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # tests under nohup inherit that it is ignored
    )


def wait_for_frames(folder: Path, process: subprocess.Popen[str]) -> None:
    """Until the hidden video has some bytes, so that the signal falls into the run."""
    for _ in range(2400):
        if any(path.stat().st_size > 0 for path in folder.glob(".out.mp4.partial-*")):
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("no output after two minutes")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_complete_outputs(
    root: Path, hand_made_bundle: Path, long_clip: Path, tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    process = start(root, hand_made_bundle, long_clip, folder)
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
    root: Path, hand_made_bundle: Path, long_clip: Path, tmp_path: Path, seed: int
) -> None:
    """From the first import to the last frames; both outputs or neither, and never a third file."""
    source = random.Random(seed)
    number = source.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    folder = tmp_path / "out"
    folder.mkdir()
    process = start(root, hand_made_bundle, long_clip, folder)
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
    root: Path, hand_made_bundle: Path, long_clip: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    dead = start(root, hand_made_bundle, long_clip, folder)
    wait_for_frames(folder, dead)
    dead.kill()
    dead.communicate()
    left = set(os.listdir(folder))
    assert len(left) == 2
    (folder / ".notes.partial-of-mine").write_text("not ours")
    living = start(root, hand_made_bundle, long_clip, folder)
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
