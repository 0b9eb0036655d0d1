"""Streams do not leak into each other, and the same clip gives the same answer, bit by bit."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import numpy as np
import pytest

from lsts_edge.runtime import Detector
from lsts_edge.runtime.sources.arrays import ArraySource
from videos import small_clip


def digest(detector: Detector, clip: list[np.ndarray]) -> str:
    """Of everything but the reason of the reset."""
    total = hashlib.sha256()
    for _, found in detector.run(ArraySource(clip)):
        total.update(repr((found.frame, found.kind, found.feature_age, found.label_names)).encode())
        total.update(found.boxes_xyxy_px.tobytes() + found.scores.tobytes())
    return total.hexdigest()


@pytest.mark.parametrize("seed", range(10))
def test_what_ran_before_does_not_matter(hand_made_bundle: Path, seed: int) -> None:
    source = random.Random(seed)
    before = small_clip(source.randrange(1, 25), 40, 64, seed=seed)
    clip = small_clip(20, 48, 64, seed=seed + 100)
    detector = Detector(hand_made_bundle, keyframe_interval=source.randrange(1, 12))
    alone = digest(detector.share(), clip)
    digest(detector, before)
    assert digest(detector, clip) == alone
    different = small_clip(20, 48, 64, seed=seed + 101)
    assert digest(detector, different) != alone, "a digest that cannot differ proves nothing"


def test_interleaved_streams_equal_streams_alone(hand_made_bundle: Path) -> None:
    clips = [small_clip(15, 48, 64, seed=seed) for seed in range(3)]
    first = Detector(hand_made_bundle, keyframe_interval=4)
    detectors = [first, first.share(), first.share()]
    mixed: list[list[bytes]] = [[] for _ in clips]
    for frames in zip(*clips, strict=True):
        for detector, frame, kept in zip(detectors, frames, mixed, strict=True):
            kept.append(detector.push(frame).boxes_xyxy_px.tobytes())
    for clip, kept in zip(clips, mixed, strict=True):
        alone = first.share()
        assert [alone.push(frame).boxes_xyxy_px.tobytes() for frame in clip] == kept


def test_the_same_clip_gives_the_same_rows_in_fresh_processes(
    hand_made_bundle: Path,
    tmp_path: Path,
    lsts_edge_command,  # type: ignore[no-untyped-def]
) -> None:
    from videos import write_video

    clip = write_video(tmp_path / "clip.mp4", small_clip(20))
    rows = []
    for number in range(3):
        out = tmp_path / f"{number}.jsonl"
        done = lsts_edge_command("run", hand_made_bundle, clip, "--output-json", out)
        assert done.returncode == 0, done.stderr
        rows.append(out.read_bytes())
    assert rows[0] == rows[1] == rows[2] != b""
