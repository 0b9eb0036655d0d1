"""One bad frame does not poison the memory for good: black, saturated, torn, damaged, or with a NaN in the memory."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hand_made import black_gives_nan_bundle
from lsts_edge.runtime import Detections, Detector

_INTERVAL, _FRAMES = 5, 20
_BAD = ("nan", "black", "saturated", "torn", "damaged")
_TOLD = {"nan": "non-finite", "black": "non-finite", "damaged": "decode-error"}  # one event each


def _push(detector: Detector, picture: np.ndarray, index: int, bad: str | None) -> Detections:
    if bad == "nan":
        detector.pipeline.state["task"][0, 1] = np.nan
    elif bad == "black":
        picture = np.zeros_like(picture)
    elif bad == "saturated":
        picture = np.full_like(picture, 255)
    elif bad == "torn":
        picture = np.concatenate([picture[:40], np.zeros_like(picture[40:])])
    return detector.push(picture, index / 25, damaged=bad == "damaged")


@pytest.mark.parametrize("bad", _BAD)
def test_after_a_bad_frame_the_next_keyframe_is_as_if_it_had_not_been(tmp_path: Path, bad: str) -> None:
    """Twenty times at random places; a black frame gives this bundle's features a NaN."""
    first = Detector(black_gives_nan_bundle(tmp_path / "bundle"), keyframe_interval=_INTERVAL)
    events: Counter[str] = Counter()
    expected = 0
    for seed in range(20):
        source = random.Random(f"{bad} {seed}")
        clip = [np.full((64, 96, 3), source.randrange(30, 220), np.uint8) for _ in range(_FRAMES)]
        at = source.randrange(1, _FRAMES - _INTERVAL)
        # A keyframe writes this bundle's memory anew without reading it: a NaN in there is gone, and no event.
        expected += bad != "nan" or at % _INTERVAL != 0
        detector, sound = first.share(), first.share()
        results = [_push(detector, picture, index, bad if index == at else None) for index, picture in enumerate(clip)]
        events.update(result.reset_reason for result in results if result.reset_reason is not None)
        assert all(np.isfinite(result.boxes_xyxy_px).all() for result in results)
        assert np.isfinite(detector.pipeline.state["task"]).all()
        again = next(r.frame for r in results if r.frame > at and r.kind != "propagated")
        assert again <= at + _INTERVAL
        for result in results[again:]:
            alone = _push(sound, clip[result.frame], result.frame, None)
            assert (result.kind, result.feature_age) == (alone.kind, alone.feature_age) or result.frame == again
            assert result.boxes_xyxy_px.tobytes() == alone.boxes_xyxy_px.tobytes()
    cuts = events.pop("scene-cut", 0)  # half a picture that is black, or all of it white, may look like another scene
    assert cuts <= (20 if bad in ("torn", "saturated") else 0)
    assert events == (Counter({told: expected}) if (told := _TOLD.get(bad)) else Counter())
