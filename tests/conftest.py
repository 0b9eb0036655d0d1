"""Fixtures that several tests share: the hand-made bundle, the command line, isolated interpreters, the wheel."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from hand_made import write_hand_made_bundle

ROOT = Path(__file__).resolve().parent.parent
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """``gpu`` tests are skipped without a GPU, unless LSTS_REQUIRE_GPU=1 says that there must be one."""
    if item.get_closest_marker("gpu") and shutil.which("nvidia-smi") is None:
        if os.environ.get("LSTS_REQUIRE_GPU") == "1":
            pytest.fail("LSTS_REQUIRE_GPU=1 and there is no GPU")
        pytest.skip("no GPU on this machine")


@pytest.fixture(scope="session", autouse=True)
def _surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of the user's is read or left: a cache of our own; tools of this environment (cmake) are found.

    Other programs keep their caches where they are, so that they need not be filled again.
    """
    before = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_CACHE_DIR", os.environ.get("PIP_CACHE_DIR", str(before / "pip")))
        patch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR", str(before / "matplotlib")))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        yield


@pytest.fixture(autouse=True)
def _torch_threads() -> Iterator[None]:
    """A test that sets torch's threads, as benchmarks do, sets them for itself."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch is not None else None
    yield
    if torch is not None:
        torch.set_num_threads(before)


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


def link_dependencies(python: Path, extra: str) -> list[str]:
    """Link what an installed ``lsts-edge[extra]`` asks for, and what that needs; returns the names.

    The packages are this environment's: no index is asked, and nothing that is not asked for is there.
    """
    packages = next(python.parent.parent.glob("lib/python*/site-packages"))
    ours = importlib.metadata.Distribution.at(next(packages.glob("lsts_edge-*.dist-info")))
    wanted, linked = _requirements(ours, {extra}), set[str]()
    while wanted:
        requirement = wanted.pop()
        if requirement.name in linked:
            continue
        linked.add(requirement.name)
        found = importlib.metadata.distribution(requirement.name)
        assert requirement.specifier.contains(found.version, prereleases=True), f"{requirement}: {found.version}"
        for top in {Path(file).parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(found.locate_file(top))).resolve())
        wanted += _requirements(found, requirement.extras)
    return sorted(linked)


def _requirements(distribution: importlib.metadata.Distribution, extras: set[str]) -> list[Requirement]:
    found = [Requirement(line) for line in distribution.requires or ()]
    return [one for one in found if one.marker is None or any(one.marker.evaluate({"extra": e}) for e in {"", *extras})]


def pip_install(python: Path, *words: str, **variables: str) -> None:
    """Install into the environment of ``python`` with this environment's pip; ``variables`` join the environment."""
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-compile", *words]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables})
    assert done.returncode == 0, done.stderr
