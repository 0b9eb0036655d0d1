"""A run from source to sinks adds up, and the command says what it did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lsts_edge.errors import OptionError
from lsts_edge.runtime import Detector, Frame
from lsts_edge.runtime.loop import RunSummary, run_stream
from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from lsts_edge.runtime.sinks.video import VideoSink
from lsts_edge.runtime.sources.arrays import ArraySource
from lsts_edge.runtime.sources.open import open_source
from videos import read_pictures, small_clip, write_video


def test_the_summary_adds_up(hand_made_bundle: Path, tmp_path: Path) -> None:
    source = open_source(write_video(tmp_path / "clip.mp4", small_clip(25)))
    sinks = [JsonLinesSink(tmp_path / "out.jsonl"), VideoSink(tmp_path / "out.mp4")]
    seen: list[int] = []
    with Detector(hand_made_bundle) as detector:
        summary = run_stream(detector, source, sinks, on_result=lambda frame, _: seen.append(frame.index))
    assert summary.frames == 25 == len(seen) == summary.detections
    assert summary.kinds == {"first": 1, "keyframe": 2, "propagated": 22}
    assert summary.labels == {"person": 25}
    assert {kind: len(values) for kind, values in summary.latency_ms.items()} == dict(summary.kinds)
    assert set(summary.stage_ms) == {*("decode", "scenes", "preprocess", "postprocess", "json", "draw", "encode")}
    assert set(summary.graph_ms) == {"heavy", "blend", "head"}
    assert summary.video_s == pytest.approx(1.0)
    assert (sum(summary.stage_ms.values()) + sum(summary.graph_ms.values())) / 1e3 <= summary.wall_s
    assert not summary.stopped
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["kind"] for row in rows].count("keyframe") == 2
    assert len(read_pictures(tmp_path / "out.mp4")) == 25


def test_a_summary_of_a_long_run_keeps_the_newest_latencies(hand_made_bundle: Path) -> None:
    picture, summary = small_clip(1)[0], RunSummary()
    detections = Detector(hand_made_bundle).push(picture)
    for index in range(10_050):
        summary.add(Frame(picture, index), detections, ())
    assert len(summary.latency_ms["first"]) == 10_000
    assert summary.frames == summary.kinds["first"] == 10_050


@pytest.mark.parametrize("count", [1, 7])
def test_max_frames_ends_a_run(hand_made_bundle: Path, count: int) -> None:
    summary = run_stream(Detector(hand_made_bundle), ArraySource(small_clip(30)), max_frames=count)
    assert summary.frames == count
    assert not summary.stopped


def test_no_frames_at_all_is_refused(hand_made_bundle: Path) -> None:
    with pytest.raises(OptionError, match="frames to run"):
        run_stream(Detector(hand_made_bundle), ArraySource(small_clip(3)), max_frames=0)


def test_run_writes_what_it_says(hand_made_bundle: Path, tmp_path: Path, lsts_edge_command) -> None:  # type: ignore[no-untyped-def]
    clip = write_video(tmp_path / "clip.mp4", small_clip(12))
    video, rows = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    words = ["run", hand_made_bundle, clip, "--output-video", video, "--output-json", rows, "--keyframe-interval", "5"]
    done = lsts_edge_command(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("12 frames, 12 detections, ")
    assert str(video) in done.stdout
    assert done.stderr == ""
    assert [json.loads(line)["kind"] for line in rows.read_text().splitlines()].count("keyframe") == 2
    assert len(read_pictures(video)) == 12
    as_json = lsts_edge_command(*words[:3], "--max-frames", "4", "--json")
    assert json.loads(as_json.stdout)["kinds"] == {"first": 1, "propagated": 3}


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (["--score-threshold", "2"], 2, "option"),
        (["--keyframe-interval", "0"], 2, "option"),
        (["--max-frames", "0"], 2, "option"),
        (["--threads", "-3"], 2, "option"),
        (["--backend", "torch"], 2, "option"),
        (["--lsts-form", "custom"], 2, "option"),
        (["--output-video", "out.gif"], 2, "option"),
        (["--output-json", "missing/out.jsonl"], 1, "file-unwritable"),
        (["--expect-digest", "sha256:" + "0" * 64], 3, "bundle-digest"),
        (["--provider", "openvino"], 2, "option"),
    ],
)
def test_bad_options_are_one_line(
    hand_made_bundle: Path,
    tmp_path: Path,
    words: list[str],
    status: int,
    code: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from lsts_edge.cli import main

    monkeypatch.chdir(tmp_path)
    clip = write_video(tmp_path / "clip.mp4", small_clip(3))
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(SystemExit) as left:
        main(["run", str(hand_made_bundle), str(clip), *words])
    told = capsys.readouterr()
    assert left.value.code == status, told.err
    assert told.err.startswith(f"error[{code}]: ")
    assert told.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_outputs_never_replace_the_source(hand_made_bundle: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from lsts_edge.cli.run import command

    clip = write_video(tmp_path / "clip.mp4", small_clip(3))
    before = clip.read_bytes()
    done = CliRunner().invoke(command, [str(hand_made_bundle), str(clip), "--output-video", str(clip)])
    assert isinstance(done.exception, OptionError)
    assert clip.read_bytes() == before


def test_a_propagator_is_chosen_by_name(hand_made_bundle: Path, tmp_path: Path, lsts_edge_command) -> None:  # type: ignore[no-untyped-def]
    clip, rows = write_video(tmp_path / "clip.mp4", small_clip(6)), tmp_path / "out.jsonl"
    done = lsts_edge_command("run", hand_made_bundle, clip, "--propagator", "hold", "--output-json", rows)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    assert [row["detections"][0].get("moved", False) for row in found] == [False] + [True] * 5
    failed = lsts_edge_command("run", hand_made_bundle, clip, "--propagator", "magic")
    assert failed.returncode == 2 and "hold, flow-boxes, every-frame" in failed.stderr
