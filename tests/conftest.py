"""Fixtures that several tests share: the hand-made bundle, the command line, isolated interpreters, the wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from hand_made import write_hand_made_bundle

ROOT = Path(__file__).resolve().parent.parent
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """``gpu`` tests are skipped without a GPU, unless LSTS_REQUIRE_GPU=1 says that there must be one."""
    if item.get_closest_marker("gpu") and shutil.which("nvidia-smi") is None:
        if os.environ.get("LSTS_REQUIRE_GPU") == "1":
            pytest.fail("LSTS_REQUIRE_GPU=1 and there is no GPU")
        pytest.skip("no GPU on this machine")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def _pristine_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hand_made") / "bundle"
    write_hand_made_bundle(path)
    return path


@pytest.fixture
def hand_made_bundle(_pristine_bundle: Path, tmp_path: Path) -> Path:
    """A private copy of the hand-made bundle, free to be damaged."""
    return Path(shutil.copytree(_pristine_bundle, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def lsts_edge_command() -> Run:
    """Run ``lsts-edge`` in its own process: ``lsts_edge_command("inspect", path)``."""

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        words = [sys.executable, "-m", "lsts_edge", *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=250, **options)

    return run


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel without the op library, whose build takes long (``custom_ops`` has its own tests)."""
    source = tmp_path_factory.mktemp("source")
    copy_checkout(source)
    return build_wheel(source, tmp_path_factory.mktemp("wheel"), LSTS_EDGE_BUILD_OPS="0")


def build_wheel(source: Path, output: Path, **variables: str) -> Path:
    """Build a wheel as a user's pip would; ``variables`` join the environment."""
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "-q", "-w", str(output)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, env={**os.environ, **variables})
    assert done.returncode == 0, done.stderr
    return next(output.glob("lsts_edge-*.whl"))


def copy_checkout(target: Path) -> None:
    """Copy what git would commit, links kept, so that nothing built in the checkout comes along."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        large = name.startswith(("examples/weights/", "examples/bundles/", "tests/data/"))
        if large or not os.path.lexists(ROOT / name):
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name, follow_symlinks=False)


def make_environment(path: Path, *, with_dependencies: bool) -> Path:
    """A virtual environment without lsts-edge; returns its interpreter.

    With dependencies, it sees the packages of this one but not its editable install: a ``.pth`` file adds the
    folder of packages, and ``.pth`` files inside that folder are not read again.
    """
    venv.create(path, with_pip=False, symlinks=True)
    python = path / "bin" / "python"
    if with_dependencies:
        packages = next(path.glob("lib/python*/site-packages"))
        (packages / "dependencies.pth").write_text(sysconfig.get_path("platlib") + "\n")
    return python


def pip_install(python: Path, *words: str, **variables: str) -> None:
    """Install into the environment of ``python`` with this environment's pip; ``variables`` join the environment."""
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-compile", *words]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables})
    assert done.returncode == 0, done.stderr
