"""Outputs that are no plain files are written into; several outputs appear together or not at all."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lsts_edge.errors import FileUnwritable, OptionError
from lsts_edge.runtime import Detections, Detector, Frame
from lsts_edge.runtime.loop import run_stream
from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from lsts_edge.runtime.sinks.outputs import Outputs
from lsts_edge.runtime.sinks.video import VideoSink
from lsts_edge.runtime.sources.arrays import ArraySource
from videos import small_clip, write_video


def test_a_device_stays_a_device(hand_made_bundle: Path, tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        device.write_text("x")
    except PermissionError:
        pytest.skip("this user may not make devices")
    run_stream(Detector(hand_made_bundle), ArraySource(small_clip(3)), [JsonLinesSink(device)])
    assert stat.S_ISCHR(device.stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["bundle", "null"]


@pytest.mark.parametrize("path", ["/dev/full", "/no/folder/out.csv"])
def test_an_output_that_cannot_be_written_is_told_once(hand_made_bundle: Path, path: str) -> None:
    """The table's first line is what does not fit."""
    with pytest.raises(FileUnwritable) as caught:
        run_stream(Detector(hand_made_bundle), ArraySource(small_clip(3)), Outputs(csv=path).open(["x"]))
    assert str(caught.value).count("cannot write") == 1


def test_a_link_into_a_folder_that_is_not_there_is_told_at_opening(tmp_path: Path) -> None:
    link = tmp_path / "out.jsonl"
    link.symlink_to(tmp_path / "none" / "rows.jsonl")
    with pytest.raises(FileUnwritable, match=f"got no directory {tmp_path / 'none'}"):
        JsonLinesSink(link)


@pytest.mark.parametrize("kind", ["rows", "video", "csv"])
def test_an_address_of_another_kind_is_no_output(kind: str) -> None:
    with pytest.raises(OptionError, match="expected a file") as caught:
        Outputs(**{kind: "rtmp://me:hunter2@host/live.mp4"}).open(["x"])  # type: ignore[arg-type]
    assert "hunter2" not in str(caught.value)


