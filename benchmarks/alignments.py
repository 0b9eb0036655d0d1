"""Warping by optical flow in place of LSTS, of any bundle: for latency side by side."""

from __future__ import annotations

import cv2
import numpy as np

from lsts_edge.export.graph import Builder

__all__ = ["DenseFlow", "warp_graph"]


def warp_graph(memory_shape: tuple[int, ...]) -> bytes:
    """Warp a feature by a flow field (Zhu et al., DFF, CVPR 2017): one bilinear sample per cell.

    Args:
        memory_shape: ``(1, C, H, W)``.

    Returns:
        A serialised model: memory, grid ``(1, H, W, 2)`` in GridSample's units -> aligned.
    """
    graph = Builder("warp")
    memory = graph.input("memory", memory_shape)
    grid = graph.input("grid", (1, *memory_shape[2:], 2))
    aligned = graph.op("GridSample", memory, grid, mode="bilinear", padding_mode="zeros", align_corners=0)
    model = graph.build({"aligned": (aligned, memory_shape, "float32")})
    return bytes(model.SerializeToString())


class DenseFlow:
    """Optical flow from the current frame to the keyframe (cv2.DISOpticalFlow, preset fast, half resolution).

    Half resolution is what DFF's flow network gets. The flow becomes a sampling grid of the feature's size.

    Args:
        feature_size: ``(H, W)`` in cells.
    """

    settings = "cv2.DISOpticalFlow, preset fast, grey image at half of the network's resolution"

    def __init__(self, feature_size: tuple[int, int]) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._height, self._width = feature_size
        y, x = np.meshgrid(np.arange(self._height), np.arange(self._width), indexing="ij")
        self._cells = np.stack((x, y), axis=-1).astype(np.float32)

    def gray(self, image: np.ndarray) -> np.ndarray:
        """``(1, H, W, 3)`` uint8 BGR to the half-size gray picture that flow is computed on."""
        height, width = image.shape[1:3]
        half = cv2.resize(image[0], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.cvtColor(half, cv2.COLOR_BGR2GRAY))

    def grid(self, gray: np.ndarray, key_gray: np.ndarray) -> np.ndarray:
        """Where each cell of the current frame lies in the keyframe, in GridSample's units.

        Args:
            gray: of the current frame.
            key_gray: of the keyframe.
        Returns:
            ``(1, H, W, 2)`` float32.
        """
        flow = self._flow.calc(gray, key_gray, np.zeros((*gray.shape, 2), np.float32))
        scale = np.array([self._width / gray.shape[1], self._height / gray.shape[0]], np.float32)
        small = cv2.resize(flow, (self._width, self._height), interpolation=cv2.INTER_AREA) * scale
        grid = (2.0 * (self._cells + small) + 1.0) / np.array([self._width, self._height], np.float32) - 1.0
        return np.ascontiguousarray(grid[None], dtype=np.float32)
