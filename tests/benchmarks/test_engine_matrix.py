"""The matrix of engines: what it installs, how legs end, its table, and that the committed one is whole and true."""

from __future__ import annotations

import configparser
import os
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from lsts_edge.benchmarks import engine_matrix
from lsts_edge.benchmarks.engine_matrix import (
    BUNDLE,
    ENGINES,
    ENGINES_BEGIN,
    ENGINES_END,
    engines_block,
    find_interpreters,
    main,
    run_leg,
)
from lsts_edge.benchmarks.engines_result import EnginesData, EnginesResult, EnginesSettings, Leg, LegParity
from lsts_edge.benchmarks.envelope import Origin, bundle_facts
from lsts_edge.benchmarks.results import read_result
from lsts_edge.bundle import Bundle

ANSWERS = "if words[0] == '-c': print('{}')\nif 'verify' in words: print('{\"programs\": []}')\n"
COMMITTED = ROOT / "benchmarks" / "results" / "engine-matrix.json"


def test_the_committed_matrix_is_of_the_committed_bundle_and_its_table_is_in_the_document() -> None:
    result = read_result(COMMITTED)
    assert isinstance(result, EnginesResult)
    assert result.bundle.digest == Bundle.open(BUNDLE).digest, "run `make matrix` again"
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert engines_block(result) == text.partition(ENGINES_BEGIN + "\n")[2].partition(ENGINES_END)[0]
    legs = result.data.legs
    assert {(leg.engine, leg.version) for leg in legs} == {(name, v) for name in ENGINES for v in ENGINES[name]}
    assert [leg for leg in legs if leg.status == "failed"] == []
    assert {leg.status for leg in legs if leg.python == "3.11"} == {"ran"}
    for leg in legs:
        if leg.status == "ran":
            assert leg.versions[leg.engine] == leg.version
            assert {(row.form, row.joined) for row in leg.programs} == {
                (form, joined) for form in ("custom", "taps") for joined in (False, True)
            }


def test_the_oldest_engines_are_the_lower_bounds_of_the_ranges() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = config["options.extras_require"]
    for extra, engine in (("cpu", "onnxruntime"), ("openvino", "openvino")):
        assert f"{engine}>={ENGINES[engine][0].removesuffix('.0')}" in extras[extra].split()
        assert len(ENGINES[engine]) >= 4


def test_the_oldest_packages_are_the_lower_bounds_too() -> None:
    lowest = engine_matrix._base_packages(True)
    assert "numpy==1.26.*" in lowest and len(lowest) == len(engine_matrix._base_packages(False)) == 4
    assert all("==" in word and word.endswith(".*") for word in lowest)


def test_a_leg_without_interpreter_is_not_run(tmp_path: Path) -> None:
    leg = run_leg("3.10", None, "onnxruntime", "1.20.0", clip=tmp_path / "none", folder=tmp_path)
    assert (leg.status, leg.reason) == ("not run", "no such interpreter on this machine")
    assert list(tmp_path.iterdir()) == []


def fake_environment(folder: Path, body: str) -> None:
    """In place of an environment's interpreter, a program that answers as told: no package is installed."""
    program = folder / "3.11" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!{sys.executable}\nimport os, sys\nwords = sys.argv[1:]\n{body}\n")
    program.chmod(0o755)


def leg_of(folder: Path) -> Leg:
    return run_leg("3.11", Path(sys.executable), "onnxruntime", "1.27.0", clip=folder / "none", folder=folder)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (
            "if 'pip' in words: sys.exit('ERROR: No matching distribution found for onnxruntime')",
            "not run",
            "no wheel for this Python",
        ),
        ("if 'pip' in words: sys.exit('the index is away')", "not run", "the index is away"),
        (
            "if words[0] == '-c': print('{}')\nif 'verify' in words: os.abort()",
            "failed",
            "verify: ended by SIGABRT",
        ),
        (
            "if words[0] == '-c': print('{}')\nif 'verify' in words: sys.exit('error[check-failed]: parity')",
            "failed",
            "verify: error[check-failed]: parity",
        ),
        (
            ANSWERS + "if 'run' in words: os.kill(os.getpid(), 11)",
            "failed",
            "run custom: ended by SIGSEGV",
        ),
        (
            ANSWERS + "if 'run' in words: print('{\"frames\": 3}')",
            "failed",
            "frames or programs are missing",
        ),
    ],
    ids=["no wheel", "no index", "abort", "check", "segfault", "short"],
)
def test_planted_faults_of_a_leg_are_told(tmp_path: Path, body: str, status: str, reason: str) -> None:
    fake_environment(tmp_path, body)
    leg = leg_of(tmp_path)
    assert (leg.status, leg.reason) == (status, reason)


def test_legs_that_do_not_run_are_counted_and_fail_where_they_are_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engine_matrix, "find_interpreters", dict)
    words = ["--python", "newest", "--engine", "openvino"]
    assert main(words) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "Python newest, openvino 2025.4.0: not run (no such interpreter on this machine)"
    assert told[-1] == "4 legs: 0 ran, 0 failed, 4 not run"
    assert main([*words, "--require"]) == 1


def test_the_table_tells_what_ran_where() -> None:
    row = LegParity(form="taps", joined=True, frames=60, boxes=410, unmatched=1, max_tensor_error=2e-6)
    versions = {"python": "3.11.7", "numpy": "1.26.4", "opencv-python": "4.14.0", "av": "17.1.0", "click": "8.1.8"}
    ran = Leg("3.11", "onnxruntime", "1.20.0", "ran", "", versions, (row, row), {"taps": 12})
    legs = [ran, Leg("newest", "onnxruntime", "1.20.0", "not run", "no wheel for this Python")]
    legs.append(Leg("3.11", "openvino", "2025.4.0", "failed", "run custom: ended by SIGABRT", versions))
    settings, data = EnginesSettings(12, ("3.11", "newest"), tuple(ENGINES)), EnginesData(tuple(legs))
    facts = bundle_facts(Bundle.open(BUNDLE))
    text = engines_block(EnginesResult(origin=Origin.here(), bundle=facts, settings=settings, data=data))
    assert text.startswith("3 legs: 1 ran, 1 failed, 1 not run.")
    assert "| onnxruntime 1.20.0 | 2e-06, 1 of 410 | *not run*: no wheel for this Python |" in text
    assert "| openvino 2025.4.0 | *failed*: run custom: ended by SIGABRT | - |" in text
    assert "numpy 1.26.4" in text and "Python 3.11.7" in text


def test_this_interpreter_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the path; one that does not start (a shim of a version manager, say) is passed over."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    monkeypatch.setattr(engine_matrix, "PYTHONS", (version,))
    (tmp_path / "bin").mkdir()
    shim = tmp_path / "bin" / f"python{version}"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert find_interpreters() == {}
    own = tmp_path / "versions" / f"{version}.99" / "bin"
    own.mkdir(parents=True)
    os.symlink(sys.executable, own / "python")
    found = find_interpreters()
    assert set(found) == {version} and found[version] == own / "python"
