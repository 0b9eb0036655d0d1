"""Clocks that are set while a camera runs, the machine's or its own: rows, schedule and connection stay the same."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from byte_server import byte_server

from lsts_edge.errors import StreamLost
from lsts_edge.runtime import Detections, Detector, Frame, open_source
from lsts_edge.runtime.loop import run_stream
from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from lsts_edge.runtime.sinks.video import VideoSink
from lsts_edge.runtime.sources import SourceOptions
from lsts_edge.runtime.sources.interface import Source
from lsts_edge.runtime.sources.reconnecting import Reconnecting
from videos import read_pictures, small_clip, write_video

_HOUR_S = 3600.0
_FRAMES = 60
_PICTURES = small_clip(_FRAMES)
_CLOCKS: dict[str, Callable[[int], float | None]] = {
    "right": lambda index: index / 25,
    "forward": lambda index: index / 25 + _HOUR_S * (index >= 20),
    "back": lambda index: index / 25 - _HOUR_S * (index >= 20),
    "to and fro": lambda index: index / 25 + _HOUR_S * (-1) ** index,
    "each stamp twice": lambda index: index // 2 / 12.5,
    "standing": lambda index: 7.0,
    "too fast": lambda index: index * 0.4,
    "none": lambda index: None,
    "now and then": lambda index: index / 25 if index % 3 else None,
}


class _Camera(Source):
    """25 pictures a second by the monotonic clock, whatever its own clock says; then it is gone."""

    live = True

    def __init__(self, stamp: Callable[[int], float | None]) -> None:
        self._stamp = stamp

    def __iter__(self) -> Iterator[Frame]:
        for index, picture in enumerate(_PICTURES):
            yield Frame(picture, index, self._stamp(index), arrived_s=1000.0 + index / 25)


def _run(bundle: Path, folder: Path, stamp: Callable[[int], float | None]) -> list[dict[str, object]]:
    folder.mkdir()
    outputs = [JsonLinesSink(folder / "out.jsonl"), VideoSink(folder / "out.mp4")]
    source = Reconnecting(lambda _: _Camera(stamp), name="camera", give_up_s=0)
    with pytest.raises(StreamLost):
        run_stream(Detector(bundle, keyframe_interval=7), source, outputs)
    assert len(read_pictures(folder / "out.mp4")) == _FRAMES
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("clock", _CLOCKS)
def test_a_cameras_clock_changes_neither_schedule_nor_connection(
    hand_made_bundle: Path, tmp_path: Path, clock: str
) -> None:
    rows = _run(hand_made_bundle, tmp_path / "out", _CLOCKS[clock])
    times_s = [row["time_s"] for row in rows]
    assert times_s == sorted(times_s) and len(rows) == _FRAMES  # type: ignore[type-var]
    assert abs(float(times_s[-1]) - (_FRAMES - 1) / 25) < 5.0  # type: ignore[arg-type]
    kinds = ["first", *("propagated" if index % 7 else "keyframe" for index in range(1, _FRAMES))]
    assert [row["kind"] for row in rows] == kinds
    assert not any(row.get("reset") or row.get("reconnects") for row in rows)


def test_the_machines_clock_is_not_asked(
    hand_made_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _run(hand_made_bundle, tmp_path / "before", _CLOCKS["none"])
    steps_s = itertools.cycle([_HOUR_S, -_HOUR_S, 0.0])
    now, now_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: now() + next(steps_s))
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + int(next(steps_s) * 1e9))
    assert _run(hand_made_bundle, tmp_path / "set", _CLOCKS["none"]) == expected


def test_a_stream_whose_stamps_jump_by_an_hour_is_read_on(hand_made_bundle: Path, tmp_path: Path) -> None:
    """The same with real packets: three stretches of MPEG-TS, the second an hour late."""
    content, clip = b"", small_clip(150)
    for number, offset_s in enumerate((0.0, _HOUR_S, 2.0)):
        times_s = [offset_s + index / 25 for index in range(50)]
        part = clip[50 * number : 50 * number + 50]
        content += write_video(tmp_path / f"{number}.ts", part, times_s=times_s).read_bytes()
    found: list[tuple[Frame, Detections]] = []
    options = SourceOptions(policy="every", reconnect="never", stall_s=2.0)
    with byte_server(content, "close") as (url, _), pytest.raises(StreamLost):
        for frame, result in Detector(hand_made_bundle).run(open_source(url, options)):
            found.append((frame, result))
    times_s = [frame.time_s for frame, _ in found]
    assert len(times_s) == 150
    assert times_s == sorted(times_s)  # type: ignore[type-var]
    assert found[-1][0].reconnects == 0
    # The packets are counted anew in each stretch: what FFmpeg takes for lost packets is told, and no time gap.
    assert {result.reset_reason for _, result in found} <= {None, "decode-error"}
