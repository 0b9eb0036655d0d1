"""Schedulers: one object a stream, told of resets and drops, given costs, arrival and signals."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from hand_made import hand_made_files, hand_made_manifest
from lsts_edge.bundle import write_bundle
from lsts_edge.runtime import Detector, Frame, Scheduler
from lsts_edge.runtime.schedulers.interface import Decision, FrameInfo
from lsts_edge.runtime.sources.arrays import ArraySource
from lsts_edge.runtime.sources.interface import Source


def flat(value: int) -> np.ndarray:
    return np.full((64, 96, 3), value, np.uint8)


class Learning(Scheduler):
    """Keeps everything it is told; a keyframe every third frame."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def for_stream(self) -> Learning:
        return Learning()

    def decide(self, info: FrameInfo) -> Decision:
        self.told.append(info)
        return Decision(info.feature_age >= 3, "third")

    def on_reset(self, reason: str) -> None:
        self.told.append(reason)

    def on_drop(self, frames: int) -> None:
        self.told.append(frames)


class Given(Source):
    """Frames as they were made."""

    def __init__(self, *frames: Frame) -> None:
        self._frames = frames

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._frames)


def told(detector: Detector) -> list[object]:
    assert isinstance(detector.scheduler, Learning)
    return detector.scheduler.told


def test_each_stream_has_a_scheduler_of_its_own(hand_made_bundle: Path) -> None:
    policy = Learning()
    first = Detector(hand_made_bundle, scheduler=policy)
    second = first.share()
    for _ in range(3):
        first.push(flat(10))
    second.push(flat(10))
    assert len(told(first)) == 2
    assert told(second) == [] == policy.told


def test_it_is_told_of_resets_and_drops(hand_made_bundle: Path) -> None:
    detector = Detector(hand_made_bundle, scheduler=Learning())
    frames = [Frame(flat(10), 0, 0.0), Frame(flat(10), 1, 0.04, dropped_before=3), Frame(flat(10), 2, 99.0)]
    frames += [Frame(flat(10), 3, 99.04, lost_before=1), Frame(flat(10), 4, 99.08, reconnects=1)]
    results = [found for _, found in detector.run(Given(*frames))]
    assert [found.reset_reason for found in results] == [None, None, "time-gap", "decode-error", "reconnect"]
    assert [what for what in told(detector) if not isinstance(what, FrameInfo)] == [
        *(3, "time-gap", "decode-error", "reconnect")
    ]
    detector.reset("somebody asked")
    detector.reset("again")
    assert told(detector)[-1] == "somebody asked", "there was nothing left to drop"


def test_it_knows_what_frames_cost_and_when_they_came(hand_made_bundle: Path) -> None:
    detector = Detector(hand_made_bundle, scheduler=Learning(), clock=lambda: 50.0)
    frames = [Frame(flat(10), index, arrived_s=40.0 + index if index else None) for index in range(5)]
    results = [found for _, found in detector.run(Given(*frames))]
    infos = [what for what in told(detector) if isinstance(what, FrameInfo)]
    assert [info.arrived_s for info in infos] == [41.0, 42.0, 43.0, 44.0]
    assert {info.now_s for info in infos} == {50.0}
    assert infos[0].propagated_ms is None and infos[0].keyframe_ms is not None
    assert 0 < infos[0].keyframe_ms <= results[0].total_ms
    assert infos[1].propagated_ms is not None and 0 < infos[1].propagated_ms <= results[1].total_ms
    assert infos[1].keyframe_ms == infos[2].keyframe_ms
    assert infos[3].keyframe_ms != infos[2].keyframe_ms, "the third frame was a keyframe"


def test_without_arrival_times_a_frame_arrives_when_it_is_pushed(hand_made_bundle: Path) -> None:
    detector = Detector(hand_made_bundle, scheduler=Learning(), clock=lambda: 7.0)
    list(detector.run(ArraySource([flat(1), flat(2)])))
    (info,) = told(detector)
    assert isinstance(info, FrameInfo) and info.arrived_s == info.now_s == 7.0


def test_signals_go_by_their_meaning(tmp_path: Path) -> None:
    manifest = dataclasses.replace(hand_made_manifest(), signals={"brightness": "task"})
    detector = Detector(write_bundle(tmp_path / "b", manifest, hand_made_files()), scheduler=Learning())
    for value in (100, 200, 50):
        detector.push(flat(value))
    infos = [what for what in told(detector) if isinstance(what, FrameInfo)]
    assert [info.signals for info in infos] == [{"brightness": 100.0}, {"brightness": 150.0}]


@pytest.mark.parametrize("bad", [{"image": np.zeros((5, 5), np.uint8)}, {"image": flat(1).astype(np.float32)}])
def test_a_refused_frame_tells_the_scheduler_nothing(hand_made_bundle: Path, bad: dict[str, np.ndarray]) -> None:
    detector = Detector(hand_made_bundle, scheduler=Learning())
    detector.push(flat(1))
    with pytest.raises(ValueError, match="video frame"):
        list(Detector.run(detector, Given(Frame(index=0, dropped_before=4, **bad))))
    assert told(detector) == ["new-video"]
