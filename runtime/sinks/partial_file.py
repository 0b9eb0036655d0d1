"""An output file that is complete at its path, or not there."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from lsts_edge.errors import FileUnwritable

__all__ = ["PartialFile"]


class PartialFile:
    """A hidden name beside the path to write to, renamed at the end: the path is never half-written."""

    def __init__(self, path: Path) -> None:
        """Check that the path can be written; nothing is created.

        Raises:
            FileUnwritable: if it is a directory, or its directory is missing or read-only.
        """
        self.path = path
        self.partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
        folder = path.absolute().parent
        if path.is_dir():
            raise self.unwritable("a directory there")
        if not folder.is_dir():
            raise self.unwritable(f"no directory {folder}")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise self.unwritable(f"no permission to write in {folder}")

    def publish(self) -> None:
        """Give the finished file its name, over an older one.

        Raises:
            FileUnwritable: if that fails.
        """
        try:
            os.replace(self.partial, self.path)
        except OSError as error:
            raise self.unwritable(error.strerror or str(error)) from error

    def discard(self) -> None:
        """Remove the unfinished file; never raises."""
        with contextlib.suppress(OSError):
            self.partial.unlink(missing_ok=True)

    def unwritable(self, got: str) -> FileUnwritable:
        """The error that says why this path cannot be written."""
        return FileUnwritable(
            f"cannot write {self.path}",
            got=got,
            expected="a writable path with space for the output",
            fix="Choose another path or free space; nothing half-written is left.",
        )
