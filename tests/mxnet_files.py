"""Parameter files as the released MXNet code writes them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from lsts_edge.model import VideoNetwork
from lsts_edge.model.mxnet_names import mxnet_names

__all__ = ["released_arrays", "write_params"]


def write_params(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """The layout of the genuine file."""
    with path.open("wb") as file:
        file.write(struct.pack("<QQQ", 0x112, 0, len(arrays)))
        for array in arrays.values():
            file.write(struct.pack("<IiI", 0xF993FAC9, 0, array.ndim))
            file.write(struct.pack(f"<{array.ndim}q", *array.shape))
            file.write(struct.pack("<iii", 1, 0, {"float32": 0, "float16": 2}[array.dtype.name]))
            file.write(array.tobytes())
        file.write(struct.pack("<Q", len(arrays)))
        for name in arrays:
            file.write(struct.pack("<Q", len(name)) + name.encode())


def released_arrays(network: VideoNetwork) -> dict[str, np.ndarray]:
    """A network's parameters under the released names, the copies of the box layer for inference included."""
    state = network.state_dict()
    found = {theirs: state[ours].numpy() for ours, theirs in mxnet_names(network).items()}
    std = np.repeat(np.tile(np.float32([0.1, 0.1, 0.2, 0.2]), 2), 49)
    found["arg:rfcn_bbox_weight_test"] = found["arg:rfcn_bbox_weight"] * std[:, None, None, None]
    found["arg:rfcn_bbox_bias_test"] = found["arg:rfcn_bbox_bias"] * std
    return found
