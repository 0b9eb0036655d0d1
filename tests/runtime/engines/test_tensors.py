"""Tensors belong to the engine: state is never copied nor overwritten, and what crosses is counted."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from hand_made import hand_made_files
from lsts_edge.bundle import Bundle
from lsts_edge.errors import ProviderError
from lsts_edge.runtime import Detections, Detector, EngineOptions
from lsts_edge.runtime.engines.interface import Session
from lsts_edge.runtime.engines.onnxruntime import OnnxRuntimeBackend, _DeviceTensors
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.tensors import Tensor, Tensors, Traffic
from lsts_edge.runtime.pipeline import Pipeline
from videos import small_clip

ENGINES = ["onnxruntime", "openvino", "bound"]


class BoundOnHost(OnnxRuntimeBackend):
    """ONNX Runtime's way for devices, bindings and a graph for finiteness, with the host as the device."""

    def __init__(self) -> None:
        super().__init__(EngineOptions(threads=1))
        self.tensors = _DeviceTensors("cpu", self._create)


def engine(name: str) -> EngineOptions:
    return EngineOptions(BoundOnHost() if name == "bound" else name, threads=None if name == "bound" else 1)


def image(value: int) -> np.ndarray:
    return np.full((1, 64, 96, 3), value, np.uint8)


@pytest.mark.parametrize("name", ENGINES)
def test_only_the_image_goes_in_and_only_boxes_come_out(hand_made_bundle: Path, name: str) -> None:
    detector = Detector(hand_made_bundle, engine(name), keyframe_interval=3)
    tensors = detector.pipeline.backend.tensors
    check = 4 if name == "bound" else 0  # one number says whether everything is finite
    for index in range(7):
        before = tensors.traffic
        detector.push(image(10 * index)[0])
        assert tensors.traffic - before == Traffic(64 * 96 * 3, 4 * 4 + 4 + 8 + check)


