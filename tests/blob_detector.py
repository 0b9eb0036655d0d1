"""A detector without training: it finds bright squares on a dark ground, and clips that hold some."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import onnx
from detector_graphs import Sketch

from videos import write_video

__all__ = ["CLASSES", "SIZE", "SQUARE_PX", "blob_clip", "blob_detector", "write_blob_clip"]

CLASSES = ("red", "blue")
SIZE = (96, 128)
SQUARE_PX = 24
_STRIDES = (8, 16, 32)


def blob_detector(path: Path, *, blind: bool = False) -> Path:
    """A file as YOLOX writes it, of two classes; at every multiple of 32.

    A cell of 8 pixels that is much redder than blue, or bluer than red, is a square of 24 pixels around it; ``blind``
    finds none.
    """
    s = Sketch()
    image = s.input("images", (1, 3, *SIZE))
    levels = []
    for stride in _STRIDES:
        weight = np.zeros((7, 3, stride, stride))
        bias = np.array([0.5, 0.5, math.log(SQUARE_PX / stride), math.log(SQUARE_PX / stride), -8.0, -4.0, -4.0])
        if stride == 8 and not blind:  # blue, green, red
            weight[4] = np.array([0.5, 0.0, 0.5]).reshape(3, 1, 1) * 0.12 / stride**2
            weight[5] = np.array([-1.0, 0.0, 1.0]).reshape(3, 1, 1) * 0.1 / stride**2
            weight[6] = -weight[5]
        raw = s.op("Conv", image, s.constant(weight), s.constant(bias), strides=[stride, stride])
        box, rest = s.op("Split", raw, s.constant([4, 3], "int64"), count=2, axis=1)
        both = s.op("Concat", box, s.op("Sigmoid", rest), axis=1)
        levels.append(s.reshape(both, 1, 7, -1))
    s.op("Transpose", s.op("Concat", *levels, axis=2), perm=[0, 2, 1], name="output")
    cells = sum(SIZE[0] // stride * (SIZE[1] // stride) for stride in _STRIDES)
    s.output("output", (1, cells, 7))
    onnx.save(s.model(18, {"names": str(list(CLASSES))}), path)
    return path


def blob_clip(frames: int, seed: int = 0, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    """A red and a blue square that move over a dark textured ground, ``(H, W, 3)`` uint8 BGR each."""
    random = np.random.RandomState(seed)
    height, width = size
    ground = cv2.resize(random.randint(0, 60, (height // 4, width // 4, 3)).astype(np.uint8), (width, height))
    squares = []
    for color in ((40, 60, 220), (220, 60, 40)):
        grain = random.randint(-30, 31, (SQUARE_PX // 3, SQUARE_PX // 3, 1))
        picture = np.clip(np.array(color) + np.repeat(np.repeat(grain, 3, 0), 3, 1), 0, 255).astype(np.uint8)
        squares.append((picture, random.uniform(0, 2 * math.pi, 2)))
    clip = []
    for index in range(frames):
        frame = ground.copy()
        for picture, phase in squares:
            reach = np.array([height - SQUARE_PX, width - SQUARE_PX])
            top, left = (reach * (0.5 + 0.5 * np.sin(phase + index * np.array([0.06, 0.05])))).astype(int)
            frame[top : top + SQUARE_PX, left : left + SQUARE_PX] = picture
        clip.append(frame)
    return clip


def write_blob_clip(path: Path, frames: int, seed: int = 0, size: tuple[int, int] = SIZE) -> Path:
    """The same as a video."""
    return write_video(path, blob_clip(frames, seed, size))
