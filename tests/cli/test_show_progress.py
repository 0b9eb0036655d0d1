"""Progress is shown where somebody watches, counted where the work counts, and nowhere else."""

from __future__ import annotations

import io

import pytest

from lsts_edge.cli.show_progress import echo_progress, rewritten_line
from lsts_edge.progress import renamed, silent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_one_line_is_rewritten_and_cleared() -> None:
    terminal = Terminal()
    with rewritten_line(terminal) as progress:
        progress("reading")
        progress("frames", 3, 3)
        renamed(progress, "frames of the second run")("frames", 4, 4)
    clear = "\r\x1b[K"
    assert terminal.getvalue() == f"{clear}reading{clear}frames: 3 of 3{clear}frames of the second run: 4 of 4{clear}"


def test_a_count_in_between_is_left_out_when_it_follows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    terminal = Terminal()
    with rewritten_line(terminal) as progress:
        for done in range(1, 4):
            progress("frames", done, 3)
    assert [f"{done} of 3" in terminal.getvalue() for done in (1, 2, 3)] == [True, False, True]


def test_nobody_watches_a_file() -> None:
    stream = io.StringIO()
    with rewritten_line(stream) as progress:
        assert progress is silent
        progress("frames", 1, 1)
    assert stream.getvalue() == ""


def test_lines(capsys: pytest.CaptureFixture[str]) -> None:
    echo_progress("tracing")
    echo_progress("export", 1, 3)
    assert capsys.readouterr() == ("", "tracing\n[1/3] export\n")
