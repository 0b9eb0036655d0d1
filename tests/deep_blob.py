"""The detector of bright squares as a network with stages and a pyramid: something to learn around."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
from blob_detector import CLASSES, SQUARE_PX
from detector_graphs import Sketch

__all__ = ["DEEP_SIZE", "deep_blob"]

DEEP_SIZE = (128, 128)
_CHANNELS = 6  # the mean colour of what a cell covers, and three that mean nothing


def deep_blob(path: Path) -> Path:
    """A YOLOX file of two classes at every multiple of 32, exported at 128x128; only cells of 8 pixels see anything."""
    s = Sketch(7)
    value = s.input("images", (1, 3, *DEEP_SIZE))
    stages = []
    for stage in range(5):
        count = 3 if stage == 0 else _CHANNELS
        weight = s.random.randn(_CHANNELS, count, 2, 2) * 0.3
        weight[:3] = 0
        weight[range(3), range(3)] = 0.25
        value = s.op("Conv", value, s.constant(weight), s.constant(np.zeros(_CHANNELS)), strides=[2, 2])
        stages.append(value)
    above = s.op("Resize", stages[3], "", s.constant([1, 1, 2, 2]), mode="nearest")
    levels = []
    for feature, stride in ((s.op("Concat", stages[2], above, axis=1), 8), (stages[3], 16), (stages[4], 32)):
        count = 2 * _CHANNELS if stride == 8 else _CHANNELS
        weight = np.zeros((7, count, 1, 1))
        size = math.log(SQUARE_PX / stride)
        bias = np.array([0.5, 0.5, size, size, -8.0, -4.0, -4.0])
        if stride == 8:  # blue, green, red
            weight[4, :3, 0, 0] = np.array([0.06, 0.0, 0.06])
            weight[5, :3, 0, 0] = np.array([-0.1, 0.0, 0.1])
            weight[6] = -weight[5]
        raw = s.op("Conv", feature, s.constant(weight), s.constant(bias))
        box, rest = s.op("Split", raw, s.constant([4, 3], "int64"), count=2, axis=1)
        levels.append(s.reshape(s.op("Concat", box, s.op("Sigmoid", rest), axis=1), 1, 7, -1))
    s.op("Transpose", s.op("Concat", *levels, axis=2), perm=[0, 2, 1], name="output")
    cells = sum(DEEP_SIZE[0] // stride * (DEEP_SIZE[1] // stride) for stride in (8, 16, 32))
    s.output("output", (1, cells, 7))
    onnx.save(s.model(18, {"names": str(list(CLASSES))}), path)
    return path
