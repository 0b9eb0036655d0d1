"""Warping by optical flow, as Deep Feature Flow does it: one bilinear sample of the memory per cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lsts_edge.model.alignments.interface import Compared

__all__ = ["FlowWarp", "dis_flow", "warp"]

Flow = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""``(N, 3, H, W)`` pictures, old and new -> ``(N, 2, h, w)``: how far each new pixel's place in the old one is."""


def warp(feature: torch.Tensor, flow_cells: torch.Tensor) -> torch.Tensor:
    """Sample a feature at each cell's place plus its flow, bilinear, zero outside.

    Args:
        feature: ``(N, C, h, w)``.
        flow_cells: ``(N, 2, h, w)``, x and y.

    Returns:
        ``(N, C, h, w)``.
    """
    height, width = feature.shape[2:]
    y, x = torch.meshgrid(
        *(torch.arange(side, device=feature.device, dtype=flow_cells.dtype) for side in (height, width)), indexing="ij"
    )
    size = flow_cells.new_tensor((width, height))
    place = (torch.stack((x, y), dim=-1) + flow_cells.permute(0, 2, 3, 1)) * 2 + 1
    return F.grid_sample(feature, (place / size - 1).to(feature.dtype), align_corners=False)


class FlowWarp(nn.Module):
    """DFF (Zhu et al., CVPR 2017) without its scale field, which only a trained flow network has.

    The flow is computed on pictures of half the network's size, as there, brought to the feature's grid by area
    means, and counted in cells. A flow that is no network takes no gradient.

    Args:
        flow: of two pictures; a module becomes part of the network.
    """

    compares: ClassVar[Compared] = "pictures"

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, memory: torch.Tensor, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        """``(N, C, h, w)``; see ``Alignment``."""
        return warp(memory, _to_cells(self.flow(old, new), old.shape[2:], memory.shape[2:]))


def dis_flow(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """Dense inverse search (Kroeger et al., ECCV 2016) in OpenCV, preset fast, on gray; on the CPU, pixels of ``new``.

    Args:
        old: ``(N, 3, H, W)`` BGR, 0..1.
        new: the same.

    Returns:
        ``(N, 2, H, W)`` float32: ``new`` at a pixel shows what ``old`` shows at that pixel plus the flow.
    """
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flows = [
        search.calc(_gray(b), _gray(a), None)  # type: ignore[call-overload]
        for a, b in zip(old.detach(), new.detach(), strict=True)
    ]
    return torch.from_numpy(np.stack(flows).transpose(0, 3, 1, 2)).to(old.device)


def _gray(picture: torch.Tensor) -> np.ndarray:
    image = (picture.float().permute(1, 2, 0).cpu().numpy() * 255.0).round().clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2GRAY))


def _to_cells(flow_px: torch.Tensor, picture_px: Sequence[int], cells: Sequence[int]) -> torch.Tensor:
    """Flow in pixels of the picture, at whatever resolution, to flow in cells on the feature's grid: means of areas."""
    rows, columns = (
        torch.from_numpy(_areas(source, wanted)).to(flow_px)
        for source, wanted in zip(flow_px.shape[2:], cells, strict=True)
    )
    scale = flow_px.new_tensor((cells[1] / picture_px[1], cells[0] / picture_px[0])).view(1, 2, 1, 1)
    return torch.matmul(rows, torch.matmul(flow_px, columns.T)) * scale


def _areas(source: int, wanted: int) -> np.ndarray:
    """``(wanted, source)``: row ``i`` is the mean of the source cells that cell ``i`` of ``wanted`` touches."""
    matrix = np.zeros((wanted, source), np.float32)
    for index in range(wanted):
        first, end = index * source // wanted, -(-(index + 1) * source // wanted)
        matrix[index, first:end] = 1.0 / (end - first)
    return matrix
