"""Builds of the op library's sources for tests, kept in ``.cache`` until a source changes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["build_driver", "require_tools"]

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "custom_ops"
DRIVER = ROOT / "tests" / "custom_ops" / "table_driver.cc"
_SUFFIXES = {".cc", ".h", ".map", ".cmake", ".txt"}


def require_tools(*names: str) -> None:
    """Skip the test, with the reason, where a tool is not installed."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def build_driver(kind: str, *options: str) -> Path:
    """``lsts_driver`` built by CMake with ``options``; built once for each state of the sources."""
    require_tools("cmake")
    digest = hashlib.sha256(repr(options).encode())
    files = sorted(path for path in SOURCES.rglob("*") if path.suffix in _SUFFIXES and "_lib" not in path.parts)
    for path in (DRIVER, *files):
        digest.update(path.name.encode() + path.read_bytes())
    folder = ROOT / ".cache" / "op_builds" / f"{kind}-{digest.hexdigest()[:12]}"
    program = folder / "lsts_driver"
    if program.is_file():
        return program
    for old in folder.parent.glob(f"{kind}-*"):
        shutil.rmtree(old, ignore_errors=True)
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    target = ["--target", "lsts_driver", "--parallel", str(os.cpu_count() or 1)]
    for command in (
        [
            "cmake",
            "-S",
            str(SOURCES),
            "-B",
            str(folder),
            *generator,
            "-DLSTS_CUDA=OFF",
            f"-DLSTS_DRIVER={DRIVER}",
            *options,
        ],
        ["cmake", "--build", str(folder), *target],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return program
