"""A reader for MXNet ``.params`` files: named arrays, every length checked against the file before it is believed."""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path

import numpy as np

from lsts_edge.errors import CheckpointError
from lsts_edge.read_file import read_file

__all__ = ["read_params"]

_LIST_MAGIC = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA  # 64-bit shapes; and storage kind; and shapes of rank 0
_DTYPES = ("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8")
_MAX_RANK, _MAX_SIDE = 8, 1 << 31


def read_params(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All arrays of a file that ``mxnet.nd.save`` wrote, by name (``arg:conv1_weight``, ``aux:bn_moving_var``).

    Reads the three layouts MXNet has used since 2016 and the one before; dense arrays only.

    Args:
        path: the file.

    Returns:
        Arrays in the file's order; they are views of the file's bytes and cannot be written to.

    Raises:
        CheckpointError: if the file is cut, holds something else, or counts do not add up.
    """
    path = Path(path)
    cursor = _Cursor(read_file(path), path.name)
    magic, _ = cursor.unpack("<QQ", "header")
    if magic != _LIST_MAGIC:
        raise cursor.error("first 8 bytes", hex(magic), hex(_LIST_MAGIC))
    arrays = [_read_array(cursor) for _ in range(cursor.count("arrays"))]
    names = [cursor.text() for _ in range(cursor.count("names"))]
    if len(names) != len(arrays) or len(set(names)) != len(names):
        raise cursor.error("names", f"{len(set(names))} different names", f"{len(arrays)}, one for each array")
    if cursor.left():
        raise cursor.error("end of file", f"{cursor.left()} bytes more", "none")
    return dict(zip(names, arrays, strict=True))


class _Cursor:
    """Position in a file's bytes; every step forward is checked."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        self.at = 0

    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, size: int, what: str) -> int:
        """Step over ``size`` bytes; where they begin."""
        if size > self.left():
            raise self.error(what, f"{self.left()} bytes left", f"{size}")
        start = self.at
        self.at += size
        return start

    def unpack(self, layout: str, what: str) -> tuple[int, ...]:
        return struct.unpack_from(layout, self.data, self.take(struct.calcsize(layout), what))

    def count(self, what: str) -> int:
        (number,) = self.unpack("<Q", f"number of {what}")
        if number * 8 > self.left():  # neither an array nor a name is shorter
            raise self.error(f"number of {what}", number, f"at most {self.left() // 8} in this file")
        return number

    def text(self) -> str:
        (size,) = self.unpack("<Q", "length of a name")
        start = self.take(size, "a name")
        try:
            return self.data[start : start + size].decode()
        except UnicodeDecodeError as error:
            raise self.error("a name", "bytes that are no UTF-8", "text") from error

    def error(self, what: str, got: object, expected: object) -> CheckpointError:
        return CheckpointError(
            f"MXNet file {self.name}, byte {self.at}: {what}",
            got=got,
            expected=expected,
            fix="The file is damaged or no MXNet parameter file; get it again.",
        )


def _read_array(cursor: _Cursor) -> np.ndarray:
    (magic,) = cursor.unpack("<I", "array header")
    if magic in (_V2, _V3):
        (storage,) = cursor.unpack("<i", "storage kind")
        if storage != 0:
            raise cursor.error("storage kind", storage, "0 (dense)")
    modern = magic in (_V1, _V2, _V3)
    rank = cursor.unpack("<I", "rank")[0] if modern else magic
    if rank > _MAX_RANK:
        raise cursor.error("rank", rank, f"at most {_MAX_RANK}")
    shape = cursor.unpack(f"<{rank}{'q' if modern else 'I'}", "shape")
    if any(not 0 <= side <= _MAX_SIDE for side in shape):
        raise cursor.error("shape", shape, f"sides of 0..{_MAX_SIDE}")
    if rank == 0 and magic != _V3:
        return np.zeros(0, np.float32)  # how these layouts write "no array"
    cursor.unpack("<ii", "device")
    (kind,) = cursor.unpack("<i", "element type")
    if not 0 <= kind < len(_DTYPES):
        raise cursor.error("element type", kind, f"0..{len(_DTYPES) - 1}")
    dtype = np.dtype(_DTYPES[kind])
    size = math.prod(shape)
    start = cursor.take(size * dtype.itemsize, f"array of shape {shape}")
    if size == 0:
        return np.zeros(0, dtype)  # any shape with a side of 0: none of ours
    return np.frombuffer(cursor.data, dtype, size, start).reshape(shape)
