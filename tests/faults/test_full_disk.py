"""A disk that fills in the middle of a run: one error that names the file, nothing half-written, older outputs stay."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from videos import small_clip, write_video

_LIMIT_BYTES = 20_000


def _run(root: Path, *words: object, limit_bytes: int | None = None) -> subprocess.CompletedProcess[str]:
    """The command, which may not write files longer than the limit: the kernel refuses the next byte."""

    def limit() -> None:
        if limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    return subprocess.run(
        [sys.executable, "-m", "lsts_edge", "run", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=250,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=limit,
    )


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = write_video(tmp_path / "clip.h264", small_clip(100))
    path.write_bytes(path.read_bytes() * 4)
    return path


@pytest.mark.parametrize("names", [["out.jsonl"], ["out.mp4"], ["out.jsonl", "out.mp4"]])
def test_a_disk_that_fills_in_the_middle(
    root: Path, hand_made_bundle: Path, clip: Path, tmp_path: Path, names: list[str]
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    words: list[object] = []
    for name in names:
        (folder / name).write_text("older result")
        words += ["--output-json" if name.endswith("jsonl") else "--output-video", folder / name]
    done = _run(root, hand_made_bundle, clip, *words, limit_bytes=_LIMIT_BYTES)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith(f"error[file-unwritable]: cannot write {folder}")
    assert "File too large" in done.stderr
    assert {path.name: path.read_text() for path in folder.iterdir()} == dict.fromkeys(names, "older result")


def test_a_video_that_does_not_fit_takes_the_rows_with_it(root: Path, hand_made_bundle: Path, tmp_path: Path) -> None:
    """The rows fit, and are finished by the time that the video's last bytes are refused."""
    clip = write_video(tmp_path / "clip.ts", small_clip(60))
    rows, video = tmp_path / "out.jsonl", tmp_path / "out.mp4"
    rows.write_text("older result")
    words = ["--output-json", rows, "--output-video", video]
    done = _run(root, hand_made_bundle, clip, *words, limit_bytes=_LIMIT_BYTES)
    assert done.returncode == 1 and f"cannot write {video}: got File too large" in done.stderr
    assert rows.read_text() == "older result" and not video.exists()
    assert _run(root, hand_made_bundle, clip, *words).returncode == 0, "without the limit it must run"
    assert rows.stat().st_size < _LIMIT_BYTES < video.stat().st_size


def test_a_full_device(root: Path, hand_made_bundle: Path, clip: Path) -> None:
    done = _run(root, hand_made_bundle, clip, "--output-json", "/dev/full")
    assert done.returncode == 1
    assert "/dev/full: got No space left on device" in done.stderr
