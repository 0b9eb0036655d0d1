"""What a killed run left of a recording becomes a file that can be read: cut after its last whole piece, and named."""

from __future__ import annotations

import logging
import os
import struct
from pathlib import Path

__all__ = ["recover"]

logger = logging.getLogger(__name__)

_TAIL_BYTES = 1 << 20
_CLUSTER = b"\x1f\x43\xb6\x75"  # Matroska's element that holds pictures


def recover(hidden: Path, path: Path) -> Path | None:
    """Name the leftover ``STEM-recovered.EXT``; one without a whole piece is removed.

    A piece is a fragment of an MP4 file (its keyframe and what follows), a cluster of a Matroska file or a line of
    text; a list of JSON is closed.

    Args:
        hidden: the leftover, which nobody writes to.
        path: where it was to be.
    Returns:
        Its new name; None if it was removed.
    Raises:
        OSError: if it cannot be read or renamed.
    """
    suffix = path.suffix.lower()
    if suffix in (".mp4", ".m4v", ".mov"):
        whole_bytes = _whole_fragments(hidden)
    elif suffix == ".mkv":
        whole_bytes = _with_cluster(hidden)
    else:
        whole_bytes = _whole_lines(hidden)
    if whole_bytes == 0:
        hidden.unlink()
        return None
    if whole_bytes < hidden.stat().st_size:
        os.truncate(hidden, whole_bytes)
    if suffix == ".json":
        _close_list(hidden)
    recovered = _free_name(path.with_name(f"{path.stem}-recovered{path.suffix}"))
    os.rename(hidden, recovered)
    logger.warning("recovered what a killed run had written: %s", recovered)
    return recovered


def _free_name(path: Path) -> Path:
    """The path, or ``STEM-2.EXT`` and so on where that is taken."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def _whole_fragments(path: Path) -> int:
    """Bytes up to the end of the last whole pair of boxes ``moof`` and ``mdat``."""
    whole_bytes, at, size = 0, 0, path.stat().st_size
    with open(path, "rb") as file:
        while at + 8 <= size:
            file.seek(at)
            length, kind = struct.unpack(">I4s", file.read(8))
            if length == 1:
                length = int.from_bytes(file.read(8), "big")
            if length < 8 or at + length > size:
                break
            at += length
            if kind == b"mdat":
                whole_bytes = at
    return whole_bytes


def _with_cluster(path: Path) -> int:
    """All bytes, if there is a cluster among the first; a reader copes with a last one that is not whole."""
    with open(path, "rb") as file:
        return path.stat().st_size if _CLUSTER in file.read(_TAIL_BYTES) else 0


def _whole_lines(path: Path) -> int:
    """Bytes up to the end of the last whole line."""
    end = path.stat().st_size
    with open(path, "rb") as file:
        while end > 0:
            begin = max(0, end - _TAIL_BYTES)
            file.seek(begin)
            newline = file.read(end - begin).rfind(b"\n")
            if newline >= 0:
                return begin + newline + 1
            end = begin
    return 0


def _close_list(path: Path) -> None:
    """End a list of JSON, one element a line, as its writer would have."""
    with open(path, "r+b") as file:
        if file.read(1) != b"[":
            return
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 2))
        if file.read(2) == b",\n":
            file.seek(end - 2)
            file.truncate()
            file.write(b"\n")
        file.write(b"]\n")
