"""Clips are read, cut and sampled: whole shots, two halves that share nothing, the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from blob_detector import blob_clip, write_blob_clip

from lsts_edge.errors import StreamEmpty, StreamError, StreamUnreadable
from lsts_edge.publish.wrap.clips import ClipReader, CutClip, find_clips, read_clips
from lsts_edge.publish.wrap.measure import spread_blocks
from lsts_edge.publish.wrap.sample import sample_pieces
from videos import write_video


def _clip(name: str, *shots: tuple[int, int]) -> CutClip:
    return CutClip(name, Path(name), name.rjust(64, "0"), 60, 80, tuple(range(*shot) for shot in shots))


def _frames(pieces: tuple[object, ...]) -> set[tuple[int, int]]:
    return {(p.clip, at) for p in pieces for at in range(p.first, p.end)}  # type: ignore[attr-defined]


def test_clips_are_split_and_pieces_are_whole_shots() -> None:
    clips = [_clip(f"{index}", (0, 30), (30, 100)) for index in range(5)]
    sample = sample_pieces(clips, most_frames=10_000, longest_frames=40)
    assert sample.split_by == "clip" and sample.frames_there == 500
    assert not {piece.clip for piece in sample.of("choose")} & {piece.clip for piece in sample.of("state")}
    assert sum(piece.frames for piece in sample.pieces) == 500
    assert {(piece.first, piece.end) for piece in sample.pieces} == {(0, 30), (30, 65), (65, 100)}
    assert sample == sample_pieces(clips, most_frames=10_000, longest_frames=40)
    few = sample_pieces(clips, most_frames=60, longest_frames=40)
    assert _frames(few.pieces) < _frames(sample.pieces) and few.frames("choose") >= 30


def test_one_clip_is_split_by_shots_and_one_shot_by_time() -> None:
    shots = sample_pieces([_clip("a", (0, 30), (30, 60), (60, 70))], most_frames=1000, longest_frames=150)
    assert shots.split_by == "shot" and not _frames(shots.of("choose")) & _frames(shots.of("state"))
    time = sample_pieces([_clip("a", (0, 50))], most_frames=1000, longest_frames=150)
    assert time.split_by == "time"
    assert [(p.first, p.end, p.half) for p in time.pieces] == [(0, 25, "choose"), (25, 50, "state")]
    with pytest.raises(StreamEmpty):
        sample_pieces([_clip("a", (0, 2))], most_frames=1000, longest_frames=150)


def test_a_cut_is_found_and_frames_are_read_in_one_pass(tmp_path: Path) -> None:
    bright = [np.full((96, 128, 3), (30, 200, 240), np.uint8) for _ in range(10)]
    path = write_video(tmp_path / "cut.mp4", [*blob_clip(12), *bright])
    (clip,), left_out = read_clips([path])
    assert clip.shots == (range(12), range(12, 22)) and not left_out
    reader = ClipReader()
    assert len(list(reader.part(clip, 2, 5))) == 3
    (later,) = reader.part(clip, 15, 16)
    assert abs(later.astype(int) - bright[0]).mean() < 12
    assert len(list(reader.part(clip, 0, 1))) == 1
    with pytest.raises(StreamError, match="ended"):
        list(reader.part(clip, 20, 30))


def test_clips_are_found_in_folders_once_and_doubles_are_left_out(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    first = write_blob_clip(deep / "one.MP4", 6)
    (tmp_path / "two.mp4").write_bytes(first.read_bytes())
    (tmp_path / "readme.txt").write_text("hello")
    found = find_clips([tmp_path, first])
    assert [path.name for path in found] == ["one.MP4", "two.mp4"]
    clips, left_out = read_clips(found)
    assert [clip.name for clip in clips] == ["one.MP4"]
    assert "the same as one.MP4" in left_out[0].reason
    with pytest.raises(StreamUnreadable):
        find_clips([tmp_path / "nothing"])


def test_blocks_are_spread_and_short_pieces_give_short_ones() -> None:
    clips = [_clip("a", (0, 100)), _clip("b", (0, 100))]
    pieces = sample_pieces(clips, most_frames=1000, longest_frames=50).pieces
    blocks = spread_blocks(pieces, 4)
    assert len(blocks) == 4 and {block.clip for block in blocks} == {0, 1}
    assert all(block.end - block.first == 12 for block in blocks)
    short = sample_pieces([_clip("a", (0, 5)), _clip("b", (0, 5))], most_frames=1000, longest_frames=50).pieces
    assert [block.end - block.first for block in spread_blocks(short, 9)] == [5, 5]
