"""A slow consumer costs a live source frames and a file nothing, never memory; one signal ends its run all the same."""

from __future__ import annotations

import fcntl
import gc
import json
import os
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cameras import Camera
from running import start_program

from lsts_edge.runtime import Detector, Frame, open_source
from lsts_edge.runtime.loop import RunSummary, run_stream
from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
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
        self.path, self.rows = path, list[str]()
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, 2 * _PAGE_BYTES)  # type: ignore[attr-defined]

    def is_full(self) -> bool:
        """Whether its last page has been begun: its writer waits."""
        waiting = int.from_bytes(fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)), sys.byteorder)
        return waiting > _PAGE_BYTES

    def go_on(self) -> None:
        """Read to the end."""
        os.set_blocking(self._fd, True)
        with open(self._fd) as lines:
            self.rows += lines


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
    assert held[0] <= _DEPTH + 6


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
    """Gives ``per_take`` numbered frames, and so many again each time that the consumer asks."""

    def __init__(self, count: int, per_take: int) -> None:
        self.name, self._count, self._per_take = "camera", count, per_take
        self.asked, self.given, self.produced = threading.Semaphore(0), threading.Semaphore(0), 0

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._count):
            if index and index % self._per_take == 0:
                self.given.release()
                assert self.asked.acquire(timeout=_HANG_S)
            self.produced = index + 1
            yield Frame(np.zeros((2, 2, 3), np.uint8), index, index / 25)
        self.given.release()


@pytest.mark.parametrize("per_take", [1, 2, 5, 10])
def test_a_consumer_at_a_part_of_real_time_gets_the_newest_frames(per_take: int) -> None:
    """At 1x to 0.1x of real time: a frame is never older than the queue is deep, and the counts add up exactly."""
    camera = _Paced(300, per_take)
    delivered, ages = 1, []
    with DropOldest(camera, _DEPTH) as source:
        frames = iter(source)
        next(frames)  # its thread starts
        assert camera.given.acquire(timeout=_HANG_S)
        for _ in range(300 // per_take - 1):
            camera.asked.release()
            assert camera.given.acquire(timeout=_HANG_S)
            frame = next(frames)
            ages.append(camera.produced - round((frame.time_s or 0.0) * 25))
            delivered += 1
        delivered += sum(1 for _ in frames)
    assert max(ages) <= _DEPTH
    assert delivered + source.dropped == 300
