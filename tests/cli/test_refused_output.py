"""Standard output that is full or closed, and a machine that knows nothing of its user: one line, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from lsts_edge.cli import main

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = [sys.executable, "-m", "lsts_edge"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((48, 64, 3), 90, np.uint8))
    return folder


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("words", ["--version", "--help", "inspect BUNDLE --no-first-run", "run BUNDLE PICTURES",
                                   "run BUNDLE PICTURES --output-json -", "run BUNDLE PICTURES --json"])  # fmt: skip
def test_a_full_standard_output(hand_made_bundle: Path, pictures: Path, words: str) -> None:
    places = {"BUNDLE": str(hand_made_bundle), "PICTURES": str(pictures)}
    command = [*PROGRAM, *(places.get(word, word) for word in words.split())]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, timeout=250)
    assert done.returncode == 1
    assert done.stderr.startswith("error[file") and "No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_standard_error_too(hand_made_bundle: Path) -> None:
    command = [*PROGRAM, "inspect", str(hand_made_bundle), "--no-first-run"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=full, env=ENVIRONMENT, timeout=250)
    assert done.returncode == 1


def test_a_reader_that_went_away(hand_made_bundle: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [*PROGRAM, "inspect", str(hand_made_bundle), "--no-first-run"]
    try:
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, timeout=250)
    finally:
        os.close(writing)
    assert done.returncode == 1
    assert done.stderr == "", "as of other programs before head"


def test_a_file_that_the_system_refuses_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], hand_made_bundle: Path
) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied", "/etc/secret")

    monkeypatch.setattr("lsts_edge.bundle.directory._list_files", refuse)
    with pytest.raises(SystemExit) as left:
        main(["inspect", str(hand_made_bundle)])
    told = capsys.readouterr().err
    assert left.value.code == 1
    assert told.startswith("error[file]: cannot use /etc/secret: got Permission denied, expected one that can be used.")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_run_by_a_user_without_home_and_name(
    hand_made_bundle: Path, pictures: Path, tmp_path: Path, backend: str
) -> None:
    pytest.importorskip(backend)
    program = (
        "import pwd\ndef nobody(number): raise KeyError('getpwuid(): uid not found: 12345')\npwd.getpwuid = nobody\n"
        "from lsts_edge.cli import main\nimport sys\nmain(sys.argv[1:])"
    )
    environment = {k: v for k, v in ENVIRONMENT.items() if k not in ("HOME", "XDG_CACHE_HOME", "USER", "LOGNAME")}
    (tmp_path / "here").mkdir()
    words = ["run", str(hand_made_bundle), str(pictures), "--backend", backend]
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path / "here",
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    assert "3 frames" in done.stdout and list((tmp_path / "here").iterdir()) == []
