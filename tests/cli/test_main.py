"""The program's edges: help, one-line errors, exit statuses, signals; and ``inspect``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from lsts_edge import __version__, cli
from lsts_edge.cli import command_line, main
from lsts_edge.cli.group import LazyGroup
from lsts_edge.errors import LstsEdgeError

WRITES_A_FILE = ("train", "report")  # what they tell is a checkpoint and a page; there is nothing to print as JSON


def _groups_and_commands() -> list[tuple[str, LazyGroup, str]]:
    top = [("", command_line, name) for name in command_line.list_commands(click.Context(command_line))]
    bench = command_line.get_command(click.Context(command_line), "bench")
    assert isinstance(bench, LazyGroup)
    return top + [("bench ", bench, name) for name in bench.list_commands(click.Context(bench))]


@pytest.mark.parametrize(
    ("group", "name"), [(g, n) for _, g, n in _groups_and_commands()], ids=[p + n for p, _, n in _groups_and_commands()]
)
def test_every_command_has_help_examples_and_long_options_only(group: LazyGroup, name: str) -> None:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    if isinstance(command, LazyGroup):
        return
    assert command.name == name
    assert command.help
    assert "Examples:" in (command.epilog or "")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert all(option.startswith("--") for option in parameter.opts + parameter.secondary_opts)
    if name not in WRITES_A_FILE:
        assert "--json" in {option for parameter in command.params for option in parameter.opts}


def test_help_imports_no_command() -> None:
    program = (
        "import sys\nfrom lsts_edge.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit as e:\n"
        "    assert e.code == 0\nprint([m for m in sys.modules if m.startswith('lsts_edge.cli.') and 'group' not in m])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "Detect objects in a video" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_version(lsts_edge_command) -> None:
    done = lsts_edge_command("--version")
    assert (done.returncode, done.stdout) == (0, f"lsts-edge, version {__version__}\n")


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (["walk"], 2, "usage"),
        (["inspect"], 2, "usage"),
        (["inspect", "x", "--fast"], 2, "usage"),
        (["inspect", "/no/such/bundle"], 3, "bundle"),
        (["inspect", "x", "--expect-digest", "12"], 3, "bundle"),
    ],
)
def test_an_error_is_one_line(words: list[str], status: int, code: str, lsts_edge_command) -> None:
    done = lsts_edge_command(*words)
    assert done.returncode == status
    assert done.stderr.startswith(f"error[{code}]: ")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def _fails_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    @click.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(command_line, "get_command", lambda context, name: fail)


@pytest.mark.parametrize(
    ("error", "status", "start"),
    [
        (KeyboardInterrupt(), 130, "error[interrupted]"),
        (ZeroDivisionError("by zero"), 1, "error[internal]: ZeroDivisionError: by zero. This is a bug"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 2, "error[package-missing]"),
        (ModuleNotFoundError("No module named 'nonesuch'", name="nonesuch"), 1, "error[internal]"),
        (LstsEdgeError("lamp", got=1, expected=2, fix="Wait."), 1, "error[internal]: lamp: got 1, expected 2. Wait."),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_what_a_command_raises(
    error: BaseException, status: int, start: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _fails_with(monkeypatch, error)
    with pytest.raises(SystemExit) as left:
        main(["inspect"])
    assert left.value.code == status
    assert capsys.readouterr().err.strip().startswith(start)


def test_a_traceback_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    _fails_with(monkeypatch, ZeroDivisionError("by zero"))
    monkeypatch.setenv(cli.TRACEBACK_VARIABLE, "1")
    with pytest.raises(ZeroDivisionError):
        main(["inspect"])


@pytest.mark.parametrize("inside", ["", "    except BaseException:\n        raise ImportError('failed')\n"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_leaves_through_the_cleanup(number: signal.Signals, status: int, inside: str, tmp_path: Path) -> None:
    """Also where it falls into the import of a compiled module, which turns any exception into an error of its own."""
    program = (
        "import pathlib, sys, time, click\nfrom lsts_edge.cli import command_line, main\n@click.command()\n"
        "def wait():\n    try:\n        print('ready', flush=True)\n        time.sleep(600)\n"
        f"{inside}"
        "    finally:\n        pathlib.Path(sys.argv[1]).write_text('closed')\n"
        "command_line.get_command = lambda context, name: wait\nmain(['inspect'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "file")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background jobs with Ctrl-C ignored, which a program inherits.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == status
    assert (tmp_path / "file").read_text() == "closed"
    assert "Traceback" not in errors
    assert len(errors.strip().splitlines()) == 1


def test_a_closed_pipe_is_no_traceback(hand_made_bundle: Path) -> None:
    command = f"{sys.executable} -m lsts_edge inspect {hand_made_bundle} --json | head -c 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_inspect_shows_what_is_in_a_bundle(hand_made_bundle: Path, lsts_edge_command) -> None:
    done = lsts_edge_command("inspect", hand_made_bundle)
    assert done.returncode == 0
    for shown in (
        "hand-made",
        "Apache-2.0",
        "sha256:",
        "task 1x3",
        "18,432",
        "task -> boxes, scores, labels",
        "to load",
    ):
        assert shown in done.stdout
    assert done.stdout.splitlines()[-1].endswith("all as the manifest says")


def test_inspect_json_is_the_manifest_and_the_digest(hand_made_bundle: Path, lsts_edge_command) -> None:
    done = lsts_edge_command("inspect", hand_made_bundle, "--json")
    told = json.loads(done.stdout)
    written = json.loads((hand_made_bundle / "manifest.json").read_text())
    digest = told.pop("bundle_digest")
    assert told.pop("signed_by") is None
    assert told.pop("first_run")["peak_memory_bytes"] > 0
    del written["manifest_sha256"]
    assert told == written
    assert lsts_edge_command("inspect", hand_made_bundle, "--expect-digest", digest).returncode == 0
    other = lsts_edge_command("inspect", hand_made_bundle, "--expect-digest", "sha256:" + "0" * 64)
    assert (other.returncode, other.stderr.startswith("error[bundle-digest]")) == (3, True)
