"""The suite's commands exist, with options that exist; a failing one says which it was, and the folder stays whole."""

from __future__ import annotations

import importlib.util
import sys
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from lsts_edge.benchmarks.suite import (
    LITE_INT8_BUNDLE,
    R101_LOWERED,
    SuiteCommand,
    SuiteOptions,
    run_suite,
    suite_commands,
)
from lsts_edge.cli import command_line
from lsts_edge.errors import CheckFailed, FileUnwritable


def steps_of(options: SuiteOptions) -> list[SuiteCommand]:
    return suite_commands(options, options.output / "made")


def parse(words: tuple[str, ...]) -> None:
    """Parse a command line without running it."""
    group: click.Command = command_line
    context = click.Context(group)
    rest = list(words)
    while isinstance(group, click.Group):
        found = group.get_command(context, rest.pop(0))
        assert found is not None, words
        group = found
    group.make_context("test", rest)


@pytest.mark.parametrize("quick", [True, False])
def test_every_step_is_a_command_that_exists(tmp_path: Path, quick: bool) -> None:
    here = {name: tmp_path / name for name in ("source", "yolox", "nanodet", "annotations", "calibration")}
    steps = steps_of(SuiteOptions(tmp_path, quick=quick, **here))
    for step in steps:
        parse(step.words)
    names = [step.name for step in steps]
    assert {
        "latency-lite",
        "compare-lite",
        "compare-lite-interval-3",
        "compare-lite-rivals",
        "accuracy-lite",
        "sweep-lite",
        "op",
        "compare-r101",
        "report",
    } <= set(names)
    report = steps[-1].words
    assert all(str(step.result) in report for step in steps[:-1] if step.result is not None), "every result is reported"


def test_int8_is_the_committed_bundle_unless_there_is_calibration(tmp_path: Path) -> None:
    committed = str(LITE_INT8_BUNDLE)
    for calibration in (None, tmp_path / "train.json"):
        steps = steps_of(SuiteOptions(tmp_path, calibration=calibration))
        timed = [step for step in steps if committed in step.words]
        made = [step for step in steps if step.name == "export lsts-lite, int8"]
        assert (bool(timed), bool(made)) == (calibration is None, calibration is not None)


def test_r101_has_both_paths_in_int8(tmp_path: Path) -> None:
    step = next(step for step in steps_of(SuiteOptions(tmp_path)) if step.name == "export lsts-r101, int8")
    assert step.words[-2:] == ("--lower", R101_LOWERED)


def test_a_wrong_option_would_be_seen() -> None:
    with pytest.raises(click.UsageError):
        parse(("bench", "latency", "bundle", "--no-such-option"))


def test_paper_size_can_be_left_out(tmp_path: Path) -> None:
    steps = steps_of(SuiteOptions(tmp_path, paper_size=False))
    assert not any("r101" in step.name for step in steps)


def test_an_engine_that_is_not_installed_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)  # what an import finds where it is not installed
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else find_spec(name))
    steps = steps_of(SuiteOptions(tmp_path))
    assert not [step.name for step in steps if any("openvino" in word for word in step.words)]
    assert "latency-lite-int8-onnxruntime-640x360" in {step.name for step in steps}


def test_only_what_was_made_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "bundles" / "mine.onnx"
    mine.parent.mkdir()
    mine.write_bytes(b"of the user")
    made: list[Path] = []

    def short(options: SuiteOptions, bundles: Path) -> list[SuiteCommand]:
        made.extend(bundles.glob("*.mp4"))
        return [SuiteCommand("version", ("--version",), tmp_path / "report.html")]

    monkeypatch.setattr("lsts_edge.benchmarks.suite.suite_commands", short)
    run_suite(SuiteOptions(tmp_path))
    assert mine.read_bytes() == b"of the user"
    assert made and not made[0].parent.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundles", "suite.log"]


def test_a_failing_step_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tmp_path / "damaged.safetensors"
    checkpoint.write_bytes(b"no checkpoint")
    monkeypatch.setattr("lsts_edge.benchmarks.suite.LITE_CHECKPOINT", checkpoint)
    told: list[tuple[str, int, int]] = []
    with pytest.raises(CheckFailed, match="step export lsts-lite"):
        run_suite(SuiteOptions(tmp_path / "out", quick=True), lambda *step: told.append(step))
    assert [step[:2] for step in told] == [("export lsts-lite", 1)]
    assert "error[checkpoint" in (tmp_path / "out" / "suite.log").read_text()
    (tmp_path / "file").write_text("")
    with pytest.raises(FileUnwritable):
        run_suite(SuiteOptions(tmp_path / "file"))
