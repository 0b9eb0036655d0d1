"""Builds of the op library's sources for tests, kept in ``.cache`` until a source changes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from lsts_edge.custom_ops.finder import BUILD_INFO, LIBRARY_NAME

__all__ = ["build", "build_driver", "install", "require_tools"]

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
    return build(kind, SOURCES, "lsts_driver", f"-DLSTS_DRIVER={DRIVER}", *options, reads=(DRIVER,))


def build(kind: str, sources: Path, target: str, *options: str, reads: tuple[Path, ...] = ()) -> Path:
    """The file that CMake makes of ``target`` in ``sources``, built once for each state of them and of ``reads``."""
    require_tools("cmake", "c++")
    digest = hashlib.sha256(repr((target, options)).encode())
    files = sorted(path for path in sources.rglob("*") if path.suffix in _SUFFIXES and "_lib" not in path.parts)
    for path in (*reads, *files):
        digest.update(path.name.encode() + path.read_bytes())
    folder = ROOT / ".cache" / "op_builds" / f"{kind}-{digest.hexdigest()[:12]}"
    made = folder / target
    if made.is_file():
        return made
    folder.parent.mkdir(parents=True, exist_ok=True)
    for old in set(folder.parent.glob(f"{kind}-*")) - {folder}:
        shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        _cmake(sources, Path(work), target, *options)
        folder.mkdir(exist_ok=True)
        os.replace(Path(work) / target, made)  # whole or absent, whoever else builds it
    return made


def _cmake(sources: Path, folder: Path, target: str, *options: str) -> None:
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    configure = ["cmake", "-S", str(sources), "-B", str(folder), *generator, "-DLSTS_CUDA=OFF", *options]
    what = ["--target", Path(target).stem.removeprefix("lib"), "--parallel", str(os.cpu_count() or 1)]
    for command in (configure, ["cmake", "--build", str(folder), *what]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def install(folder: Path, content: bytes, **changes: object) -> Path:
    """A library file and the note of its build."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LIBRARY_NAME).write_bytes(content)
    note = {"status": "built", "reason": "", "sha256": hashlib.sha256(content).hexdigest(), **changes}
    (folder / BUILD_INFO).write_text(json.dumps(note))
    return folder
