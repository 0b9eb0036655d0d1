"""The schedule centred: which frame is the keyframe, what the others build on, and where a segment ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lsts_edge.bundle import Bundle
from lsts_edge.errors import OptionError
from lsts_edge.runtime import Detections, Detector, Frame
from lsts_edge.runtime.pipeline import Pipeline
from lsts_edge.runtime.schedulers.centred import Centred
from lsts_edge.runtime.sources.arrays import ArraySource
from lsts_edge.runtime.sources.interface import Source
from videos import small_clip


class Given(Source):
    def __init__(self, *frames: Frame, live: bool = False) -> None:
        self._frames, self.live = frames, live

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._frames)


def flat(value: int) -> np.ndarray:
    return np.full((64, 96, 3), value, np.uint8)


def run(bundle: Path, source: Source, interval: int = 5, **options: object) -> list[Detections]:
    with Detector(bundle, keyframe_interval=interval, centred=True, score_threshold=0.0, **options) as detector:  # type: ignore[arg-type]
        return [found for _, found in detector.run(source)]


def test_each_frame_is_built_on_the_middle_of_its_segment(hand_made_bundle: Path) -> None:
    clip = small_clip(12, 64, 96)
    found = run(hand_made_bundle, ArraySource(clip), scene_cuts=False)
    kinds = ["propagated"] * 2 + ["first"] + ["propagated"] * 4 + ["keyframe"] + ["propagated"] * 3 + ["keyframe"]
    assert [one.kind for one in found] == kinds
    assert [one.feature_age for one in found] == [2, 1, 0, 1, 2, 2, 1, 0, 1, 2, 1, 0]
    assert [one.frame for one in found] == list(range(12))
    pipeline = Pipeline(Bundle.open(hand_made_bundle))
    for start, centre in ((0, 2), (5, 7), (10, 11)):
        images = [np.ascontiguousarray(image[None]) for image in clip[start : start + 5]]
        for index in (centre - start, *(i for i in range(len(images)) if i != centre - start)):
            kind = ("keyframe" if pipeline.has_memory else "first") if start + index == centre else "propagated"
            slots = pipeline.step(images[index], kind, remember=kind != "propagated")
            edges = slots["boxes"] + np.float32([0, 0, 1, 1])
            assert np.array_equal(edges, found[start + index].boxes.xyxy_px), start + index


def test_an_interval_of_one_is_every_frame(hand_made_bundle: Path) -> None:
    found = run(hand_made_bundle, ArraySource([flat(value) for value in (10, 20, 30)]), interval=1)
    assert [(one.kind, one.feature_age) for one in found] == [("first", 0), ("keyframe", 0), ("keyframe", 0)]


def test_a_segment_ends_where_an_online_stream_starts_afresh(hand_made_bundle: Path) -> None:
    frames = [Frame(flat(10), index, 0.04 * index) for index in range(4)]
    frames += [Frame(flat(10), 4, 99.0), Frame(flat(10), 5, 99.04, damaged=True), Frame(flat(10), 6, 99.08)]
    found = run(hand_made_bundle, Given(*frames), interval=10)
    assert [one.reset_reason for one in found] == [None, None, None, None, "time-gap", None, "decode-error"]
    assert [one.kind for one in found] == ["propagated"] * 2 + ["first", "propagated", "first", "propagated", "first"]
    assert [one.feature_age for one in found] == [2, 1, 0, 1, 0, 1, 0]


def test_a_cut_ends_a_segment(hand_made_bundle: Path) -> None:
    one, other = (np.random.RandomState(seed).randint(0, 256, (64, 96, 3)).astype(np.uint8) for seed in (0, 1))
    shots = [np.clip(picture // 4 + base, 0, 255).astype(np.uint8) for picture, base in ((one, 0), (other, 180))]
    clip = [shots[0]] * 12 + [shots[1]] * 8
    reasons = [found.reset_reason for found in run(hand_made_bundle, ArraySource(clip), interval=10)]
    assert reasons == [None] * 12 + ["scene-cut"] + [None] * 7
    assert not any(found.reset_reason for found in run(hand_made_bundle, ArraySource(clip), scene_cuts=False))


def test_only_damaged_pictures_are_never_remembered(hand_made_bundle: Path) -> None:
    frames = [Frame(flat(10), index, damaged=True) for index in range(3)]
    found = run(hand_made_bundle, Given(*frames), interval=3)
    assert [one.kind for one in found] == ["first"] * 3


def test_what_cannot_look_ahead_is_refused(hand_made_bundle: Path) -> None:
    detector = Detector(hand_made_bundle, centred=True)
    with pytest.raises(OptionError, match="one at a time"):
        detector.push(flat(10))
    with pytest.raises(OptionError, match="live"):
        list(detector.run(Given(Frame(flat(10), 0), live=True)))
    for options in ({"propagator": "hold"}, {"scheduler": Centred(10)}, {"keyframe_interval": 2.5}):
        with pytest.raises(OptionError, match="centred"):
            Detector(hand_made_bundle, centred=True, **options)  # type: ignore[arg-type]


def test_another_stream_is_centred_too(hand_made_bundle: Path) -> None:
    detector = Detector(hand_made_bundle, centred=True, keyframe_interval=3)
    other = detector.share()
    for one in (detector, other):
        assert [found.kind for _, found in one.run(ArraySource([flat(10)] * 3))] == [
            "propagated",
            "first",
            "propagated",
        ]
