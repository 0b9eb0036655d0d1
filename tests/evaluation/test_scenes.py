"""Cuts are found where they were made; flashes, fast cameras and moving objects are none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from shots import flash, pan

from lsts_edge.errors import OptionError
from lsts_edge.evaluation.scenes import find_shots
from lsts_edge.runtime.scene_cuts import SceneOptions


def starts(frames: list[np.ndarray], **options: float) -> list[int]:
    shots = find_shots(iter(frames), SceneOptions(**options))
    assert [index for shot in shots for index in shot] == list(range(len(frames)))
    return [shot.start for shot in shots]


@pytest.mark.parametrize("lengths", [(20, 30, 15), (8, 8, 8, 8), (40,)])
def test_cuts_are_found_where_they_are(lengths):
    frames = [frame for seed, length in enumerate(lengths) for frame in pan(seed, length)]
    assert starts(frames) == [sum(lengths[:index]) for index in range(len(lengths))]


@pytest.mark.parametrize("length", [1, 2])
def test_flash_is_no_cut(length):
    frames = pan(0, 30)
    for index in range(12, 12 + length):
        frames[index] = flash(frames[index])
    assert starts(frames) == [0]


def test_fast_camera_is_no_cut():
    assert starts(pan(0, 30, step_px=40)) == [0]


def test_fade_is_no_cut():
    still = [pan(0, 1)[0]] * 12
    dark = [cv2.convertScaleAbs(still[0], alpha=1 - step / 12) for step in range(12)]
    assert starts(still + dark + dark[::-1] + still) == [0]


def test_cut_inside_a_fast_camera_is_one():
    assert starts(pan(0, 15, step_px=15) + pan(3, 15, step_px=15)) == [0, 15]


def test_object_that_jumps_in_is_no_cut():
    frames = pan(0, 30)
    for index in range(15, 30):
        frames[index] = frames[index].copy()
        frames[index][30:90, 60:110] = (0, 0, 255)
    assert starts(frames) == [0]


def test_short_piece_joins_its_neighbour():
    frames = pan(0, 20) + pan(1, 3) + pan(2, 20)
    assert len(starts(frames)) == 2
    assert starts(pan(0, 20) + pan(1, 3)) == [0]
    assert starts(pan(0, 20) + pan(1, 3), shortest_frames=2) == [0, 20]


def test_change_of_size_is_a_cut_and_no_frames_are_no_shots():
    frames = pan(0, 10)
    frames += [cv2.resize(frame, (100, 60)) for frame in frames]
    assert starts(frames) == [0, 10]
    assert find_shots([]) == []
    assert find_shots(pan(0, 1)) == [range(1)]


@pytest.mark.parametrize(
    "options",
    [
        *({"histogram_change": 0.0}, {"picture_change": float("nan")}, {"likeness": 0.0}),
        *({"stands_out": 0.5}, {"shortest_frames": 1}),
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(OptionError):
        SceneOptions(**options)
