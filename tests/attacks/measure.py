"""Opens every bundle in a folder, in a process of its own; tells each one's code, processor seconds and memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lsts_edge.bundle import Bundle
from lsts_edge.errors import LstsEdgeError

HANG_S = 60
"""Processor seconds after which opening a file counts as hanging; the slowest attack was once seen to take 0.25."""

ROOT = Path(__file__).resolve().parent.parent.parent


def measure(folder: Path) -> dict[str, Any]:
    """Bundle name -> ``{"code", "text", "seconds", "grown_mb"}``, measured in a fresh process."""
    return dict(in_new_process("attacks.measure", str(folder)))


def in_new_process(module: str, *words: str) -> Any:
    """Run a module of the attacks in a process of its own; returns the JSON that it prints."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    command = [sys.executable, "-m", module, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1800)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _open_all(folder: Path) -> dict[str, Any]:
    report = {}
    for path in sorted(folder.iterdir()):
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again at what is in use now
        before, start = _peak_mb(), time.process_time()
        try:
            Bundle.open(path)
            code, text = "accepted", ""
        except LstsEdgeError as error:
            code, text = error.code, str(error)
        seconds = time.process_time() - start
        report[path.name] = {"code": code, "text": text, "seconds": seconds, "grown_mb": _peak_mb() - before}
    return report


def _peak_mb() -> float:
    """This program's own peak (``ru_maxrss`` would start at that of the process that started it)."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


if __name__ == "__main__":
    print(json.dumps(_open_all(Path(sys.argv[1]))))
