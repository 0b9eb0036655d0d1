"""A bundle run as a live stream: what it shows without latency, and which frames it sees with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_data import write_toy_data

from lsts_edge.bundle import Bundle
from lsts_edge.evaluation.annotations import AnnotationSet, read_annotations
from lsts_edge.evaluation.bundle_stream import stream_bundle
from lsts_edge.evaluation.bundles import run_bundle
from lsts_edge.evaluation.streaming import Latencies
from lsts_edge.presets import FIVE_GROUPS

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
