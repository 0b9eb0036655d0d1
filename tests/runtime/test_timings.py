"""A frame's times: graphs and stages apart, complete in a result that does not change any more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hand_made import black_gives_nan_bundle
from lsts_edge.runtime import Detector
from lsts_edge.runtime.timings import Timings


def test_totals() -> None:
    timings = Timings({"preprocess": 1.0, "postprocess": 0.5}, {"light": 2.0, "head": 3.0})
    assert timings.graphs_total_ms == 5.0
    assert timings.total_ms == 6.5
    assert Timings().total_ms == 0.0


def test_a_result_has_all_its_times(hand_made_bundle: Path) -> None:
    detector = Detector(hand_made_bundle)
    for graphs in ({"heavy", "head"}, {"heavy", "blend", "head"}):
        timings = detector.push(np.zeros((64, 96, 3), np.uint8)).timings
        assert set(timings.stages_ms) == {"preprocess", "postprocess", "scenes"}
        assert set(timings.graphs_ms) == graphs
        assert all(value > 0 for value in (*timings.stages_ms.values(), *timings.graphs_ms.values()))


def test_a_frame_that_ran_twice_counts_both_runs(tmp_path: Path) -> None:
    """The black frame is propagated, found not finite, and run again from an empty memory."""
    detector = Detector(black_gives_nan_bundle(tmp_path / "bundle"))
    detector.push(np.full((64, 96, 3), 50, np.uint8))
    found = detector.push(np.zeros((64, 96, 3), np.uint8))
    assert found.reset_reason == "non-finite" and found.kind == "first"
    assert set(found.timings.graphs_ms) == {"heavy", "blend", "head"}
    assert found.total_ms == pytest.approx(sum(found.timings.stages_ms.values()) + found.timings.graphs_total_ms)
