"""A signal, or an error, ends a run within two seconds of waiting, whoever is silent: counted, not timed.

What comes on top is work: the frame under way and what the encoder still holds.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from threads import left_running
from waits import Waits

from lsts_edge.errors import StreamError
from lsts_edge.runtime import Detector, Frame, open_source
from lsts_edge.runtime.interrupts import StopOnSignal
from lsts_edge.runtime.loop import run_stream
from lsts_edge.runtime.sinks.interface import Sink
from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from lsts_edge.runtime.sinks.video import VideoSink
from lsts_edge.runtime.sources.arrays import ArraySource
from lsts_edge.runtime.sources.drop_oldest import DropOldest
from lsts_edge.runtime.sources.interface import Source
from lsts_edge.runtime.sources.options import SourceOptions
from lsts_edge.runtime.sources.reconnecting import Reconnecting
from videos import read_pictures, small_clip, write_video

_LIMIT_S = 2.0
_FRAMES = 5


def _term() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


class _Stuck(Source):
    """A camera whose driver does not return after some frames, whatever it is told, before ``free``."""

    live = True

    def __init__(self) -> None:
        self.name, self.reached, self.free = "camera", threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        for index, picture in enumerate(small_clip(_FRAMES)):
            yield Frame(picture, index, index / 25)
        self.reached.set()
        self.free.wait()


class _Gone(Source):
    """A camera that breaks off after some frames, and is not there again."""

    live = True

    def __iter__(self) -> Iterator[Frame]:
        for index, picture in enumerate(small_clip(_FRAMES)):
            yield Frame(picture, index, index / 25)
        raise StreamError("broke off", got="nothing", expected="frames", fix="Wait.")


def _gone(tries: int) -> Source:
    if tries:
        raise StreamError("not there", got="nothing", expected="a camera", fix="Wait.")
    return _Gone()


def _run(bundle: Path, folder: Path, source: Source, *sinks: Sink) -> int:
    """Until SIGTERM; the outputs are complete. Returns the number of rows."""
    outputs = [JsonLinesSink(folder / "out.jsonl"), VideoSink(folder / "out.mp4"), *sinks]
    with StopOnSignal(source) as signals:
        summary = run_stream(Detector(bundle), source, outputs)
    assert signals.received == signal.SIGTERM and summary.stopped
    rows = len((folder / "out.jsonl").read_text().splitlines())
    assert len(read_pictures(folder / "out.mp4")) == rows == summary.frames
    return rows


@pytest.mark.parametrize(("read_ahead", "most_s"), [(0, 0.0), (4, _LIMIT_S)])
def test_a_signal_between_two_frames_of_a_file(
    hand_made_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_ahead: int, most_s: float
) -> None:
    """It comes while the fifth frame is under way: no other is begun, nothing but the reading thread is waited for."""
    waits = Waits(monkeypatch)

    class Interrupted(Sink):
        def write(self, frame: Frame, detections: object) -> None:
            if frame.index == 4:
                waits.start()
                _term()

        def finish(self) -> None:
            pass

        def abandon(self) -> None:
            pass

    clip = write_video(tmp_path / "clip.ts", small_clip(20))
    source = open_source(clip, SourceOptions(read_ahead=read_ahead))
    assert _run(hand_made_bundle, tmp_path, source, Interrupted()) == 5
    assert waits.granted_s <= most_s


@pytest.mark.parametrize("policy", ["every", "latest"])
@pytest.mark.parametrize("fault", ["stuck", "gone"])
def test_a_signal_while_a_camera_is_silent(
    hand_made_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, policy: str
) -> None:
    waits, stuck = Waits(monkeypatch), _Stuck()
    camera: Source = Reconnecting((lambda _: stuck) if fault == "stuck" else _gone, name="camera")
    lost = threading.Event()
    if fault == "gone":
        monkeypatch.setattr(camera, "_pause", _told(lost, camera._pause))  # type: ignore[attr-defined]
    waits.at_a_wait(stuck.reached.is_set if fault == "stuck" else lost.is_set, _term)
    rows = _run(hand_made_bundle, tmp_path, DropOldest(camera) if policy == "latest" else camera)
    assert 0 < rows <= _FRAMES
    assert 0.0 < waits.granted_s <= _LIMIT_S
    stuck.free.set()
    assert left_running("of camera") == []


def _told(event: threading.Event, real: Callable[..., object]) -> Callable[..., object]:
    def pause(*words: object) -> object:
        event.set()
        return real(*words)

    return pause


def test_a_signal_while_a_pipes_writer_pauses(
    hand_made_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = write_video(tmp_path / "clip.mkv", small_clip(60)).read_bytes()  # its head says all
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 20)  # type: ignore[attr-defined]
    assert os.write(writer, content) == len(content)
    waits = Waits(monkeypatch)
    source = open_source(str(pipe))
    waits.at_a_wait(lambda: any(tmp_path.glob(".out.jsonl.*")) and not _readable(writer), _term)
    assert 0 < _run(hand_made_bundle, tmp_path, source) <= 60
    os.close(writer)
    assert 0.0 < waits.granted_s <= _LIMIT_S


def _readable(fd: int) -> bool:
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder) > 0


@pytest.mark.parametrize("name", ["rows", "film.mkv"])
@pytest.mark.parametrize("reader", ["none", "stands still"])
def test_a_signal_while_nobody_reads(
    hand_made_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reader: str
) -> None:
    pipe = tmp_path / name
    os.mkfifo(pipe)
    held = os.open(pipe, os.O_RDWR) if reader == "stands still" else None
    waits = Waits(monkeypatch)
    began = threading.Event()

    class Watched(ArraySource):
        def __iter__(self) -> Iterator[Frame]:
            began.set()
            yield from super().__iter__()

    full = began.is_set if held is None else lambda: _readable(held) and not _writable(held)
    waits.at_a_wait(full, _term)
    sink = JsonLinesSink(pipe) if name == "rows" else VideoSink(pipe)
    rows = _run(hand_made_bundle, tmp_path, Watched(small_clip(60) * 50), sink)
    assert 0 < rows < 3000
    assert 0.0 < waits.granted_s <= _LIMIT_S
    if held is not None:
        os.close(held)


def _writable(fd: int) -> bool:
    """Asked without ``select``, which is watched."""
    os.set_blocking(fd, False)
    try:
        return os.write(fd, bytes(4096)) < 0  # type: ignore[comparison-overlap]
    except BlockingIOError:
        return False


def test_an_error_of_a_callback_while_the_camera_is_stuck(
    hand_made_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who raises has the error back although the camera's driver never returns."""
    waits, stuck = Waits(monkeypatch), _Stuck()

    def fail(frame: Frame, detections: object) -> None:
        assert stuck.reached.wait(60)
        waits.start()
        raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        run_stream(Detector(hand_made_bundle), DropOldest(Reconnecting(lambda _: stuck, name="camera")), on_result=fail)
    assert 0.0 < waits.granted_s <= _LIMIT_S
    stuck.free.set()
    assert left_running("of camera") == []


def test_a_planted_wait_is_counted(hand_made_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that waits for something else, up to three seconds, without asking whether it is to stop."""
    ended, given = threading.Thread(target=lambda: None), threading.Event()
    ended.start()

    class Slow(ArraySource):
        def __iter__(self) -> Iterator[Frame]:
            yield from super().__iter__()
            given.set()
            ended.join(3.0)

    waits = Waits(monkeypatch)
    waits.at_a_wait(given.is_set, _term)
    _run(hand_made_bundle, tmp_path, Slow(small_clip(3)))
    assert waits.granted_s > _LIMIT_S
