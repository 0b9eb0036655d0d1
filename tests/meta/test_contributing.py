"""What CONTRIBUTING.md says under "Adding things" is enough: each part below is one added by its row there."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from lsts_edge.benchmarks.compare import Entry, RunSettings, run_comparison
from lsts_edge.benchmarks.compare_result import EntryFacts
from lsts_edge.benchmarks.contestants import PeerContestant
from lsts_edge.benchmarks.envelope import Precision
from lsts_edge.benchmarks.timed_clip import Clip
from lsts_edge.boxes import Boxes
from lsts_edge.bundle import Model
from lsts_edge.bundle.manifest import InputInfo
from lsts_edge.errors import StreamEmpty
from lsts_edge.runtime import Detections, Detector
from lsts_edge.runtime.engines.interface import Session
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.engines.tensors import Tensor, Tensors, arrays_finite
from lsts_edge.runtime.loop import run_stream
from lsts_edge.runtime.preprocess import Geometry, Preprocessor
from lsts_edge.runtime.schedulers import Decision, FrameInfo, Scheduler
from lsts_edge.runtime.sinks.interface import Sink
from lsts_edge.runtime.sinks.partial_file import PartialFile
from lsts_edge.runtime.sources.interface import Frame, Source

ROOT = Path(__file__).resolve().parents[2]
ADDED = ("an engine", "a scheduler", "a source", "a sink", "an op", "a peer")


class NumpyTensors(Tensors):
    """Tensors of the engine below: arrays, which nobody writes to."""

    def all_finite(self, tensors: Sequence[Tensor]) -> bool:
        return arrays_finite(tensors)

    def _put(self, array: np.ndarray) -> Tensor:
        return array

    def _get(self, tensor: Tensor) -> np.ndarray:
        return tensor


class NumpySession(Session):
    """A graph of the hand-made bundle, worked out by hand."""

    def __init__(self, name: str, tensors: NumpyTensors) -> None:
        self.tensors = tensors
        self._work, self.inputs, self.outputs = {
            "heavy": (lambda image: (image.astype(np.float32).mean(axis=(1, 2)),), ("image",), ("feature",)),
            "blend": (lambda memory, feature: ((memory + feature) / 2,), ("memory", "feature"), ("task",)),
            "head": (self._head, ("task",), ("boxes", "scores", "labels")),
        }[name]

    def run_tensors(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(zip(self.outputs, self._work(*(feeds[name] for name in self.inputs)), strict=True))

    @staticmethod
    def _head(task: np.ndarray) -> tuple[np.ndarray, ...]:
        box = np.array([[8, 8, 40, 40]], np.float32) + np.float32(0.01) * task.max()
        return box, np.array([0.75], np.float32), np.array([0])


class NumpyEngine:
    """An engine: a ``Backend``."""

    name, provider, version = "numpy", "cpu", np.__version__

    def __init__(self) -> None:
        self.tensors = NumpyTensors()

    def load(self, model: Model, name: str) -> Session:
        assert isinstance(model, bytes)
        return NumpySession(name, self.tensors)


class AfterLoss(Scheduler):
    """A scheduler: a keyframe right after frames were left out, and every sixth frame at the latest."""

    def __init__(self) -> None:
        self._lost = 0

    def decide(self, info: FrameInfo) -> Decision:
        lost, self._lost = self._lost, 0
        if lost:
            return Decision(True, f"{lost} left out")
        return Decision(info.feature_age >= 6, "age")

    def for_stream(self) -> AfterLoss:
        return AfterLoss()

    def on_drop(self, frames: int) -> None:
        self._lost += frames


class RawVideo(Source):
    """A source: frames of one size, byte after byte in a file."""

    def __init__(self, path: Path, height_px: int, width_px: int) -> None:
        self.name = path.name
        self.rate_fps = 10.0
        self._shape = (height_px, width_px, 3)
        self._file = path.open("rb")

    def __iter__(self) -> Iterator[Frame]:
        size_bytes = int(np.prod(self._shape))
        index = 0
        while not self.stopping and len(content := self._file.read(size_bytes)) == size_bytes:
            yield Frame(np.frombuffer(content, np.uint8).reshape(self._shape), index, index / 10.0)
            index += 1
        if index == 0:
            raise StreamEmpty(f"{self.name} has no frame", got="0 frames", expected="at least 1", fix="Check the size.")

    def close(self) -> None:
        super().close()
        self._file.close()


class CsvSink(Sink):
    """A sink: a line for each box, whole or absent."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._target = PartialFile(path)
        self._lines = ["frame,label,score"]

    def write(self, frame: Frame, detections: Detections) -> None:
        begin = time.perf_counter_ns()
        for label, score in zip(detections.label_names, detections.scores, strict=True):
            self._lines.append(f"{detections.frame},{label},{score:.2f}")
        self.stage_ms = {"csv": (time.perf_counter_ns() - begin) / 1e6}

    def finish(self) -> None:
        self._target.create().write_text("\n".join(self._lines) + "\n", encoding="utf-8")

    def publish(self) -> None:
        self._target.publish()

    def settle(self) -> None:
        self._target.settle()

    def abandon(self) -> None:
        self._target.discard()


