"""A file that appears whole or not at all; devices, pipes and links are written into, never replaced."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

__all__ = ["write_file"]


def write_file(path: str | os.PathLike[str], content: bytes | Iterable[bytes]) -> None:
    """Write beside the place and move there; an older file stays until the new one is whole.

    Args:
        path: in a folder that exists.
        content: all of it, or its parts.
    Raises:
        OSError: if it cannot be written; nothing is left behind.
    """
    target = Path(path)
    parts = [content] if isinstance(content, bytes) else content
    if target.is_symlink() or (target.exists() and not target.is_file()):
        with target.open("wb") as file:  # refuses a folder
            file.writelines(parts)
        return
    handle, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:50]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, 0o644)
        os.replace(beside, target)
    except BaseException:
        os.unlink(beside)
        raise
