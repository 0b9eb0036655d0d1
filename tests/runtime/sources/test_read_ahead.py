"""A file read ahead in a thread: the same frames, counts and rows as without, bounded, and no thread is left."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from threads import left_running

from lsts_edge.errors import OptionError, StateError, StreamEmpty, StreamUnreadable
from lsts_edge.runtime import Detector, Frame, Source, open_source
from lsts_edge.runtime.loop import run_stream
from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from lsts_edge.runtime.sources.arrays import ArraySource
from lsts_edge.runtime.sources.options import SourceOptions
from lsts_edge.runtime.sources.read_ahead import ReadAhead
from videos import small_clip, write_video

_HANG_S = 60.0


class _Counted(Source):
    """Gives pictures and loses a packet before each; notes how far ahead of its consumer it gets.

    Attributes:
        taken: frames that the consumer has, as it says itself.
        ahead: the most that were given and not taken.
        reached: set once ``awaited`` frames were given.
    """

    def __init__(self, count: int, *, side_px: int = 8, awaited: int = 0, error: Exception | None = None) -> None:
        self.name, self._count, self._side_px, self._error = "counted", count, side_px, error
        self.taken = self.ahead = 0
        self._awaited, self.reached = awaited, threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._count):
            self.lost += 1
            self.ahead = max(self.ahead, index + 1 - self.taken)
            if index + 1 == self._awaited:
                self.reached.set()
            yield Frame(np.zeros((self._side_px, self._side_px, 3), np.uint8), index, index / 25, lost_before=1)
        self.lost += 1
        if self._error is not None:
            raise self._error


def _damaged_clip(folder: Path) -> Path:
    path = write_video(folder / "clip.ts", small_clip(60))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(400)
    path.write_bytes(content)
    return path


def test_frames_and_rows_are_those_of_a_file_that_is_not_read_ahead(hand_made_bundle: Path, tmp_path: Path) -> None:
    clip = _damaged_clip(tmp_path)
    frames: list[list[Frame]] = []
    rows, counts = [], []
    for depth in (0, 1, 4):
        options, sink = SourceOptions(read_ahead=depth), JsonLinesSink(tmp_path / f"{depth}.jsonl")
        with open_source(clip, options) as source:
            frames.append(list(source))
        summary = run_stream(Detector(hand_made_bundle), open_source(clip, options), [sink])
        counts.append((summary.frames, summary.damaged, summary.lost, summary.kinds, summary.resets, summary.video_s))
        rows.append((tmp_path / f"{depth}.jsonl").read_bytes())
    assert any(frame.damaged for frame in frames[0]) and len(frames[0]) > 40
    for other in frames[1:]:
        assert all(np.array_equal(a.image, b.image) for a, b in zip(frames[0], other, strict=True))
        assert [_told(a) for a in other] == [_told(a) for a in frames[0]]
    assert rows[0] == rows[1] == rows[2]
    assert counts[0] == counts[1] == counts[2]


def _told(frame: Frame) -> dict[str, object]:
    return {key: value for key, value in dataclasses.asdict(frame).items() if key not in ("image", "decode_ms")}


def test_a_file_is_read_ahead_where_it_is_asked_for(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", small_clip(10))
    with open_source(clip, SourceOptions(read_ahead=4)) as ahead, open_source(clip) as serial:
        assert isinstance(ahead, ReadAhead) and not isinstance(serial, ReadAhead)
        for name in ("name", "rate_fps", "frame_count", "skipped", "live", "facts"):
            assert getattr(ahead, name) == getattr(serial, name)


@pytest.mark.parametrize(("side_px", "waiting"), [(8, 3), (4096, 1)])
def test_it_goes_on_beside_the_consumer_and_only_so_far(side_px: int, waiting: int) -> None:
    """While the first frame is worked on the others come; of 48 MiB each only one waits."""
    inner = _Counted(40, side_px=side_px, awaited=1 + waiting)
    with ReadAhead(inner, depth=3) as source:
        for frame in source:
            inner.taken += 1
            assert frame.index == inner.taken - 1
            assert inner.reached.wait(_HANG_S)
    assert inner.taken == 40
    assert waiting < inner.ahead <= waiting + 2  # one more in the reader's hand, one that the consumer has not counted


def test_an_error_comes_behind_the_last_frame_and_nothing_is_told_before_its_time() -> None:
    error = StreamUnreadable("camera", got="gone", expected="here", fix="Look.")
    inner = _Counted(3, awaited=3, error=error)
    lost = []
    with pytest.raises(StreamUnreadable, match="gone"), ReadAhead(inner) as source:
        for _ in source:
            assert inner.reached.wait(_HANG_S)
            assert left_running("reader of counted") == []  # the error has been raised there
            lost.append(source.lost)
    assert lost == [1, 2, 3] and source.lost == 4


def test_a_source_without_a_frame_says_so() -> None:
    with pytest.raises(StreamEmpty), ReadAhead(ArraySource([])) as source:
        list(source)


@pytest.mark.parametrize("how", ["close", "break", "error", "stop", "never begun"])
def test_whoever_leaves_early_leaves_no_thread(how: str) -> None:
    inner = _Counted(10**9)
    source = ReadAhead(inner)
    if how == "close":
        frames = iter(source)
        next(frames)
        source.close()
    elif how == "break":
        for _ in source:
            break
    elif how == "error":
        with pytest.raises(RuntimeError, match="planted"), source:
            for _ in source:
                raise RuntimeError("planted")
    elif how == "stop":
        for _ in source:
            source.stop()
    else:
        source.close()
    assert left_running("reader of counted") == []
    assert inner.closed


def test_it_is_read_once() -> None:
    source = ReadAhead(ArraySource(small_clip(2)))
    assert len(list(source)) == 2
    with pytest.raises(StateError, match="a second iteration"):
        list(source)


@pytest.mark.parametrize(("source", "options"), [("csi://0", {}), ("clip.mp4", {"policy": "latest"})])
def test_it_is_refused_where_it_does_not_apply(tmp_path: Path, source: str, options: dict[str, str]) -> None:
    path = source if "://" in source else write_video(tmp_path / source, small_clip(2))
    with pytest.raises(OptionError, match="read_ahead"):
        open_source(path, SourceOptions(read_ahead=2, **options))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="read_ahead"):
        SourceOptions(read_ahead=-1)
