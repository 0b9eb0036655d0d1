"""The CPU kernels on the table of awkward cases without Python in between: sanitizers, and ARM under an emulator."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from op_builds import build_driver, require_tools
from op_cases import awkward_cases, hostile_cases, write_cases


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cases") / "cases.bin"
    write_cases(path, [*awkward_cases(), *hostile_cases()])
    return path


def run_table(*command: object) -> str:
    environment = {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    last = done.stdout.splitlines()[-1]
    assert last.endswith(" 0 failures"), last
    return last


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver with AddressSanitizer and UndefinedBehaviorSanitizer."""
    require_tools("c++")
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe.cc").write_text("int main() {}\n")
    words = ["c++", "-fsanitize=address,undefined", str(folder / "probe.cc"), "-o", str(folder / "probe")]
    if subprocess.run(words, capture_output=True).returncode != 0:
        pytest.skip("this compiler has no sanitizers")
    return build_driver("sanitize", "-DLSTS_SANITIZE=ON")


def test_no_sanitizer_complains(sanitized: Path, table: Path) -> None:
    run_table(sanitized, table)


@pytest.mark.parametrize(
    ("fault", "words"), [("overrun", "wrote outside its buffers"), ("overread", "heap-buffer-overflow")]
)
def test_a_planted_fault_is_seen(sanitized: Path, table: Path, fault: str, words: str) -> None:
    done = subprocess.run([str(sanitized), str(table), fault], capture_output=True, text=True)
    assert done.returncode != 0
    assert words in done.stdout + done.stderr


def test_a_file_that_ends_early_is_no_success(sanitized: Path, table: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.bin"
    cut.write_bytes(table.read_bytes()[:100_000])
    done = subprocess.run([str(sanitized), str(cut)], capture_output=True, text=True)
    assert done.returncode == 2 and "ends early" in done.stderr


def test_neon_kernel_under_an_emulator(table: Path) -> None:
    emulator = next((name for name in ("qemu-aarch64", "qemu-aarch64-static") if shutil.which(name)), None)
    if emulator is None:
        pytest.skip("not installed: qemu-aarch64 (package qemu-user)")
    require_tools("aarch64-linux-gnu-g++")
    program = build_driver(
        "neon",
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++",
    )
    assert "kernels neon portable" in run_table(emulator, "-L", "/usr/aarch64-linux-gnu", program, table)
