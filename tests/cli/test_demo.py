"""The demo: the default bundle on the checkout's clip without a network, counted beside the same on every frame."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import Run

from lsts_edge.boxes import Boxes
from lsts_edge.bundle import Bundle
from lsts_edge.cli.demo_watch import BesidePerFrame, shown
from lsts_edge.runtime import Detections, Detector, Frame
from lsts_edge.runtime.sinks.interface import Sink
from videos import small_clip, write_video


class Kept(Sink):
    """Remembers what it is handed."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Detections] = []
        self.ended = ""

    def write(self, frame: Frame, detections: Detections) -> None:
        self.given.append(detections)

    def finish(self) -> None:
        self.ended = "finished"

    def publish(self) -> None:
        self.ended = f"{self.ended}, published"

    def abandon(self) -> None:
        self.ended = "abandoned"


def _offline(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


def test_without_a_network_the_clip_of_the_checkout_is_shown(
    lsts_edge_command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _offline(monkeypatch, tmp_path / "cache")
    done = lsts_edge_command(
        "demo", "--output", tmp_path / "demo", "--model", "default", "--max-frames", "24", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert "cannot get bikes.mp4" in done.stderr and "going on without it" in done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["clip"], row["frames"], row["expected"]) == ("bottle-detection.mp4", 24, ["bottle"])
    assert row["frames_with_expected"] == row["per_frame_frames_with_expected"] == 24
    assert row["agreement"]["0.4"] > 0.9  # the bottles stand still
    assert row["mean_ms"] > 0 and row["speedup"] == pytest.approx(row["per_frame_ms"] / row["mean_ms"], rel=0.01)
    names = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert names == ["bottle.jsonl", "bottle.mp4", "bottle.png", "summary.txt"]
    assert len((tmp_path / "demo" / "bottle.jsonl").read_text().splitlines()) == 24
    assert cv2.imread(str(tmp_path / "demo" / "bottle.png")).shape[1] > 1000
    summary = (tmp_path / "demo" / "summary.txt").read_text()
    assert "bottle in 24 of 24 frames" in summary and "x faster" in summary and "Apache-2.0" in summary


def test_a_clip_of_ones_own_promises_nothing(lsts_edge_command: Run, tmp_path: Path) -> None:
    """Moving shapes: nothing to find is undefined agreement, not 1."""
    clip = write_video(tmp_path / "mine.mp4", [np.full((96, 128, 3), 90, np.uint8)] * 6)
    done = lsts_edge_command("demo", "--clip", clip, "--output", tmp_path / "demo", "--model", "default")
    assert done.returncode == 0, done.stderr
    assert "found " not in done.stdout
    assert "agreement   undefined / undefined / undefined" in done.stdout
    assert (tmp_path / "demo" / "mine.mp4").is_file()


def test_the_papers_network_is_shown_where_its_classes_are(
    lsts_edge_command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random weights of the smallest preset: exported, verified, run on moving shapes, as no clip has its classes."""
    _offline(monkeypatch, tmp_path / "cache")
    words = ["--model", "lsts-lite", "--checkpoint", "random", "--preset", "lsts-tiny", "--max-frames", "12"]
    done = lsts_edge_command("demo", "--clip", "bottle", "--output", tmp_path / "demo", *words)
    assert done.returncode == 0, done.stderr
    assert "no clip shows a class of lsts-tiny" in done.stderr
    assert "the procedural clip: 12 frames; features at keyframe interval 10" in done.stdout
    assert "verified " in done.stdout
    assert Bundle.open(tmp_path / "demo" / "bundle").manifest.parity is not None


def test_a_missing_checkpoint_is_told_before_anything_runs(lsts_edge_command: Run, tmp_path: Path) -> None:
    done = lsts_edge_command("demo", "--clip", "bottle", "--output", tmp_path / "demo", "--checkpoint", tmp_path / "no")
    assert done.returncode == 7
    assert done.stderr.startswith("error[checkpoint]") and "--model default" in done.stderr
    assert not (tmp_path / "demo").exists()


def test_both_see_every_frame_and_sinks_what_is_shown(hand_made_bundle: Path) -> None:
    kept = Kept()
    with Detector(hand_made_bundle) as way, Detector(hand_made_bundle, propagator="every-frame") as whole:
        beside = BesidePerFrame(whole, [kept], shown_score=0.5, expected=["person"])
        for index, picture in enumerate(small_clip(12)):
            beside.write(Frame(picture, index, index / 25), way.push(picture))
    beside.finish()
    beside.publish()
    watched = beside.watched()
    assert watched.frames == len(kept.given) == 12 and kept.ended == "finished, published"
    assert [one.kind for one in kept.given] == ["first", *["propagated"] * 9, "keyframe", "propagated"]
    assert watched.found == sum("person" in one.label_names for one in kept.given)
    assert set(watched.agreement) == {0.4, 0.5, 0.6}
    beside.abandon()
    assert kept.ended == "abandoned"


def test_boxes_below_the_score_are_not_shown() -> None:
    boxes = Boxes(
        np.array([[0, 0, 9, 9], [1, 1, 5, 5]], np.float32),
        np.array([0.9, 0.3], np.float32),
        np.array([0, 1], np.int64),
        "edges",
    )
    found = Detections(0, None, "first", 0, boxes, ("cat", "dog"), moved=np.array([False, True]))
    assert shown(found, 0.3).label_names == ("cat", "dog")  # the score itself is shown
    assert shown(found, 0.5).label_names == ("cat",)
    assert not shown(found, 0.5).moved.any()
