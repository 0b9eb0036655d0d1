"""Broken streams: survived and told, or one clear error; damage never enters the memory."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lsts_edge.errors import StreamEmpty, StreamError, StreamUnreadable
from lsts_edge.runtime import Detections, Detector, Frame, Source, open_source
from lsts_edge.runtime.loop import run_stream
from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from lsts_edge.runtime.sinks.video import VideoSink
from videos import damage, read_pictures, small_clip, turned, write_changing_sizes, write_video


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def sound_only(path: Path) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no video " * 50),
    "noise": lambda path: path.write_bytes(np.random.RandomState(0).bytes(5000)),
    "index cut off": lambda path: cut(write_video(path, small_clip(20)), 0.5),
    "zeros": lambda path: path.write_bytes(bytes(5000)),
    "sound only": sound_only,
    "unknown codec": lambda path: path.write_bytes(
        write_video(path, small_clip(3)).read_bytes().replace(b"avc1", b"zzzz")
    ),
}


@pytest.mark.parametrize("fault", UNREADABLE)
def test_what_is_no_video_is_one_error_and_leaves_nothing(
    hand_made_bundle: Path, tmp_path: Path, fault: str, lsts_edge_command: Callable[..., object]
) -> None:
    path = tmp_path / "clip.mp4"
    UNREADABLE[fault](path)
    with pytest.raises(StreamUnreadable):
        open_source(path)
    if fault == "empty":
        done = lsts_edge_command("run", hand_made_bundle, path, "--output-json", tmp_path / "out.jsonl")
        assert (done.returncode, done.stdout) == (5, "")  # type: ignore[attr-defined]
        assert done.stderr.startswith("error[stream-unreadable]: ")  # type: ignore[attr-defined]
        assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("name", ["clip.mkv", "clip.avi", "clip.ts"])
def test_a_video_of_zero_frames_is_empty(hand_made_bundle: Path, tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, [])
    outputs = [JsonLinesSink(tmp_path / "out.jsonl"), VideoSink(tmp_path / "out.mp4")]
    with pytest.raises((StreamEmpty, StreamUnreadable)):
        run_stream(Detector(hand_made_bundle), open_source(path), outputs)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(("out", "."))) == []


@pytest.mark.parametrize("name", ["clip.ts", "clip.mkv", "clip.h264"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_cut_file_gives_the_frames_it_has(hand_made_bundle: Path, tmp_path: Path, name: str, share: float) -> None:
    path = cut(write_video(tmp_path / name, small_clip(40)), share)
    summary = run_stream(Detector(hand_made_bundle), open_source(path), [JsonLinesSink(tmp_path / "out.jsonl")])
    assert 0.5 * share * 40 <= summary.frames <= 40
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == summary.frames


def results(detector: Detector, source: Path | Source) -> list[tuple[Frame, Detections, bytes]]:
    return [
        (frame, found, detector.pipeline.state["task"].tobytes() if detector.pipeline.state else b"")
        for frame, found in detector.run(source)
    ]


@pytest.mark.parametrize("suffix", ["ts", "mp4", "mkv"])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.05])
@pytest.mark.parametrize("seeds", [6, pytest.param(100, marks=pytest.mark.slow)])
def test_damaged_bytes_are_survived_and_never_remembered(
    hand_made_bundle: Path, tmp_path: Path, suffix: str, share: float, seeds: int
) -> None:
    sound = write_video(tmp_path / f"clip.{suffix}", small_clip(48))
    detector = Detector(hand_made_bundle, keyframe_interval=4)
    noticed = 0
    for seed in range(seeds):
        broken = damage(sound, tmp_path / f"broken.{suffix}", share=share, seed=seed)
        try:
            source = open_source(broken)
            run = results(detector, source)
        except StreamError:
            noticed += 1  # nothing in it could be read: said so
            continue
        assert [(frame.index, found.frame) for frame, found, _ in run] == [(n, n) for n in range(len(run))]
        after = source.lost - sum(frame.lost_before for frame, _, _ in run)
        assert after >= 0 and all(frame.damaged for frame, _, _ in run if frame.lost_before)
        before = b""
        for frame, found, memory in run:
            noticed += frame.damaged
            assert found.damaged == frame.damaged
            if frame.damaged:
                assert memory in (before, b"")
                assert found.kind != "keyframe"
            before = memory
        for (earlier, _, _), (frame, found, _) in itertools.pairwise(run):
            if earlier.damaged and not frame.damaged:
                assert found.kind == "first"
                assert found.reset_reason in ("decode-error", "time-gap", "size-change", "format-change")
    assert noticed > 0, "the damage planted here must be noticed"


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["ts", "mp4", "mkv", "avi"])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.05, 0.2])
def test_a_hundred_kinds_of_damage_never_end_the_process(root: Path, tmp_path: Path, suffix: str, share: float) -> None:
    """In a process of its own: a decoder that crashes must fail this test, not end it."""
    sound = write_video(tmp_path / f"clip.{suffix}", small_clip(48))
    program = (
        "import sys; from pathlib import Path; from videos import damage\n"
        "from lsts_edge.errors import StreamError; from lsts_edge.runtime import open_source\n"
        "for seed in range(100):\n"
        f"    broken = damage(Path(sys.argv[1]), Path(sys.argv[2]), share={share}, seed=seed)\n"
        "    try:\n"
        "        with open_source(broken) as source:\n"
        "            print(seed, sum(1 for _ in source))\n"
        "    except StreamError as error:\n"
        "        print(seed, error.code)\n"
    )
    words = [sys.executable, "-c", program, str(sound), str(tmp_path / f"broken.{suffix}")]
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=250)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 100


def test_a_sound_stream_is_not_flagged(hand_made_bundle: Path, tmp_path: Path) -> None:
    run = results(Detector(hand_made_bundle), write_video(tmp_path / "clip.ts", small_clip(48)))
    assert len(run) == 48
    assert not any(frame.damaged or found.reset_reason for frame, found, _ in run)


def equal_fresh_runs(detector: Detector, run: list[tuple[Frame, Detections, bytes]], lengths: list[int]) -> None:
    """Each stretch of a run, against a detector that sees nothing else."""
    assert sum(lengths) == len(run)
    for end, length in zip(itertools.accumulate(lengths), lengths, strict=True):
        fresh = detector.share()
        for frame, found, _ in run[end - length : end]:
            again = fresh.push(frame.image, frame.time_s)
            assert again.boxes_xyxy_px.tobytes() == found.boxes_xyxy_px.tobytes()
            assert again.kind == found.kind


def events(run: list[tuple[Frame, Detections, bytes]]) -> list[tuple[int, str]]:
    return [(found.frame, found.reset_reason) for _, found, _ in run if found.reset_reason]


def test_a_change_of_the_pixel_format_is_one_event_and_equals_a_fresh_run(
    hand_made_bundle: Path, tmp_path: Path, lsts_edge_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """4:2:2, 4:2:0 and 4:4:4 of one size: the pictures stay what they were."""
    parts, path, clip = [], tmp_path / "clip.h264", small_clip(48)
    for number, pix_fmt in enumerate(("yuv422p", "yuv420p", "yuv444p", "yuv422p")):
        part = write_video(tmp_path / f"{number}.h264", clip[12 * number : 12 * number + 12], pix_fmt=pix_fmt)
        parts.append((part, read_pictures(part)))
    path.write_bytes(b"".join(part.read_bytes() for part, _ in parts))
    detector = Detector(hand_made_bundle, keyframe_interval=5)
    run = results(detector, path)
    expected = [picture for _, pictures in parts for picture in pictures]
    assert len(run) == len(expected) == 48
    for (frame, _, _), picture in zip(run, expected, strict=True):
        assert np.abs(frame.image.astype(int) - picture.astype(int)).mean() < 1.0
        assert not frame.damaged
    assert events(run) == [(12, "format-change"), (24, "format-change"), (36, "format-change")]
    equal_fresh_runs(detector, run, [12] * 4)
    done = lsts_edge_command("run", hand_made_bundle, path, "--json")
    assert json.loads(done.stdout)["resets"] == {"format-change": 3}, done.stderr


@pytest.mark.parametrize(("degrees", "told"), [(90, "size-change"), (180, "format-change")])
def test_a_turn_in_the_stream_is_one_event_each_way(
    hand_made_bundle: Path, tmp_path: Path, degrees: int, told: str
) -> None:
    """As a camera tells it that is hung otherwise: in the stream, with every picture that stands alone."""
    upright = write_video(tmp_path / "upright.h264", small_clip(10), gop=1)
    content, path = upright.read_bytes(), tmp_path / "clip.h264"
    path.write_bytes(content + turned(upright, degrees) + content)
    detector = Detector(hand_made_bundle, keyframe_interval=4)
    run = results(detector, path)
    assert events(run) == [(10, told), (20, told)]
    equal_fresh_runs(detector, run, [10] * 3)


def test_size_changes_are_one_event_each_and_equal_a_fresh_run(hand_made_bundle: Path, tmp_path: Path) -> None:
    parts = [small_clip(10, 64, 96), small_clip(7, 120, 160), small_clip(10, 64, 96)]
    path = write_changing_sizes(tmp_path / "clip.h264", parts)
    detector = Detector(hand_made_bundle, keyframe_interval=4)
    run = results(detector, path)
    assert events(run) == [(10, "size-change"), (17, "size-change")]
    equal_fresh_runs(detector, run, [len(part) for part in parts])
