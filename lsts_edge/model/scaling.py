"""Half the size and back: the image that a light path at half resolution sees, and its feature on the full grid."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

__all__ = ["doubled", "halved"]


def halved(image: torch.Tensor) -> torch.Tensor:
    """``(N, C, H, W)`` to ``(N, C, ceil(H / 2), ceil(W / 2))``: means of 2 x 2 pixels.

    An odd last row or column counts twice, so that a mean taken off before or after makes no difference.
    """
    height, width = image.shape[2:]
    if height % 2 or width % 2:
        image = F.pad(image, (0, width % 2, 0, height % 2), mode="replicate")
    return F.avg_pool2d(image, 2)


def doubled(feature: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """``(N, C, h, w)`` to ``(N, C, height, width)``: every second cell is one of the feature's, the others lie between.

    Bilinear; past the last row and column it goes on as it is there. Two products with constant matrices: engines run
    those several times faster than their interpolation, and alike.

    Args:
        feature: on the half-size grid.
        height: at most ``2 h``.
        width: at most ``2 w``.
    """
    sides = zip(feature.shape[2:], (height, width), strict=True)
    rows, columns = (_between(cells, wanted).to(feature) for cells, wanted in sides)
    return torch.matmul(rows, torch.matmul(feature, columns.T))


def _between(cells: int, wanted: int) -> torch.Tensor:
    """``(wanted, cells)``: row ``i`` reads place ``i / 2``."""
    if not isinstance(wanted, int):  # open in a trace: in operators, which would be no constant at a fixed size
        rows, cell = torch.arange(wanted)[:, None], torch.arange(cells)
        after = ((rows + 1) // 2).clamp(max=cells - 1)
        return 0.5 * ((rows // 2 == cell).float() + (after == cell).float())
    place = np.arange(wanted)
    matrix = np.zeros((wanted, cells), np.float32)
    np.add.at(matrix, (place, place // 2), 0.5)
    np.add.at(matrix, (place, np.minimum((place + 1) // 2, cells - 1)), 0.5)
    return torch.from_numpy(matrix)
