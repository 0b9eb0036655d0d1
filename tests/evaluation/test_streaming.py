"""Streaming accuracy: which result is shown when, by hand, and what it makes of the accuracy."""

from __future__ import annotations

import numpy as np
import pytest
from made_truth import boxes_of, moving_objects

from lsts_edge.boxes import Boxes
from lsts_edge.errors import OptionError
from lsts_edge.evaluation.annotations import AnnotationSet
from lsts_edge.evaluation.coco import measure
from lsts_edge.evaluation.keyframe_distance import schedule_distances
from lsts_edge.evaluation.streaming import (
    Latencies,
    Streamed,
    StreamingAccuracy,
    drawn_stream,
    measure_streaming,
    shown_results,
)

PERIOD_MS = 1000 / 30


def scene(frames: int = 12) -> tuple[AnnotationSet, dict[int, Boxes]]:
    """An object that moves a tenth of its width a frame, found exactly, with less and less certainty."""
    path = [(4.0 * t, 20.0, 4.0 * t + 40, 60.0) for t in range(frames)]
    found = {t + 1: boxes_of((path[t], 0.9 - 0.01 * t), ((150, 150, 180, 180), 0.3)) for t in range(frames)}
    return moving_objects({1: path}), found


def stream(latencies: Latencies, worker: str = "pipeline", interval: int = 4) -> tuple[Streamed, StreamingAccuracy]:
    truth, found = scene()
    options = {"frames_per_s": 30.0, "worker": worker}
    shown = drawn_stream(truth, found, schedule_distances(truth, interval), latencies, **options)
    return shown, measure_streaming(truth, shown, latency="drawn", resamples=20, **options)


def test_zero_latency_is_offline_accuracy():
    truth, found = scene()
    offline = measure(truth, found, resamples=20)
    for worker in ("one", "pipeline"):
        shown, streaming = stream(Latencies((0.0,), (0.0,)), worker)
        assert shown.ages.tolist() == [0] * 12
        assert (streaming.ap50, streaming.ap, streaming.ap50_interval) == (
            offline.ap50,
            offline.ap,
            offline.ap50_interval,
        )
        assert streaming.processed == 1.0 and streaming.mean_latency_ms == 0.0


@pytest.mark.parametrize("late", [1, 2, 5])
def test_latency_of_whole_frames_is_the_accuracy_of_the_shifted_output(late: int):
    truth, found = scene()
    shifted = {key + late: boxes for key, boxes in found.items()}
    expected = measure(truth, shifted, resamples=20)
    latency = (late * PERIOD_MS,)
    shown, streaming = stream(Latencies(latency, latency))
    assert shown.ages.tolist() == [-1] * late + [late] * (12 - late)
    assert (streaming.ap50, streaming.ap) == (expected.ap50, expected.ap)
    assert streaming.ap < 1.0


def test_one_worker_takes_the_newest_frame_when_it_is_free():
    # 2.5 frames of work each: frame 0 is done at 2.5, then frame 2 till 5.0, frame 5 till 7.5, frame 7 till 10, then 9.
    taken = []

    def process(index: int) -> float:
        taken.append(index)
        return 25.0

    shown = shown_results(10, 10.0, process, "one")
    assert taken == [0, 2, 5, 7, 9]
    assert shown.tolist() == [-1, -1, -1, 0, 0, 2, 2, 2, 5, 5]


def test_a_fast_worker_waits_for_the_next_frame():
    taken = []
    shown = shown_results(4, 10.0, lambda index: taken.append(index) or 4.0, "one")
    assert taken == [0, 1, 2, 3] and shown.tolist() == [-1, 0, 1, 2]


def test_in_a_pipeline_a_newer_result_is_not_replaced_by_an_older_one():
    # Frame 0 takes 3.5 frames, the others half a frame: its result comes after those of 1, 2 and 3.
    shown = shown_results(6, 10.0, lambda index: 35.0 if index == 0 else 5.0, "pipeline")
    assert shown.tolist() == [-1, -1, 1, 2, 3, 4]


def test_keyframes_and_others_have_their_own_latencies():
    shown, streaming = stream(Latencies((2 * PERIOD_MS,), (0.0,)), "pipeline")
    # Keyframes 0, 4, 8 come two frames late, when newer results of propagated frames are there.
    assert shown.ages.tolist() == [-1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]
    np.testing.assert_allclose(sorted(set(shown.latencies_ms)), [0.0, 2 * PERIOD_MS])
    assert streaming.mean_latency_ms == pytest.approx(2 * PERIOD_MS / 4)
    assert streaming.mean_age_frames == pytest.approx(2 / 11)


def test_draws_are_from_the_samples_and_the_same_each_time():
    latencies = Latencies((30.0, 50.0), (1.0, 2.0, 3.0))
    first, again = stream(latencies, "one")[0], stream(latencies, "one")[0]
    assert np.array_equal(first.latencies_ms, again.latencies_ms)
    assert set(first.latencies_ms) <= {1.0, 2.0, 3.0, 30.0, 50.0} and len(set(first.latencies_ms)) > 2


@pytest.mark.parametrize("values", [(), (-1.0,), (float("nan"),)])
def test_latencies_that_are_none_are_refused(values: tuple[float, ...]):
    with pytest.raises(OptionError, match="propagated"):
        Latencies((1.0,), values)
    with pytest.raises(OptionError, match="frames per second"):
        truth, found = scene()
        drawn_stream(
            truth, found, schedule_distances(truth, 4), Latencies((1.0,), (1.0,)), frames_per_s=0.0, worker="one"
        )
