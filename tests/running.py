"""Runs of the program that go on while a test does something to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from videos import small_clip, write_video

__all__ = ["start_program", "wait_for_output", "write_long_clip"]

ROOT = Path(__file__).resolve().parent.parent
_POLLS, _POLL_S = 2400, 0.05


def start_program(*words: object) -> subprocess.Popen[str]:
    """``lsts-edge`` with these words, its output in pipes."""
    return subprocess.Popen(
        [sys.executable, "-m", "lsts_edge", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # tests under nohup inherit that it is ignored
    )


def wait_for_output(process: subprocess.Popen[str], folder: Path, pattern: str, least_bytes: int = 1) -> None:
    """Until files of this pattern in ``folder`` hold so many bytes; the process must not end before."""
    for _ in range(_POLLS):
        if sum(path.stat().st_size for path in folder.glob(pattern)) >= least_bytes:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(_POLL_S)
    raise AssertionError("no output after two minutes")


def write_long_clip(folder: Path) -> Path:
    """30,000 frames, which no test waits for; a raw stream may simply be repeated."""
    path = write_video(folder / "clip.h264", small_clip(60), gop=60)
    path.write_bytes(path.read_bytes() * 500)
    return path
