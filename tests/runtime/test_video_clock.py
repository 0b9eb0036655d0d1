"""Times of frames whose stamps repeat, are missing, run backwards, jump or are none."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsts_edge.errors import OptionError
from lsts_edge.runtime import Detector, Frame, Source, open_source
from lsts_edge.runtime.loop import run_stream
from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from lsts_edge.runtime.sinks.video import VideoSink
from lsts_edge.runtime.video_clock import VideoClock
from videos import small_clip

STEP_S = 0.04
PICTURE = np.zeros((96, 128, 3), np.uint8)


def placed(stamps: list[float | None]) -> tuple[list[float], float]:
    clock = VideoClock(STEP_S)
    return [round(clock.advance(stamp), 6) for stamp in stamps], round(clock.length_s, 6)


@pytest.mark.parametrize(
    ("what", "stamps", "times_s"),
    [
        ("even", [5.0, 5.04, 5.08], [0, 0.04, 0.08]),
        ("each twice", [0, 0, 0.08, 0.08, 0.16, 0.16], [0, 0.04, 0.08, 0.12, 0.16, 0.2]),
        ("one repeated by rounding", [0, 0.04, 0.04, 0.08, 0.12, 0.16], [0, 0.04, 0.08, 0.081, 0.12, 0.16]),
        ("neighbours in disorder", [0, 0.08, 0.04, 0.12], [0, 0.08, 0.081, 0.12]),
        ("some missing", [0, None, 0.08, None, None, 0.2], [0, 0.04, 0.08, 0.12, 0.16, 0.2]),
        ("all missing", [None, None, None], [0, 0.04, 0.08]),
        ("the first missing", [None, 7.0, 7.1], [0, 0.04, 0.14]),
        ("a pause that is kept", [0, 9.0, 9.04], [0, 9.0, 9.04]),
        ("a pause that is not", [0, 11.0, 11.04], [0, 0.04, 0.08]),
        ("a clock set back", [100.0, 100.04, 3.0, 3.04], [0, 0.04, 0.08, 0.12]),
    ],
)
def test_where_frames_lie(what: str, stamps: list[float | None], times_s: list[float]) -> None:
    assert placed(stamps) == (times_s, round(times_s[-1] + STEP_S, 6)), what


def test_a_clock_that_stands_still_does_not_stop_the_video() -> None:
    times_s, _ = placed([0.0] * 200 + [STEP_S * index for index in range(1, 61)])
    steps_s = np.diff(times_s)
    assert steps_s[:199] == pytest.approx(np.full(199, STEP_S))
    assert steps_s[-30:] == pytest.approx(np.full(30, STEP_S)), "what was guessed is made good within a second"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.floats(-20, 20), min_size=1))
def test_time_always_goes_on_and_never_leaps(stamps: list[float | None]) -> None:
    clock = VideoClock(STEP_S)
    times_s = [clock.advance(stamp) for stamp in stamps]
    steps_s = np.diff(times_s)
    assert times_s[0] == 0 and (steps_s > 0).all() and (steps_s <= 10.001).all()


def doubled(path: Path) -> Path:
    """30 frames of 40 ms whose stamps come twice each, as from cameras with non-monotonous clocks."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for index, picture in enumerate(small_clip(30, 48, 64)):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index // 2 * 80, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_video_of_repeated_stamps_keeps_its_length(tmp_path: Path, hand_made_bundle: Path, suffix: str) -> None:
    path, output, rows = doubled(tmp_path / "doubled.mkv"), tmp_path / f"out{suffix}", tmp_path / "rows.jsonl"
    with Detector(hand_made_bundle) as detector, open_source(path) as source:
        summary = run_stream(detector, source, [VideoSink(output, rate_fps=source.rate_fps), JsonLinesSink(rows)])
    assert summary.video_s == pytest.approx(1.2)
    assert summary.resets == {}, "an equal stamp is no step back"
    with av.open(str(output)) as container:
        assert container.duration / av.time_base == pytest.approx(1.2, abs=2e-3)
    stamps = [json.loads(line)["time_s"] for line in rows.read_text().splitlines()]
    assert stamps == pytest.approx([index // 2 * 0.08 for index in range(30)]), "rows tell the source's own"


class _Stamped(Source):
    def __init__(self, stamps: list[float | None]) -> None:
        self.name, self._stamps = "stamped", stamps

    def __iter__(self) -> Iterator[Frame]:
        for index, stamp in enumerate(self._stamps):
            yield Frame(PICTURE, index, stamp)


def test_stamps_of_a_source_that_are_not_finite_count_as_missing(tmp_path: Path, hand_made_bundle: Path) -> None:
    rows, video = tmp_path / "rows.jsonl", tmp_path / "out.mp4"
    stamps = [0.0, math.nan, math.inf, -math.inf, None, np.float32("nan"), np.float32(0.24)]
    with Detector(hand_made_bundle) as detector:
        summary = run_stream(detector, _Stamped(stamps), [JsonLinesSink(rows), VideoSink(video)])
    told = [json.loads(line, parse_constant=pytest.fail)["time_s"] for line in rows.read_text().splitlines()]
    assert told == [0.0, None, None, None, None, None, 0.24]
    assert summary.video_s == pytest.approx(0.28) and summary.resets == {}


@pytest.mark.parametrize(
    "stamp", [0, 1, np.float32(1), np.float64(1), np.int64(1), np.uint8(1), Fraction(1, 3), Decimal("0.1"), 1e308, None]
)
def test_any_finite_number_is_a_time_stamp(hand_made_bundle: Path, stamp: object) -> None:
    with Detector(hand_made_bundle) as detector:
        row = detector.push(PICTURE, stamp).to_row()  # type: ignore[arg-type]
        assert json.loads(json.dumps(row, allow_nan=False))["time_s"] == (
            None if stamp is None else pytest.approx(float(stamp))  # type: ignore[arg-type]
        )


@pytest.mark.parametrize(
    "stamp",
    [
        *("0.04", b"0.04", True, [], {}, object(), 1j, datetime.datetime(2026, 1, 1), datetime.timedelta(0)),
        *(math.nan, math.inf, -math.inf, np.float32("nan"), Decimal("nan"), Decimal("sNaN"), 10**400),
        *(np.datetime64("2026"), np.array([0.04]), np.array(0.04)),
    ],
    ids=repr,
)
def test_another_time_stamp_is_refused_and_nothing_changes(hand_made_bundle: Path, stamp: object) -> None:
    clip = small_clip(4)
    with Detector(hand_made_bundle) as detector, Detector(hand_made_bundle) as undisturbed:
        for index, picture in enumerate(clip):
            with pytest.raises(OptionError, match="finite seconds, or None"):
                detector.push(picture, stamp)  # type: ignore[arg-type]
            got, expected = detector.push(picture, 0.04 * index), undisturbed.push(picture, 0.04 * index)
            assert got.to_row() == expected.to_row()


def test_a_row_is_json_whatever_the_numbers_are_of(hand_made_bundle: Path) -> None:
    with Detector(hand_made_bundle) as detector:
        found = detector.push(PICTURE, 0.04)
    odd = dataclasses.replace(found, time_s=np.float32(0.04), frame=np.int64(3), feature_age=np.int32(0))
    json.dumps(odd.to_row(), allow_nan=False)
