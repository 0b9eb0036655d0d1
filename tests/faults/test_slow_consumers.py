"""A slow consumer costs a live source frames and a file nothing, never memory; one signal ends its run all the same."""

from __future__ import annotations

import fcntl
import gc
import json
import os
import select
import signal
import sys
import termios
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cameras import Camera
from running import start_program

from lsts_edge.errors import FileUnwritable
from lsts_edge.runtime import Detector, Frame, open_source
from lsts_edge.runtime.loop import RunSummary, run_stream
from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from lsts_edge.runtime.sinks.video import VideoSink
from lsts_edge.runtime.sources.arrays import ArraySource
from lsts_edge.runtime.sources.drop_oldest import DropOldest
from lsts_edge.runtime.sources.interface import Source
from videos import read_pictures, small_clip, write_video

_HANG_S = 60.0
_DEPTH = 2
_PAGE_BYTES = 4096


class _Reader:
    """A FIFO of two pages whose reader takes nothing before ``go_on``."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path, self.rows, self.content = path, list[str](), b""
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, 2 * _PAGE_BYTES)  # type: ignore[attr-defined]

    def is_full(self) -> bool:
        """Whether its last page has been begun: its writer waits."""
        waiting = int.from_bytes(fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)), sys.byteorder)
        return waiting > _PAGE_BYTES

    def has_some(self) -> bool:
        """Whether anything has come."""
        return bool(select.select([self._fd], [], [], 0)[0])

    def go_on(self) -> None:
        """Read to the end."""
        os.set_blocking(self._fd, True)
        with open(self._fd, "rb") as pipe:
            self.content = pipe.read()
        self.rows = self.content.decode(errors="replace").splitlines()

    def leave(self) -> None:
        """Close it."""
        os.close(self._fd)


def _noise(frames: int) -> list[np.ndarray]:
    """Pictures that a video needs many bytes for."""
    source = np.random.RandomState(0)
    return [source.randint(0, 256, (96, 128, 3), np.uint8) for _ in range(frames)]


def _when(what: Callable[[], bool], then: Callable[[], object]) -> threading.Thread:
    def wait() -> None:
        end_s = time.monotonic() + _HANG_S
        while not what() and time.monotonic() < end_s:
            time.sleep(0.01)
        then()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_reader_that_stops_costs_a_live_source_frames_and_no_memory(hand_made_bundle: Path, tmp_path: Path) -> None:
    reader = _Reader(tmp_path / "rows")
    summary, held = RunSummary(), list[int]()
    with Camera("mjpeg").start() as camera:
        source = open_source(camera.url)

        def stood_still() -> None:
            held.append(sum(isinstance(one, Frame) for one in gc.get_objects()))
            reader.go_on()

        thread = _when(lambda: source.dropped >= 25, stood_still)
        more_after = [0]

        def on_result(frame: Frame, _: object) -> None:
            more_after[0] += bool(held)
            if more_after[0] == 20:
                source.stop()

        sinks = [JsonLinesSink(reader.path)]
        run_stream(Detector(hand_made_bundle), source, sinks, on_result=on_result, summary=summary)
        thread.join()
    assert [json.loads(row)["frame"] for row in reader.rows] == list(range(summary.frames))
    assert summary.dropped >= 25
    # Two wait, one is being read, one handed over, one written; the loop names the one before.
    assert held[0] <= _DEPTH + 7  # two are copied while one is dropped


def test_a_reader_that_stops_costs_a_file_nothing(hand_made_bundle: Path, tmp_path: Path) -> None:
    reader = _Reader(tmp_path / "rows")
    thread = _when(reader.is_full, reader.go_on)
    summary = run_stream(Detector(hand_made_bundle), ArraySource(small_clip(200)), [JsonLinesSink(reader.path)])
    thread.join()
    assert [json.loads(row)["frame"] for row in reader.rows] == list(range(200))
    assert (summary.frames, summary.dropped) == (200, 0)


def test_one_signal_ends_a_run_whose_reader_stands_still(hand_made_bundle: Path, tmp_path: Path) -> None:
    reader = _Reader(tmp_path / "rows")
    clip = write_video(tmp_path / "clip.ts", small_clip(200))
    outputs = ("--output-json", reader.path, "--output-video", tmp_path / "out.mp4")
    with start_program("run", hand_made_bundle, clip, *outputs) as process:
        _when(reader.is_full, lambda: process.send_signal(signal.SIGTERM)).join()
        out, err = process.communicate(timeout=_HANG_S)
    reader.go_on()
    rows = [json.loads(row) for row in reader.rows]
    assert process.returncode == 128 + signal.SIGTERM, err
    assert 0 < len(rows) < 200 and [row["frame"] for row in rows] == list(range(len(rows)))
    pictures = len(read_pictures(tmp_path / "out.mp4"))
    assert f"rows left out: {pictures - len(rows)}" in err or pictures == len(rows)
    assert out.splitlines()[-1].startswith(f"stopped: {pictures} frames")


def test_one_signal_ends_a_run_whose_videos_reader_stands_still(hand_made_bundle: Path, tmp_path: Path) -> None:
    reader = _Reader(tmp_path / "out.mkv")
    clip = write_video(tmp_path / "clip.ts", _noise(200))
    outputs = ("--output-video", reader.path, "--output-json", tmp_path / "out.jsonl")
    with start_program("run", hand_made_bundle, clip, *outputs) as process:
        _when(reader.is_full, lambda: process.send_signal(signal.SIGTERM)).join()
        out, err = process.communicate(timeout=_HANG_S)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "nobody read on; the end of the video is left out: " in err
    rows = len((tmp_path / "out.jsonl").read_text().splitlines())
    assert rows > 0 and out.splitlines()[-1].startswith(f"stopped: {rows} frames")


def test_a_video_that_nobody_reads_does_not_hold_up_the_end(
    hand_made_bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A FIFO without a reader: the first frame waits for one."""
    pipe, rows = tmp_path / "out.mkv", _Reader(tmp_path / "rows")
    os.mkfifo(pipe)
    source = ArraySource(small_clip(5))
    thread = _when(rows.has_some, source.stop)
    summary = run_stream(Detector(hand_made_bundle), source, [JsonLinesSink(rows.path), VideoSink(pipe)])
    thread.join()
    assert (summary.frames, summary.stopped) == (1, True)
    assert "the end of the video is left out: " in caplog.text


