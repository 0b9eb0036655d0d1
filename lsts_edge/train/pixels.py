"""Where a store's pixels are: all in memory as bytes, or read from their files when they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch

from lsts_edge.errors import AnnotationError
from lsts_edge.runtime.sources.picture import read_picture

__all__ = ["FilePixels", "MemoryPixels", "Pixels", "StoredImage", "read_stored", "reduction"]

_READERS = 8  # threads; decoding and scaling let the others run


@dataclass(frozen=True)
class StoredImage:
    """A file and how it is stored.

    Attributes:
        path: the image.
        file_px: height and width that the annotations say.
        stored_px: height and width that it is reduced to.
        color_order: ``rgb`` or ``bgr``.
    """

    path: Path
    file_px: tuple[int, int]
    stored_px: tuple[int, int]
    color_order: str


class Pixels(Protocol):
    """Images padded to one size at the right and bottom, looked up by their index."""

    @property
    def device(self) -> torch.device:
        """Where ``take`` puts them."""

    def take(self, index: torch.Tensor) -> torch.Tensor:
        """``(N,)`` to ``(N, 3, H, W)`` uint8 in the network's colour order."""

    def to(self, device: torch.device) -> Pixels:
        """The same on another device."""


class MemoryPixels:
    """Every image, on the device: drawing waits for nothing."""

    def __init__(self, values: torch.Tensor) -> None:
        self._values = values

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self._values.device

    def take(self, index: torch.Tensor) -> torch.Tensor:
        """``(N,)`` to ``(N, 3, H, W)`` uint8."""
        return self._values[index.to(self.device)]

    def to(self, device: torch.device) -> MemoryPixels:
        """A copy on another device."""
        return MemoryPixels(self._values.to(device))


class FilePixels:
    """Images read when they are drawn, each process its own, for sets that no memory holds."""

    def __init__(self, pictures: Sequence[StoredImage], device: torch.device | None = None) -> None:
        self._pictures = pictures
        self._size = tuple(max(one.stored_px[axis] for one in pictures) for axis in (0, 1))
        self._device = torch.device("cpu") if device is None else device
        self._readers = ThreadPoolExecutor(_READERS, "images")

    @property
    def device(self) -> torch.device:
        """Where ``take`` puts them."""
        return self._device

    def take(self, index: torch.Tensor) -> torch.Tensor:
        """``(N,)`` to ``(N, 3, H, W)`` uint8.

        Raises:
            AnnotationError: if a file cannot be read or has another size than the annotations say.
        """
        wanted = list(dict.fromkeys(index.tolist()))
        values = np.zeros((len(wanted), 3, *self._size), np.uint8)
        for place, image in enumerate(self._readers.map(read_stored, [self._pictures[at] for at in wanted])):
            values[place, :, : image.shape[1], : image.shape[2]] = image
        place_of = {at: place for place, at in enumerate(wanted)}
        return torch.from_numpy(values[[place_of[at] for at in index.tolist()]]).to(self._device)

    def to(self, device: torch.device) -> FilePixels:
        """The same files for another device."""
        return FilePixels(self._pictures, device)


def reduction(size_hw: tuple[int, int], max_side_px: int) -> tuple[float, tuple[int, int]]:
    """By how much a picture is reduced so that its longer side fits, never enlarged, and its height and width then."""
    scale = min(1.0, max_side_px / max(1, *size_hw))
    return scale, (max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale)))


def read_stored(picture: StoredImage) -> np.ndarray:
    """A file's image as it is stored: ``(3, h, w)`` uint8.

    Raises:
        AnnotationError: if it cannot be read or has another size than the annotations say.
    """
    image, why = read_picture(picture.path)
    if image is None:
        raise AnnotationError(
            f"training image {picture.path}", got=why, expected="a readable one", fix="Check the path."
        )
    if image.shape[:2] != picture.file_px:
        fix = "Make file and annotations agree."
        got, expected = image.shape[:2], picture.file_px
        raise AnnotationError(f"training image {picture.path}", got=got, expected=expected, fix=fix)
    if picture.stored_px != picture.file_px:
        image = cv2.resize(image, picture.stored_px[::-1], interpolation=cv2.INTER_AREA)
    if picture.color_order == "rgb":
        image = image[:, :, ::-1]
    return image.transpose(2, 0, 1)
