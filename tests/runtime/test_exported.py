"""An exported network on every engine, in every form, split and joined: one answer; and the demo around it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from lsts_edge.bundle import Bundle
from lsts_edge.errors import OpLibraryError
from lsts_edge.runtime import Detections, Detector, EngineOptions
from lsts_edge.runtime.sources.arrays import ArraySource
from videos import read_pictures, small_clip

CLIP = small_clip(14, 64, 96)


def run(bundle: Path, **options: object) -> tuple[list[Detections], dict[str, np.ndarray]]:
    with Detector(bundle, EngineOptions(threads=1, **options), keyframe_interval=5, score_threshold=0.05) as detector:  # type: ignore[arg-type]
        found = [result for _, result in detector.run(ArraySource(CLIP))]
        return found, {name: value.copy() for name, value in detector.pipeline.state.items()}


@pytest.fixture(scope="module")
def expected(tiny_bundle: Path) -> tuple[list[Detections], dict[str, np.ndarray]]:
    found, state = run(tiny_bundle, joined=False)
    assert [r.kind for r in found].count("keyframe") == 2
    assert sum(len(r) for r in found) > 14, "a clip without boxes compares nothing"
    return found, state


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("form", ["taps", "custom", "gridsample"])
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_every_way_gives_the_same_boxes(
    tiny_bundle: Path, expected: tuple[list[Detections], dict[str, np.ndarray]], backend: str, form: str, joined: bool
) -> None:
    try:
        found, state = run(tiny_bundle, backend=backend, lsts_form=form, joined=joined)
    except OpLibraryError as error:
        if os.environ.get("LSTS_REQUIRE_OPLIB") == "1":
            raise
        pytest.skip(str(error))
    for left, right in zip(expected[0], found, strict=True):
        assert left.label_names == right.label_names
        np.testing.assert_allclose(left.boxes_xyxy_px, right.boxes_xyxy_px, atol=0.05)
        np.testing.assert_allclose(left.scores, right.scores, atol=1e-3)
    for name, value in expected[1].items():
        assert np.abs(value - state[name]).max() <= 1e-4 * np.abs(value).max()


@pytest.mark.parametrize("at", [1, 2, 5, 7])
@pytest.mark.parametrize("joined", [False, True])
def test_a_poisoned_memory_is_one_event_and_finite_by_the_next_keyframe(
    tiny_bundle: Path, at: int, joined: bool
) -> None:
    detector = Detector(tiny_bundle, EngineOptions(threads=1, joined=joined), keyframe_interval=5)
    events = []
    for index, frame in enumerate(CLIP):
        if index == at:
            detector.pipeline.state["task"][:] = np.nan
        result = detector.push(frame)
        if result.reset_reason is not None:
            events.append((index, result.reset_reason))
        if result.kind != "propagated":
            assert all(np.isfinite(value).all() for value in detector.pipeline.state.values())
    assert len(events) == 1
    assert events[0][1] == "non-finite"
    assert at <= events[0][0] <= -(-at // 5) * 5


def test_a_changed_frame_between_keyframes_leaves_the_memory_alone(tiny_bundle: Path) -> None:
    detector = Detector(tiny_bundle, EngineOptions(threads=1), keyframe_interval=5)
    detector.push(CLIP[0])
    before = {name: value.tobytes() for name, value in detector.pipeline.state.items()}
    assert set(before) == {slot.name for slot in Bundle.open(tiny_bundle).manifest.state}
    for frame in CLIP[1:5]:
        assert detector.push(frame).kind == "propagated"
    assert {name: value.tobytes() for name, value in detector.pipeline.state.items()} == before


def test_the_demo_exports_the_papers_network_once(
    tmp_path: Path,
    lsts_edge_command,  # type: ignore[no-untyped-def]
) -> None:
    pytest.importorskip("torch")
    output = tmp_path / "demo"
    which = ("--model", "lsts-lite", "--checkpoint", "random", "--preset", "lsts-tiny", "--clip", "procedural")
    words = ["demo", "--output", output, *which, "--max-frames", "12"]
    done = lsts_edge_command(*words)
    assert done.returncode == 0, done.stderr
    assert "licence" in done.stdout
    assert {"bundle", "lsts-lite.png", "lsts-lite.jsonl", "lsts-lite.mp4"} <= set(os.listdir(output))
    assert len(read_pictures(output / "lsts-lite.mp4")) == 12
    again = lsts_edge_command(*words)
    assert again.returncode == 0 and f"using {output / 'bundle'}" in again.stderr


def test_the_demo_without_its_checkpoint_says_so(tmp_path: Path, lsts_edge_command) -> None:  # type: ignore[no-untyped-def]
    words = ("--model", "lsts-lite", "--clip", "procedural", "--checkpoint", tmp_path / "none.safetensors")
    done = lsts_edge_command("demo", "--output", tmp_path / "demo", *words)
    assert done.returncode == 7
    assert done.stderr.startswith("error[checkpoint]: no checkpoint")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("example", ["detect.py", "push_frames.py"])
def test_the_examples_run(hand_made_bundle: Path, tmp_path: Path, root: Path, example: str) -> None:
    import subprocess
    import sys

    from videos import write_video

    words = [sys.executable, str(root / "examples" / example), str(hand_made_bundle)]
    if example == "detect.py":
        words.append(str(write_video(tmp_path / "clip.mp4", small_clip(12))))
    done = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)}, timeout=250
    )
    assert done.returncode == 0, done.stderr
    assert "boxes" in done.stdout
