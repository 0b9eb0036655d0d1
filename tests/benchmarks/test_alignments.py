"""The other alignments compute what their papers say, so that their latency means something."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx")

from lsts_edge.benchmarks.alignments import DenseFlow, warp_graph
from lsts_edge.export.rival_graphs import match_trans_graph, non_local_graph
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions

H, W, C, E = 6, 9, 5, 4


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    random = np.random.RandomState(0)
    return {
        "memory": random.randn(1, C, H, W).astype(np.float32),
        "memory_embedding": random.randn(1, E, H, W).astype(np.float32),
        "current_embedding": random.randn(1, E, H, W).astype(np.float32),
    }


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max())
    return powers / powers.sum()


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_non_local(tensors: dict[str, np.ndarray], engine: str) -> None:
    pytest.importorskip(engine)
    model = non_local_graph("current_embedding", (1, E, H, W), (1, C, H, W))
    aligned = open_backend(EngineOptions(engine)).load(model.SerializeToString(), "non_local").run(tensors)["aligned"]
    memory, key, query = (
        tensors[name].reshape(-1, H * W) for name in ("memory", "memory_embedding", "current_embedding")
    )
    for cell in (0, 17, H * W - 1):
        expected = memory @ softmax(key.T @ query[:, cell])
        np.testing.assert_allclose(aligned.reshape(C, -1)[:, cell], expected, atol=1e-5)


def test_match_trans_looks_at_its_window_and_no_further(tensors: dict[str, np.ndarray]) -> None:
    model = match_trans_graph("current_embedding", (1, E, H, W), (1, C, H, W))
    aligned = open_backend().load(model.SerializeToString(), "match_trans").run(tensors)["aligned"]
    y, x = 1, 2
    scores, features = [], []
    for dy in range(-4, 5):
        for dx in range(-4, 5):
            inside = 0 <= y + dy < H and 0 <= x + dx < W
            there = (0, slice(None), y + dy, x + dx)
            similar = tensors["memory_embedding"][there] @ tensors["current_embedding"][0, :, y, x] if inside else 0.0
            scores.append(similar)
            features.append(tensors["memory"][there] if inside else np.zeros(C))
    expected = softmax(np.array(scores)) @ np.array(features)
    np.testing.assert_allclose(aligned[0, :, y, x], expected, atol=1e-5)
    far = {**tensors, "memory": tensors["memory"].copy()}
    far["memory"][0, :, :, 8] += 100.0
    moved = open_backend().load(model.SerializeToString(), "match_trans").run(far)["aligned"]
    np.testing.assert_array_equal(moved[..., 3], aligned[..., 3])
    assert np.abs(moved[..., 4] - aligned[..., 4]).max() > 0.1


def test_warp_follows_a_pan() -> None:
    """A textured image moves 16 px (one cell) to the right: the warped feature moves one cell too."""
    random = np.random.RandomState(1)
    wide = cv2.resize(random.randint(0, 256, (16, 20, 3), np.uint8), (640, 512), interpolation=cv2.INTER_CUBIC)
    height, width = 256, 384
    key = np.ascontiguousarray(wide[None, 32 : 32 + height, 64 : 64 + width])
    current = np.ascontiguousarray(wide[None, 32 : 32 + height, 48 : 48 + width])
    flow = DenseFlow((height // 16, width // 16))
    memory = random.randn(1, 3, height // 16, width // 16).astype(np.float32)
    session = open_backend().load(warp_graph(memory.shape), "warp")
    moved = session.run({"memory": memory, "grid": flow.grid(flow.gray(current), flow.gray(key))})["aligned"]
    error = np.abs(moved[0, :, 2:-2, 3:-2] - memory[0, :, 2:-2, 2:-3])
    assert np.median(error) < 0.1
    still = session.run({"memory": memory, "grid": flow.grid(flow.gray(key), flow.gray(key))})["aligned"]
    np.testing.assert_allclose(still, memory, atol=0.05)
