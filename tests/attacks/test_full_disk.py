"""A full disk, a limit or a forbidden folder: no bundle, nothing left, one clear error (RELIABILITY row 11)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from attacks.crash import LARGE_BYTES
from attacks.measure import ROOT, in_new_process

STEPS = 20


def test_limit_on_the_size_of_a_file(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    record_property("attacks", STEPS)
    outcomes = in_new_process("attacks.crash", "full", str(tmp_path), str(STEPS))
    assert len(outcomes) == STEPS + 1
    for outcome in outcomes[:-1]:
        assert outcome["code"] == "file-unwritable", outcome
        assert "bytes" in outcome["text"]
        assert str(tmp_path / "bundle") in outcome["text"]
        assert outcome["left"] == []
    assert outcomes[-1]["code"] == "accepted"
    assert outcomes[-1]["left"] == ["bundle"]


def test_full_file_system(tmp_path: Path) -> None:
    """A real one of half the size needed, mounted in a name space of its own."""
    unshare = shutil.which("unshare")
    script = f'mount -t tmpfs -o size={LARGE_BYTES // 2} none {tmp_path} && exec {sys.executable} -c "$PROGRAM"'
    program = f"""
import os
from pathlib import Path
from attacks.crash import write_well
from lsts_edge.errors import FileUnwritable
try:
    write_well(Path({str(tmp_path)!r}) / "bundle", 1.0)
except FileUnwritable as error:
    print(error.code, error.exit_status, os.listdir({str(tmp_path)!r}), error)
"""
    environment = {**os.environ, "PROGRAM": program, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    if unshare is None or subprocess.run([unshare, "-rm", "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody mount a file system in a name space")
    done = subprocess.run([unshare, "-rm", "sh", "-c", script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("file-unwritable 1 [] cannot write head.onnx"), done.stdout
    assert "No space left" in done.stdout


def test_folder_that_may_not_be_written() -> None:
    outcome = in_new_process("attacks.crash", "forbidden")
    assert outcome["code"] == "file-unwritable"
    assert "Permission denied" in outcome["text"]
    assert outcome["left"] == []


def test_bundle_that_may_not_be_read() -> None:
    outcome = in_new_process("attacks.crash", "unreadable")
    assert outcome["code"] == "bundle"
    assert "Permission denied" in outcome["text"]