def test_a_video_in_a_pipe_is_whole_and_its_reader_may_be_slow(hand_made_bundle: Path, tmp_path: Path) -> None:
    reader = _Reader(tmp_path / "out.mkv")
    thread = _when(reader.is_full, reader.go_on)
    run_stream(Detector(hand_made_bundle), ArraySource(_noise(30)), [VideoSink(reader.path)])
    thread.join()
    copy = tmp_path / "copy.mkv"
    copy.write_bytes(reader.content)
    assert len(read_pictures(copy)) == 30


def test_a_run_that_fails_does_not_wait_for_the_reader_of_its_video(hand_made_bundle: Path, tmp_path: Path) -> None:
    reader = _Reader(tmp_path / "out.mp4")

    def fail(frame: Frame, _: object) -> None:
        if frame.index == 80:  # the fragment under way is more than the pipe takes
            raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        run_stream(Detector(hand_made_bundle), ArraySource(_noise(90)), [VideoSink(reader.path)], on_result=fail)


def test_a_video_whose_reader_is_gone_is_an_error(hand_made_bundle: Path, tmp_path: Path) -> None:
    reader = _Reader(tmp_path / "out.mkv")
    with pytest.raises(FileUnwritable, match="Broken pipe"):
        run_stream(
            Detector(hand_made_bundle),
            ArraySource(_noise(200)),
            [VideoSink(reader.path)],
            on_result=lambda frame, _: reader.leave() if frame.index == 2 else None,
        )


def test_a_reader_that_is_gone_ends_the_run_with_an_error(hand_made_bundle: Path, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.ts", small_clip(400))
    outputs = ("--output-json", "-", "--output-video", tmp_path / "out.mp4")
    with start_program("run", hand_made_bundle, clip, *outputs) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(_HANG_S) == 1
    assert err.startswith("error[file-unwritable]: cannot write to standard output: got Broken pipe")
    assert not (tmp_path / "out.mp4").exists()


class _Paced(Source):
    """Numbered frames, each given when its time has come by a clock that the consumer turns on.

    Attributes:
        produced: frames given so far.
        held: their pictures that somebody still holds.
    """

    def __init__(self, count: int) -> None:
        self.name, self._count = "camera", count
        self._due, self._turn, self._done = 0, threading.Semaphore(0), threading.Semaphore(0)
        self.produced = self.held = 0

    def turn_to(self, due: int) -> None:
        """Let it give so many frames in all, and wait until it has."""
        self._due = due
        self._turn.release()
        assert self._done.acquire(timeout=_HANG_S)

    def __iter__(self) -> Iterator[Frame]:
        assert self._turn.acquire(timeout=_HANG_S)
        for index in range(self._count):
            while index >= self._due:
                self._done.release()
                assert self._turn.acquire(timeout=_HANG_S)
            image = np.zeros((2, 2, 3), np.uint8)
            weakref.finalize(image, self._let_go)
            self.produced, self.held = index + 1, self.held + 1
            yield Frame(image, index, index / 25)
        self._done.release()

    def _let_go(self) -> None:
        self.held -= 1


@pytest.mark.parametrize("minutes", [1, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("tenths", range(1, 11))
def test_a_consumer_at_a_part_of_real_time_gets_the_newest_frames(tenths: int, minutes: int) -> None:
    """At 0.1x to 1x of 25 frames a second, step by step: each frame is new, the counts add up, nothing piles up."""
    count = minutes * 60 * 25
    camera = _Paced(count)
    ages, held = [], []
    with DropOldest(camera, _DEPTH) as source:
        frames = iter(source)
        starter = threading.Thread(target=camera.turn_to, args=(1,))  # the first one starts the thread that reads
        starter.start()
        next(frames)
        starter.join()
        for take in range(2, count * tenths // 10 + 1):
            camera.turn_to(take * 10 // tenths)
            frame = next(frames)
            ages.append(camera.produced - round((frame.time_s or 0.0) * 25))
            held.append(camera.held)
        delivered = 1 + len(ages) + sum(1 for _ in frames)
    assert max(ages) <= _DEPTH  # of a frame's time, and a consumer takes at least that: less than (depth + 1) x its own
    assert max(held) <= _DEPTH + 3  # those that wait, one here, one being given, one before it
    assert delivered + source.dropped == count
