"""An output file that is complete at its path, or not there; devices, pipes and links are written into."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import stat
from pathlib import Path

from lsts_edge.errors import FileUnwritable

__all__ = ["PartialFile"]

_HIDDEN = re.compile(r"\..+\.partial-[0-9a-f]{16}")


class PartialFile:
    """A hidden name beside the path to write to, renamed at the end: the path is never half-written.

    A lock on the hidden file says that its writer lives, in whatever container: those without one are removed by the
    next run in the folder. What is at the path and is no plain file (a device, a FIFO, a link) is written into.

    Attributes:
        path: where the output is to be.
        partial: where to write.
        direct: they are the same: rows belong there as they come.
    """

    def __init__(self, path: Path) -> None:
        """Check that the path can be written; nothing is created.

        Raises:
            FileUnwritable: if it is a directory, or its directory is missing or read-only.
        """
        self.path = path
        self.direct = path.is_symlink() or (path.exists() and not path.is_file() and not path.is_dir())
        self.partial = path if self.direct else path.with_name(f".{path.name}.partial-{secrets.token_hex(8)}")
        self._lock: int | None = None
        folder = path.absolute().parent
        if path.is_dir():
            raise self.unwritable("a directory there")
        if not folder.is_dir():
            raise self.unwritable(f"no directory {folder}")
        if not os.access(path if self.direct and path.exists() else folder, os.W_OK):
            raise self.unwritable(f"no permission to write in {folder}")
        if not self.direct:
            _remove_stale(folder)

    def create(self) -> Path:
        """Make the hidden file, new and locked; returns where to write.

        Raises:
            OSError: if that fails.
        """
        if not self.direct and self._lock is None:
            lock = os.open(self.partial, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock).st_nlink == 0:  # another run took it for stale before it was locked
                os.close(lock)
                return self.create()
            self._lock = lock
        return self.partial

    def publish(self) -> None:
        """Give the finished file its name, over an older one.

        Raises:
            FileUnwritable: if that fails.
        """
        if self.direct:
            return
        try:
            os.replace(self.partial, self.path)
        except OSError as error:
            raise self.unwritable(error.strerror or str(error)) from error
        self._unlock()

    def discard(self) -> None:
        """Remove the unfinished file; never raises."""
        if not self.direct:
            with contextlib.suppress(OSError):
                self.partial.unlink(missing_ok=True)
        self._unlock()

    def unwritable(self, got: str) -> FileUnwritable:
        """The error that says why this path cannot be written."""
        return FileUnwritable(
            f"cannot write {self.path}",
            got=got,
            expected="a writable path with space for the output",
            fix="Choose another path or free space; nothing half-written is left.",
        )

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def _remove_stale(folder: Path) -> None:
    """Remove hidden files whose writer is gone: nobody holds their lock."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if _HIDDEN.fullmatch(entry.name) is None or not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                continue
            with contextlib.suppress(OSError):
                handle = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)
                finally:
                    os.close(handle)
