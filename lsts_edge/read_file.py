"""All of a file that somebody names, and never more than it may hold: a device goes on for ever."""

from __future__ import annotations

import errno
import os

__all__ = ["read_file"]


def read_file(path: str | os.PathLike[str], max_bytes: int = 1 << 30) -> bytes:
    """The file's bytes.

    Args:
        path: a file, or a pipe that ends.
        max_bytes: more than any file of its kind holds.
    Raises:
        OSError: if it cannot be read, or holds more.
    """
    with open(path, "rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"more than {max_bytes >> 20} MiB", os.fspath(path))
    return content
