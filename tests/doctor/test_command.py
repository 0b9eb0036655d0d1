"""``lsts-edge doctor`` from the outside: what it prints, the keys of its JSON, its exit status, its codes in docs."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import ROOT, Run

import lsts_edge.doctor
import lsts_edge.errors
from lsts_edge.cli.doctor import command
from lsts_edge.doctor import Finding
from lsts_edge.errors import LstsEdgeError, OptionError

CLIP = ROOT / "examples" / "clips" / "bottle-detection.mp4"
DOCUMENT = ROOT / "docs" / "doctor.md"


def test_this_machine_with_a_bundle_and_a_source(lsts_edge_command: Run, hand_made_bundle: Path) -> None:
    done = lsts_edge_command("doctor", "--bundle", hand_made_bundle, "--source", CLIP, "--json")
    report = json.loads(done.stdout)
    assert set(report) == {"schema", "lsts_edge", "worst", "findings"}
    for finding in report["findings"]:
        assert set(finding) == {"code", "level", "what", "got", "fix", "facts"}
        assert finding["level"] in ("ok", "note", "warning", "error")
    found = {(one["code"], one["facts"].get("engine"), one["facts"].get("provider")) for one in report["findings"]}
    for engine in ("onnxruntime", "openvino"):
        assert ("provider-ok", engine, "cpu") in found
        assert ("bundle-unrecorded", engine, "cpu") in found
    codes = {code for code, _, _ in found}
    assert {"packages-ok", "oplib-ok", "decoder-ok", "clock-monotonic", "cache-ok", "telemetry-off"} <= codes
    assert {"bundle-ok", "source-ok"} <= codes and "check-broken" not in codes
    errors = [finding for finding in report["findings"] if finding["level"] == "error"]
    assert (done.returncode, report["worst"] == "error") == ((1, True) if errors else (0, False)), errors
    assert errors == []  # the environment of the tests is in order


def test_an_error_is_exit_status_1_with_its_fix_and_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own part has run above."""
    fine = [
        Finding("cache-ok", "ok", "cache", "x"),
        Finding("power-unknown", "note", "power", "y", "Look at the host."),
    ]
    monkeypatch.setattr(lsts_edge.doctor, "examine_machine", lambda progress: fine)
    done = CliRunner().invoke(command, ["--source", "rtsp://admin:hunter2@127.0.0.1:9/s"])
    assert done.exit_code == 1 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[:4] == [
        "This machine",
        "ok       cache  x",
        "note     power  y",
        "                -> Look at the host.",
    ]
    assert any(line.startswith("error    rtsp://***@127.0.0.1:9/s  ") for line in lines)
    assert "-> The machine is there and nothing listens" in done.stdout
    assert lines[-1] == "1 error, 0 warnings, 1 note: not everything works"
    assert "hunter2" not in done.stdout and "\x1b" not in done.stdout


@pytest.mark.parametrize("words", ["--source-option stream=0", "--expect-digest 00", "--source-option x=1 --source a"])
def test_options_without_what_they_are_for(words: str) -> None:
    done = CliRunner().invoke(command, words.split())
    assert isinstance(done.exception, OptionError)


_FAMILIES = (
    "python|packages?|engine|opencv|provider|form|oplib|decoder|camera|clock|governor|power|cache|telemetry|bundle|"
    "source|check"
)


def _codes_in_sources() -> set[str]:
    """Texts in the checks that look like a code: a family's name and a word; names of packages apart."""
    code = re.compile(rf"({_FAMILIES})(-[a-z]+)+")
    found = set()
    for path in (ROOT / "lsts_edge" / "doctor").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and code.fullmatch(node.value):
                found.add(node.value)
    return found - {"opencv-python"}


def test_every_code_is_documented_and_every_documented_code_exists() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    errors = [
        one for one in vars(lsts_edge.errors).values() if isinstance(one, type) and issubclass(one, LstsEdgeError)
    ]
    found = _codes_in_sources()
    assert len(rows) == len(set(rows)) and len(found) > 50
    assert found - set(rows) == set()
    assert set(rows) - found - {error.code for error in errors} == set()
