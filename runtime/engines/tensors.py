"""Where an engine keeps its tensors, and how arrays get in and out; what crosses is counted."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Tensor", "Tensors", "Traffic", "arrays_finite"]

Tensor = Any
"""A tensor of an engine, opaque to all but that engine. It keeps its values as long as somebody holds it."""


@dataclass(frozen=True)
class Traffic:
    """Bytes that went into an engine's tensors and came out of them so far.

    On a device with memory of its own each of them crosses the bus. On a processor an array and a tensor share their
    memory where the engine can, so that nothing is copied: these are the bytes that a device would have to move.
    """

    in_bytes: int = 0
    out_bytes: int = 0

    def __sub__(self, before: Traffic) -> Traffic:
        """What went in and out between two readings."""
        return Traffic(self.in_bytes - before.in_bytes, self.out_bytes - before.out_bytes)


class Tensors(ABC):
    """Puts arrays into an engine's tensors, gets them out, and looks at tensors where they are.

    Safe to call from several threads at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_bytes = self._out_bytes = 0

    @property
    def traffic(self) -> Traffic:
        """What crossed so far, of all who use this engine."""
        with self._lock:
            return Traffic(self._in_bytes, self._out_bytes)

    def put(self, array: np.ndarray) -> Tensor:
        """A tensor with the array's values; the array must not change while the tensor is in use."""
        self._count(in_bytes=array.nbytes)
        return self._put(array)

    def get(self, tensor: Tensor) -> np.ndarray:
        """The tensor's values; on a processor they may share its memory, so they are not to be written to."""
        array = self._get(tensor)
        self._count(out_bytes=array.nbytes)
        return array

    @abstractmethod
    def all_finite(self, tensors: Sequence[Tensor]) -> bool:
        """Whether no tensor of floating point numbers holds a NaN or an infinity."""

    @abstractmethod
    def _put(self, array: np.ndarray) -> Tensor: ...

    @abstractmethod
    def _get(self, tensor: Tensor) -> np.ndarray: ...

    def _count(self, in_bytes: int = 0, out_bytes: int = 0) -> None:
        with self._lock:
            self._in_bytes += in_bytes
            self._out_bytes += out_bytes


def arrays_finite(arrays: Iterable[np.ndarray]) -> bool:
    """Whether no array of floating point numbers holds a NaN or an infinity."""
    return all(_array_finite(array) for array in arrays)


def _array_finite(array: np.ndarray) -> bool:
    """One pass in the usual case: the dot product with itself is finite unless a value is not, or is huge."""
    if array.dtype.kind != "f":
        return True
    flat = array.reshape(-1)
    if array.dtype == np.float32 and np.isfinite(np.dot(flat, flat)):
        return True
    return bool(np.isfinite(flat).all())
