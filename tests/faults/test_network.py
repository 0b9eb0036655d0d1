"""A network stream that breaks off, falls silent, drips or is damaged: its frames come, then one error, soon."""

from __future__ import annotations

from pathlib import Path

import pytest
from byte_server import Ending, byte_server
from threads import left_running

from lsts_edge.errors import StreamLost
from lsts_edge.runtime import Detections, Detector, Frame, open_source
from lsts_edge.runtime.sources import SourceOptions
from videos import damage, small_clip, write_changing_sizes, write_video

_EVERY = SourceOptions(policy="every", reconnect="never", stall_s=1.0)


def _run_to_the_loss(bundle: Path, content: bytes, ending: Ending = "close") -> list[tuple[Frame, Detections]]:
    """What a live source gave before it was lost."""
    run: list[tuple[Frame, Detections]] = []
    with byte_server(content, ending) as (url, enough), pytest.raises(StreamLost):
        for frame, found in Detector(bundle, keyframe_interval=4).run(open_source(url, _EVERY)):
            run.append((frame, found))
            if len(run) > 200:
                enough.set()
    assert left_running("connection of") == []
    return run


@pytest.mark.parametrize("ending", ["reset", "silence", "drip"])
def test_frames_come_and_then_one_error(hand_made_bundle: Path, tmp_path: Path, ending: Ending) -> None:
    content = write_video(tmp_path / "clip.ts", small_clip(300)).read_bytes()
    assert 200 < len(_run_to_the_loss(hand_made_bundle, content, ending)) <= 300


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_stretch_of_a_live_stream_is_survived(hand_made_bundle: Path, tmp_path: Path, seed: int) -> None:
    sound = write_video(tmp_path / "clip.ts", small_clip(48))
    middle = damage(sound, tmp_path / "broken.ts", share=0.02, seed=seed)
    run = _run_to_the_loss(hand_made_bundle, sound.read_bytes() + middle.read_bytes() + sound.read_bytes())
    assert len(run) > 96  # both sound stretches
    assert any(frame.damaged for frame, _ in run)
    assert not any(frame.damaged for frame, _ in run[-20:])
    resets = [found.reset_reason for _, found in run if found.reset_reason]
    assert set(resets) <= {"decode-error", "time-gap", "size-change", "format-change", "scene-cut"}
    assert "decode-error" in resets
    assert run[-1][1].reconnects == 0


def test_a_camera_that_changes_its_size_is_read_on(hand_made_bundle: Path, tmp_path: Path) -> None:
    parts = [small_clip(60, 64, 96), small_clip(60, 120, 160), small_clip(60, 64, 96)]
    content = write_changing_sizes(tmp_path / "clip.h264", parts).read_bytes()
    run = _run_to_the_loss(hand_made_bundle, content)
    assert [frame.image.shape for frame, _ in run] == [part[0].shape for part in parts for _ in part]
    assert [(f.index, d.reset_reason) for f, d in run if d.reset_reason] == [(60, "size-change"), (120, "size-change")]
    assert run[-1][1].reconnects == 0