class BrightSpot:
    """A peer: the brightest spot of a grey picture, called a bird."""

    classes = ("bird",)

    def __init__(self) -> None:
        self._preprocess = Preprocessor(InputInfo(64, 96, "letterbox", 114))

    def prepare(self, frame_hwc_bgr_u8: np.ndarray) -> tuple[np.ndarray, Geometry]:
        image, geometry = self._preprocess(frame_hwc_bgr_u8)
        return cv2.cvtColor(image[0], cv2.COLOR_BGR2GRAY), geometry

    def infer(self, prepared: np.ndarray) -> tuple[int, int]:
        return cv2.minMaxLoc(prepared)[3]

    def finish(self, raw: tuple[int, int], geometry: Geometry) -> Boxes:
        x, y = raw
        box = np.array([[x - 1, y - 1, x + 1, y + 1]], np.float32)
        return geometry.to_frame(Boxes(box, np.ones(1, np.float32), np.zeros(1, np.int64), "edges"))


@pytest.fixture
def raw_video(tmp_path: Path) -> Path:
    path = tmp_path / "clip.raw"
    path.write_bytes(np.random.default_rng(0).integers(0, 256, (12, 72, 96, 3), np.uint8).tobytes())
    return path


def test_an_engine(hand_made_bundle: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (12, 72, 96, 3), np.uint8)
    ours, theirs = (Detector(hand_made_bundle, EngineOptions(name)) for name in (NumpyEngine(), "onnxruntime"))
    for frame in frames:
        found, expected = ours.push(frame), theirs.push(frame)
        assert (found.kind, found.label_names) == (expected.kind, expected.label_names)
        np.testing.assert_allclose(found.boxes_xyxy_px, expected.boxes_xyxy_px, rtol=1e-5)
    assert ours.pipeline.backend.tensors.traffic.in_bytes > 0


def test_a_scheduler(hand_made_bundle: Path) -> None:
    frame = np.zeros((72, 96, 3), np.uint8)

    class Lossy(Source):
        def __iter__(self) -> Iterator[Frame]:
            return (Frame(frame, i, i / 25, dropped_before=3 if i == 4 else 0) for i in range(12))

    policy = AfterLoss()
    with Detector(hand_made_bundle, scheduler=policy) as detector, detector.share() as other:
        found = [(detections.kind, detections.why) for _, detections in detector.run(Lossy())]
        assert isinstance(other.scheduler, AfterLoss) and len({policy, detector.scheduler, other.scheduler}) == 3
    assert found[0][0] == "first" and found[4] == ("keyframe", "3 left out") and found[10] == ("keyframe", "age")
    assert [kind for kind, _ in found].count("propagated") == 9


def test_a_source_and_a_sink(raw_video: Path, tmp_path: Path, hand_made_bundle: Path) -> None:
    output = tmp_path / "found.csv"
    source = RawVideo(raw_video, 72, 96)
    with Detector(hand_made_bundle) as detector:
        summary = run_stream(detector, source, [CsvSink(output)])
    assert source.closed and summary.kinds == {"first": 1, "propagated": 10, "keyframe": 1}
    assert "csv" in summary.stage_ms and summary.video_s == pytest.approx(1.2)
    lines = output.read_text().splitlines()
    assert lines[0] == "frame,label,score" and len(lines) == 1 + summary.detections > 1


def test_a_failed_run_leaves_no_output(raw_video: Path, tmp_path: Path, hand_made_bundle: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    source = RawVideo(raw_video, 1000, 1000)
    with Detector(hand_made_bundle) as detector, pytest.raises(StreamEmpty, match="has no frame"):
        run_stream(detector, source, [CsvSink(tmp_path / "found.csv")])
    assert source.closed and sorted(tmp_path.rglob("*")) == before


def test_a_peer() -> None:
    frame = np.zeros((128, 192, 3), np.uint8)
    frame[60:64, 100:104] = 255
    peer = PeerContestant(BrightSpot())
    x1, y1, x2, y2 = peer.detect(frame, keyframe=False).boxes.xyxy_px[0]
    assert x1 <= 102 <= x2 and y1 <= 62 <= y2 and peer.classes == ("bird",)
    entries = [Entry(EntryFacts("bright-spot", "numpy", "cpu", Precision(), (64, 96)), peer)]
    data, _ = run_comparison(entries, Clip(procedural_frames=5), RunSettings(2, 1), left_out={})
    (row,) = data.rows
    assert row.entry.label == "bright-spot, numpy fp32" and row.boxes == row.model.all.n > 0


def test_the_rows_are_there_and_name_what_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Adding things")[2]
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert set(ADDED) <= set(rows)
    named = {path for row in rows.values() for path in re.findall(r"`([\w./]+/[\w.]+)`", row) if "NAME" not in path}
    assert len(named) > 10 and [path for path in sorted(named) if not (ROOT / path).exists()] == []