class Watching:
    """A real engine that writes down which tensors its graphs read and wrote."""

    def __init__(self, options: EngineOptions) -> None:
        self._backend = open_backend(options)
        self.name, self.provider, self.version = self._backend.name, "cpu", "1"
        self.tensors = self._backend.tensors
        self.seen: list[tuple[str, Mapping[str, Tensor], Mapping[str, Tensor]]] = []

    def load(self, model: bytes, name: str) -> Session:
        session, seen = self._backend.load(model, name), self.seen

        class Watched(Session):
            inputs, outputs, tensors = session.inputs, session.outputs, session.tensors

            def run_tensors(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
                values = session.run_tensors(feeds)
                seen.append((name, dict(feeds), values))
                return values

        return Watched()


@pytest.mark.parametrize("name", ENGINES)
def test_the_state_of_one_frame_is_the_very_tensor_that_the_next_one_reads(hand_made_bundle: Path, name: str) -> None:
    watching = Watching(engine(name))
    pipeline = Pipeline(Bundle.open(hand_made_bundle), EngineOptions(watching))
    for index, kind in enumerate(("first", "propagated", "propagated", "propagated")):
        pipeline.step(image(40 * index), kind)  # type: ignore[arg-type]
    blends = [(feeds, values) for graph, feeds, values in watching.seen if graph == "blend"]
    assert len(blends) == 3
    for (_, before), (feeds, values) in itertools.pairwise(blends):
        assert feeds["memory"] is before["task"]
        assert values["task"] is not before["task"]


@pytest.mark.parametrize("name", ENGINES)
def test_nothing_that_is_held_is_written_to(name: str) -> None:
    """Outputs of earlier runs and the arrays given in keep their values, whatever runs after."""
    backend = open_backend(engine(name))
    session = backend.load(hand_made_files()["blend.onnx"], "blend")
    memories = [np.full((1, 3), value, np.float32) for value in range(8)]
    feature = np.full((1, 3), 100, np.float32)
    held = []
    for memory in memories:
        held.append(
            session.run_tensors({"memory": backend.tensors.put(memory), "feature": backend.tensors.put(feature)})
        )
    for value, (memory, outputs) in enumerate(zip(memories, held, strict=True)):
        assert backend.tensors.get(outputs["task"]).tolist() == [[(value + 100) / 2] * 3]
        assert memory.tolist() == [[value] * 3]
    carried = held[0]["task"]
    for _ in range(6):  # a recurrent output becomes the input of the next run
        before = backend.tensors.get(carried).copy()
        after = session.run_tensors({"memory": carried, "feature": backend.tensors.put(feature)})["task"]
        np.testing.assert_array_equal(backend.tensors.get(carried), before)
        np.testing.assert_array_equal(backend.tensors.get(after), (before + 100) / 2)
        carried = after


@pytest.mark.parametrize("name", ENGINES)
def test_an_array_that_is_not_in_one_piece_or_not_to_be_written_goes_in(name: str) -> None:
    backend = open_backend(engine(name))
    session = backend.load(hand_made_files()["blend.onnx"], "blend")
    pieces = np.arange(6, dtype=np.float32).reshape(1, 6)[:, ::2]
    fixed = np.ones((1, 3), np.float32)
    fixed.flags.writeable = False
    assert session.run({"memory": pieces, "feature": fixed})["task"].tolist() == [[0.5, 1.5, 2.5]]


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_finiteness_is_asked_of_the_engine(name: str, bad: float) -> None:
    tensors: Tensors = open_backend(engine(name)).tensors
    good = [np.ones((2, 3, 4), np.float32), np.full(5, 3e38, np.float32), np.zeros((0, 4), np.float32)]
    good += [np.arange(3), np.ones((2, 2), np.float16), np.full((), 1e300)]
    assert tensors.all_finite([tensors.put(array) for array in good])
    for place in (0, 1, 4, 5):
        arrays = [array.copy() for array in good]
        arrays[place].reshape(-1)[-1] = bad
        assert not tensors.all_finite([tensors.put(array) for array in arrays]), place
    assert tensors.all_finite([])
    assert tensors.all_finite([tensors.put(np.arange(3))])


def test_the_way_for_devices_gives_the_same_bits(tiny_bundle: Path) -> None:
    found = [run(Detector(tiny_bundle, engine(name), keyframe_interval=4)) for name in ("onnxruntime", "bound")]
    assert found[0] == found[1]


def run(detector: Detector, seed: int = 0) -> list[bytes]:
    return [bits(detector.push(frame)) for frame in small_clip(12, 64, 96, seed=seed)]


def bits(found: Detections) -> bytes:
    return found.boxes_xyxy_px.tobytes() + found.scores.tobytes() + found.labels.tobytes()


@pytest.mark.parametrize("name", ENGINES)
def test_two_detectors_on_shared_sessions_equal_two_of_their_own(tiny_bundle: Path, name: str) -> None:
    alone = [run(Detector(tiny_bundle, engine(name), keyframe_interval=4), seed) for seed in (1, 2)]
    first = Detector(tiny_bundle, engine(name), keyframe_interval=4)
    pair = (first, first.share())
    clips = [small_clip(12, 64, 96, seed=seed) for seed in (1, 2)]
    found: list[list[bytes]] = [[], []]
    for frames in zip(*clips, strict=True):  # in turn, so that each would read what the other wrote
        for number, frame in enumerate(frames):
            found[number].append(bits(pair[number].push(frame)))
    assert found == alone
    for detector in pair:
        detector.start_stream()
    threaded: list[list[bytes]] = [[], []]
    threads = [
        threading.Thread(target=lambda n=number: threaded[n].extend(run(pair[n], (1, 2)[n]))) for number in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert threaded == alone


@pytest.mark.parametrize("name", ENGINES)
def test_a_run_that_fails_is_one_error_and_the_session_goes_on(name: str) -> None:
    session = open_backend(engine(name)).load(hand_made_files()["blend.onnx"], "blend")
    feature = np.ones((1, 3), np.float32)
    with pytest.raises(ProviderError, match="blend"):
        session.run({"memory": np.ones((1, 4), np.float32), "feature": feature})
    assert session.run({"memory": feature, "feature": feature})["task"].tolist() == [[1.0] * 3]


@pytest.mark.gpu
def test_on_cuda_the_memory_stays_on_the_device(tiny_bundle: Path) -> None:
    """A frame moves its image, its boxes and one number; the boxes are those of the CPU."""
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has no CUDA")
    detector = Detector(tiny_bundle, EngineOptions(provider="cuda"), keyframe_interval=4, score_threshold=0.05)
    host = Detector(tiny_bundle, EngineOptions(threads=1), keyframe_interval=4, score_threshold=0.05)
    tensors = detector.pipeline.backend.tensors
    for frame in small_clip(12, 64, 96):
        before = tensors.traffic
        found, expected = detector.push(frame), host.push(frame)
        moved = tensors.traffic - before
        assert moved.in_bytes == 64 * 96 * 3
        assert moved.out_bytes <= 4 + 28 * detector.manifest.detection.max_detections
        assert all(value.device_name() == "cuda" for value in detector.pipeline.state.tensors.values())
        assert found.label_names == expected.label_names
        np.testing.assert_allclose(found.boxes_xyxy_px, expected.boxes_xyxy_px, atol=0.1)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)
