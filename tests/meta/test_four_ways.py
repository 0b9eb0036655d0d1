"""One module object per file in all ways of starting: checkout, editable, wheel, wheel used inside the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import copy_checkout, make_environment, pip_install

PROBE = Path(__file__).with_name("probe.py").read_text(encoding="utf-8")
TOP_LEVEL = ("runtime", "export", "custom_ops", "benchmarks")


@pytest.fixture(scope="module")
def with_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    python = make_environment(tmp_path_factory.mktemp("with_wheel"), with_dependencies=True)
    pip_install(python, "--no-deps", "--no-index", str(wheel))
    return python


@pytest.fixture(scope="module")
def editable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    python = make_environment(tmp_path_factory.mktemp("editable"), with_dependencies=True)
    source = tmp_path_factory.mktemp("editable_source")
    copy_checkout(source)
    pip_install(python, "--no-deps", "--no-build-isolation", "--editable", str(source), LSTS_EDGE_BUILD_OPS="0")
    return python


def _probe(python: Path | str, folder: Path) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), "-c", PROBE, *TOP_LEVEL]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def _check(report: dict[str, Any], home: Path) -> None:
    """Every module comes from below ``home``, none twice, and none under a bare top-level name."""
    files = [os.path.realpath(file) for file in report["modules"].values()]
    assert len(files) > 10
    assert len(set(files)) == len(files), "a file is loaded under two names"
    assert all(Path(file).is_relative_to(home.resolve()) for file in files), files
    assert report["forbidden"] == []


def test_checkout_alone(root: Path, tmp_path: Path) -> None:
    _check(_probe(make_environment(tmp_path, with_dependencies=True), root), root)


def test_editable(editable: Path, tmp_path: Path) -> None:
    report = _probe(editable, tmp_path)
    package = Path(report["modules"]["lsts_edge"]).resolve().parent
    _check(report, package.parent)
    assert not package.is_relative_to(editable.parent.parent), "an editable install must not copy"
    note = package.parent / "custom_ops" / "_lib" / "_build_info.json"
    assert json.loads(note.read_text())["status"] == "skipped", "the build's note belongs beside the sources"


def test_wheel_elsewhere(with_wheel: Path, tmp_path: Path) -> None:
    _check(_probe(with_wheel, tmp_path), with_wheel.parent.parent)


def test_wheel_with_the_checkout_as_working_folder(with_wheel: Path, root: Path) -> None:
    """``python -c`` puts the working folder first: all modules are then the checkout's, none the wheel's."""
    _check(_probe(with_wheel, root), root)


def test_wheel_program_inside_the_checkout(with_wheel: Path, root: Path, hand_made_bundle: Path) -> None:
    program = with_wheel.with_name("lsts-edge")
    done = subprocess.run([program, "inspect", hand_made_bundle], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "all as the manifest says" in done.stdout.splitlines()[-1]


def test_planted_fault_a_bare_import_is_seen(root: Path) -> None:
    """``import runtime`` from the checkout gives a second module object, and the probe tells."""
    command = [sys.executable, "-c", "import runtime\n" + PROBE, *TOP_LEVEL]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["forbidden"] == ["runtime"]
