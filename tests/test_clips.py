"""The procedural clip: the same everywhere, and it moves."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lsts_edge.clips import moving_clip
from lsts_edge.errors import OptionError


def test_the_same_seed_draws_the_same_frames() -> None:
    for left, right in zip(moving_clip(8, seed=3), moving_clip(8, seed=3), strict=True):
        np.testing.assert_array_equal(left, right)
    assert any((a != b).any() for a, b in zip(moving_clip(2, seed=3), moving_clip(2, seed=4), strict=True))


@pytest.mark.parametrize("size", [(360, 640), (64, 96), (17, 33)])
def test_frames_have_the_size_and_move(size: tuple[int, int]) -> None:
    frames = list(moving_clip(12, *size))
    assert len(frames) == 12
    assert all(frame.shape == (*size, 3) and frame.dtype == np.uint8 for frame in frames)
    steps = [np.abs(a.astype(int) - b).mean() for a, b in itertools.pairwise(frames)]
    assert min(steps) > 0.5
    assert len({frame.tobytes() for frame in frames}) == 12


def test_each_frame_is_an_array_of_its_own() -> None:
    clip = moving_clip(3, 32, 32)
    first = next(clip)
    kept = first.copy()
    next(clip)[:] = 0
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("numbers", [(-1, 64, 64, 0), (1, 4, 64, 0), (1, 64, 9999, 0), (1, 64, 64, -1)])
def test_absurd_numbers_are_refused(numbers: tuple[int, int, int, int]) -> None:
    with pytest.raises(OptionError, match="moving clip"):
        moving_clip(*numbers)