def test_two_outputs_into_standard_output_are_refused(
    hand_made_bundle: Path, tmp_path: Path, lsts_edge_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    clip = write_video(tmp_path / "clip.mp4", small_clip(4))
    done = lsts_edge_command("run", hand_made_bundle, clip, "--output-json", "-", "--output-csv", "-")
    assert (done.returncode, done.stdout) == (2, "") and "different paths" in done.stderr


def test_a_link_stays_a_link(hand_made_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "out.jsonl"
    link.symlink_to(tmp_path / "elsewhere" / "rows.jsonl")
    run_stream(Detector(hand_made_bundle), ArraySource(small_clip(3)), [JsonLinesSink(link)])
    assert link.is_symlink()
    assert len((tmp_path / "elsewhere" / "rows.jsonl").read_text().splitlines()) == 3


def test_a_fifo_gets_each_row_as_it_comes(hand_made_bundle: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "rows"
    os.mkfifo(fifo)
    rows: list[str] = []
    read = threading.Semaphore(0)

    def reader() -> None:
        with fifo.open() as lines:
            for line in lines:
                rows.append(line)
                read.release()

    thread = threading.Thread(target=reader)
    thread.start()

    def after(frame: Frame, detections: Detections) -> None:
        assert read.acquire(timeout=60), "the row was not flushed"

    run_stream(Detector(hand_made_bundle), ArraySource(small_clip(5)), [JsonLinesSink(fifo)], on_result=after)
    thread.join(60)
    assert [json.loads(row)["frame"] for row in rows] == list(range(5))
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_rows_on_standard_output_are_alone_there(
    hand_made_bundle: Path, tmp_path: Path, lsts_edge_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    clip = write_video(tmp_path / "clip.mp4", small_clip(4))
    done = lsts_edge_command("run", hand_made_bundle, clip, "--output-json", "-")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["frame"] for line in done.stdout.splitlines()] == [0, 1, 2, 3]
    assert "4 frames" in done.stderr


class _FullAtTheEnd(VideoSink):
    """A video whose last bytes find no space; everything before is the real sink."""

    def finish(self) -> None:
        super().finish()
        raise FileUnwritable("cannot write", got="No space left", expected="space", fix="Free some.")


def test_outputs_appear_together_or_not_at_all(hand_made_bundle: Path, tmp_path: Path) -> None:
    rows = tmp_path / "out.jsonl"
    rows.write_text("older result")
    outputs = [JsonLinesSink(rows), _FullAtTheEnd(tmp_path / "out.mp4")]
    with pytest.raises(FileUnwritable, match="No space left"):
        run_stream(Detector(hand_made_bundle), ArraySource(small_clip(3)), outputs)
    assert rows.read_text() == "older result"
    assert sorted(os.listdir(tmp_path)) == ["bundle", "out.jsonl"]


@pytest.mark.parametrize("older", ["older result", None])
@pytest.mark.parametrize("links", [True, False])
def test_a_name_that_cannot_be_given_takes_the_others_back(
    hand_made_bundle: Path, tmp_path: Path, older: str | None, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second name has become a directory during the run; the first one has been given by then."""
    rows, video = tmp_path / "out.jsonl", tmp_path / "out.mp4"
    if older is not None:
        rows.write_text(older)
    if not links:  # as on a memory card's file system
        monkeypatch.setattr(os, "link", _no_links)
    outputs = [JsonLinesSink(rows), VideoSink(video)]
    with pytest.raises(FileUnwritable, match=r"(?i)directory"):
        run_stream(
            Detector(hand_made_bundle),
            ArraySource(small_clip(3)),
            outputs,
            on_result=lambda frame, _: video.mkdir() if frame.index == 2 else None,
        )
    assert (rows.read_text() if rows.exists() else None) == older
    assert sorted(os.listdir(tmp_path)) == ["bundle", *(["out.jsonl"] if older else []), "out.mp4"]


def _no_links(*_: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def test_older_files_go_when_the_new_ones_are_there(hand_made_bundle: Path, tmp_path: Path) -> None:
    paths = [tmp_path / "out.jsonl", tmp_path / "out.mp4"]
    for path in paths:
        path.write_text("older result")
    run_stream(Detector(hand_made_bundle), ArraySource(small_clip(3)), [JsonLinesSink(paths[0]), VideoSink(paths[1])])
    assert all(path.read_bytes() != b"older result" for path in paths)
    assert sorted(os.listdir(tmp_path)) == ["bundle", "out.jsonl", "out.mp4"]


def test_an_older_file_whose_keeper_died_is_put_back_or_removed(tmp_path: Path) -> None:
    """Killed between two names; without hard links the older file had none for a moment."""
    for name, there in (("with.jsonl", True), ("without.jsonl", False)):
        (tmp_path / f".{name}.older-{'0' * 16}").write_text("older result")
        if there:
            (tmp_path / name).write_text("newer result")
    JsonLinesSink(tmp_path / "other.jsonl")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "with.jsonl": "newer result",
        "without.jsonl": "older result",
    }


def test_two_runs_into_one_path_do_not_mix(tmp_path: Path) -> None:
    """Even with one process number, as in two containers: here it is the same process."""
    first, second = JsonLinesSink(tmp_path / "out.jsonl"), JsonLinesSink(tmp_path / "out.jsonl")
    assert first._target is not None and second._target is not None
    assert first._target.create() != second._target.create()
    first.abandon()
    second.finish()
    second.publish()
    assert os.listdir(tmp_path) == ["out.jsonl"]


@pytest.mark.parametrize("pause_s", [1.5, pytest.param(12, marks=pytest.mark.slow)])
def test_a_pause_in_a_pipe_is_no_fault(hand_made_bundle: Path, tmp_path: Path, root: Path, pause_s: float) -> None:
    """Far longer than a read waits at a time; 12 s are longer than any wait for a network."""
    content = write_video(tmp_path / "clip.ts", small_clip(60)).read_bytes()
    fifo, rows = tmp_path / "pipe", tmp_path / "out.jsonl"
    os.mkfifo(fifo)
    code = (
        "import sys, time\nwith open(sys.argv[1], 'wb') as pipe, open(sys.argv[2], 'rb') as clip:\n"
        f"    pipe.write(clip.read({len(content) // 2}))\n    pipe.flush()\n"
        f"    time.sleep({pause_s})\n    pipe.write(clip.read())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(fifo), str(tmp_path / "clip.ts")]):
        words = [sys.executable, "-m", "lsts_edge", "run", str(hand_made_bundle), str(fifo), "--output-json", str(rows)]
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=200, env={**os.environ, "PYTHONPATH": str(root)}
        )
    assert done.returncode == 0, done.stderr
    assert len(rows.read_text().splitlines()) == 60
