"""Position-sensitive RoI pooling by Caffe's rounding rule: batched, differentiable, on any device."""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = ["bin_edges", "position_sensitive_pool"]


def bin_edges(low: torch.Tensor, high: torch.Tensor, stride: int, bins: int, cells: int) -> torch.Tensor:
    """First and one-past-last cell of each bin along one axis.

    Corners are rounded in image pixels, half up (``floor(x + 0.5)``: torch would round half to even), the last one
    counts whole, sides are at least 0.1 cell, bin limits go down to the first and up to the last cell they touch.
    In units of ``1 / (10 bins stride)`` cell all of it is whole numbers, exact in float32; in cells a limit that falls
    between two of them was at times a rounding off, and its bin a cell longer than in the exported head.

    Args:
        low: ``(R,)`` first corner, pixels.
        high: ``(R,)`` last corner, pixels, inclusive.
        stride: pixels per cell.
        bins: bins along the axis.
        cells: cells of the map along the axis.

    Returns:
        ``(R, bins, 2)`` int64, clipped to the map; an empty bin has first >= last.
    """
    unit = 10.0 * bins * stride
    start = (low + 0.5).floor()
    side = (((high + 0.5).floor() + 1.0 - start) * 10.0).clamp(min=float(stride))[:, None]
    place = torch.arange(bins, device=low.device, dtype=low.dtype) * side + start[:, None] * (10.0 * bins)
    # The half keeps a division that is off by a rounding from crossing to the next cell.
    first = ((place + 0.5) / unit).floor()
    last = ((place + side + (unit - 0.5)) / unit).floor()
    # A non-finite corner must not become an index: its bins are empty.
    return torch.stack((first, last), dim=-1).nan_to_num(0.0).clamp(0, cells).to(torch.int64)


def position_sensitive_pool(maps: torch.Tensor, rois: torch.Tensor, *, bins: int, stride: int) -> torch.Tensor:
    """Average each bin of each RoI over that bin's own map (R-FCN, Dai et al. 2016).

    By integral images in float64: four look-ups per bin, exact to far below float32 for any map, and the gradient
    is the same walk backwards.

    Args:
        maps: ``(N, D * bins * bins, H, W)``, channel ``(d * bins + bin_y) * bins + bin_x``.
        rois: ``(R, 5)``: image of the batch, then xyxy in pixels, inclusive.
        bins: bins per side.
        stride: pixels per cell.

    Returns:
        ``(R, D, bins, bins)`` in the maps' dtype; an empty bin is zero.
    """
    batch, channels, height, width = maps.shape
    depth = channels // (bins * bins)
    count = len(rois)
    image = rois[:, 0].to(torch.int64)
    columns = bin_edges(rois[:, 1], rois[:, 3], stride, bins, width)
    rows = bin_edges(rois[:, 2], rois[:, 4], stride, bins, height)

    integral = F.pad(maps.to(torch.float64).cumsum(2).cumsum(3), (1, 0, 1, 0))
    # One row per (image, bin, y, x), the D values side by side: a look-up is one gather of rows.
    table = integral.view(batch, depth, bins * bins, height + 1, width + 1).permute(0, 2, 3, 4, 1).reshape(-1, depth)
    cell = torch.arange(bins * bins, device=maps.device).view(1, bins, bins)
    plane = (image[:, None, None] * bins * bins + cell) * (height + 1)

    def at(row_end: int, column_end: int) -> torch.Tensor:
        y = rows[:, :, None, row_end]
        x = columns[:, None, :, column_end]
        return table.index_select(0, ((plane + y) * (width + 1) + x).flatten()).view(count, bins, bins, depth)

    total = at(1, 1) - at(0, 1) - at(1, 0) + at(0, 0)
    span_y = (rows[..., 1] - rows[..., 0]).clamp(min=0)
    span_x = (columns[..., 1] - columns[..., 0]).clamp(min=0)
    area = (span_y[:, :, None] * span_x[:, None, :])[..., None]
    mean = torch.where(area > 0, total / area.clamp(min=1), torch.zeros_like(total))
    return mean.permute(0, 3, 1, 2).to(maps.dtype)
