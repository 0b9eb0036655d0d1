"""A bundle run as a live stream: what it shows without latency, and which frames it sees with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from toy_data import write_toy_data

from lsts_edge.bundle import Bundle
from lsts_edge.bundle.propagation import PropagationInfo, PropagationWay
from lsts_edge.evaluation.annotations import AnnotationSet, read_annotations
from lsts_edge.evaluation.bundle_stream import stream_bundle
from lsts_edge.evaluation.bundles import read_image, run_bundle
from lsts_edge.evaluation.streaming import Latencies
from lsts_edge.presets import FIVE_GROUPS
from lsts_edge.runtime import Detector

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> AnnotationSet:
    return read_annotations(write_toy_data(tmp_path_factory.mktemp("toy"), frames=6), FIVE_GROUPS)


@pytest.mark.parametrize("interval", [3, None])
def test_without_latency_a_stream_shows_what_the_run_finds(
    hand_made_bundle: Path, truth: AnnotationSet, interval: int | None
):
    bundle = Bundle.open(hand_made_bundle)
    found = run_bundle(bundle, truth, keyframe_interval=interval)
    nothing = Latencies((0.0,), (0.0,))
    streamed = stream_bundle(
        bundle, truth, keyframe_interval=interval, frames_per_s=30.0, worker="one", latencies=nothing
    )
    assert streamed.boxes.keys() == found.keys()
    assert all(streamed.boxes[key] == found[key] for key in found)
    assert sum(len(boxes) for boxes in found.values()) > 0


def test_the_bundles_own_schedule_is_evaluated_as_it_runs(hand_made_bundle: Path, truth: AnnotationSet):
    """Toy pictures move: keyframes by motion come sooner than the interval allows."""
    bundle = Bundle.open(hand_made_bundle)
    way = PropagationWay("flow-boxes", 6, {"most_motion": 0.02, "most_error": 1.0})
    info = PropagationInfo("moved", {"moved": way})
    moved = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, propagation=info))
    ages: dict[int, int] = {}
    found = run_bundle(moved, truth, keyframe_interval="own", ages=ages)
    fixed: dict[int, int] = {}
    run_bundle(moved, truth, keyframe_interval=6, ages=fixed)
    assert list(fixed.values()) == [0, 1, 2, 3, 4, 5] * 2
    assert ages.keys() == found.keys() and sum(age == 0 for age in ages.values()) > 2
    with Detector(moved, score_threshold=0.0) as detector:
        for records in truth.sequences().values():
            detector.start_stream()
            assert [detector.push(read_image(one)).feature_age for one in records] == [
                ages[one.image_id] for one in records
            ]


def test_frames_that_come_too_fast_are_not_processed(hand_made_bundle: Path, truth: AnnotationSet):
    bundle = Bundle.open(hand_made_bundle)
    slow = Latencies((200.0,), (100.0,))
    streamed = stream_bundle(bundle, truth, keyframe_interval=2, frames_per_s=10.0, worker="one", latencies=slow)
    # Frame 0 takes two frames' time, 2 is propagated and takes one, 3 is the next keyframe, 5 is propagated.
    assert streamed.latencies_ms.tolist() == [200, 100, 200, 100] * 2
    assert streamed.ages.tolist() == [-1, -1, 2, 1, 2, 2] * 2


def test_live_times_are_those_of_the_frames(hand_made_bundle: Path, truth: AnnotationSet):
    bundle = Bundle.open(hand_made_bundle)
    streamed = stream_bundle(bundle, truth, keyframe_interval=2, frames_per_s=1e-3, worker="one")
    assert len(streamed.latencies_ms) == 12 and np.all(streamed.latencies_ms > 0)
    assert streamed.ages.tolist() == [-1, 1, 1, 1, 1, 1] * 2, "a frame that takes any time is shown with the next"
