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
from lsts_edge.runtime.sinks.recovery import recover

__all__ = ["PartialFile"]

_HIDDEN = re.compile(r"\.(.+)\.(partial|segment|older)-[0-9a-f]{16}")


class PartialFile:
    """A hidden name beside the path to write to, renamed at the end: the path is never half-written.

    A lock on the hidden file says that its writer lives, in whatever container: those without one are removed by the
    next run in the folder, or published as ``NAME-recovered.SUFFIX`` where they were made to be whole at any moment.
    What is at the path and is no plain file (a device, a FIFO, a link) is written into.

    Attributes:
        path: where the output is to be.
        partial: where to write.
        direct: they are the same: rows belong there as they come.
    """

    def __init__(self, path: Path, *, recoverable: bool = False) -> None:
        """Check that the path can be written; nothing is created.

        Args:
            path: where the output is to be.
            recoverable: what has been written is of use at any moment: a kill must not lose it.

        Raises:
            FileUnwritable: if it is a directory, or its directory is missing or read-only.
        """
        self.path = path
        self._kind = "segment" if recoverable else "partial"
        try:
            self._look(path)
        except FileUnwritable:  # it says why already
            raise
        except (OSError, ValueError) as error:  # a name too long, a NUL in it, folders that cannot be looked into
            raise self.unwritable(getattr(error, "strerror", None) or str(error)) from error

    def _look(self, path: Path) -> None:
        self.direct = path.is_symlink() or (path.exists() and not path.is_file() and not path.is_dir())
        hidden = path.with_name(f".{path.name}.{self._kind}-{secrets.token_hex(8)}")
        self.partial = path if self.direct else hidden
        self._lock: int | None = None
        self._older: Path | None = None
        self._older_lock: int | None = None
        folder = (Path(os.path.realpath(path)) if self.direct else path.absolute()).parent
        if path.is_dir():
            raise self.unwritable("a directory there")
        if not path.exists() and not folder.is_dir():
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
        """Give the finished file its name; an older one is kept aside, so that ``discard`` can put it back.

        Raises:
            FileUnwritable: if that fails.
        """
        if self.direct:
            return
        try:
            self._keep_older()
            os.replace(self.partial, self.path)
        except OSError as error:
            raise self.unwritable(error.strerror or str(error)) from error

    def settle(self) -> None:
        """Let the older file go: what was to be published together is. Never raises."""
        if self._older is not None:
            with contextlib.suppress(OSError):  # the next run in the folder removes it
                self._older.unlink()
        self._unlock()

    def discard(self) -> None:
        """Remove the file, published or not, and put the older one back; never raises."""
        if not self.direct:
            with contextlib.suppress(OSError):
                if self._older is not None and (self._is_ours() or not os.path.lexists(self.path)):
                    os.replace(self._older, self.path)
                elif self._older is not None:  # it still has its name, or somebody has put another file there since
                    self._older.unlink()
                elif self._is_ours():
                    self.path.unlink()
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

    def _is_ours(self) -> bool:
        """Whether what is at the path is the file that was written here."""
        if self._lock is None or not os.path.lexists(self.path):
            return False
        return os.path.samestat(os.fstat(self._lock), os.lstat(self.path))

    def _keep_older(self) -> None:
        """Give what is at the path a second, hidden name; locked first, or another run would take it for stale."""
        if not stat.S_ISREG(_mode(self.path)):
            return
        with contextlib.suppress(PermissionError):  # what may not be read is not removed by the other run either
            self._older_lock = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.flock(self._older_lock, fcntl.LOCK_SH)
        older = self.path.with_name(f".{self.path.name}.older-{secrets.token_hex(8)}")
        try:
            os.link(self.path, older)
        except OSError:  # a file system without hard links, such as a memory card's
            os.rename(self.path, older)
        self._older = older

    def _unlock(self) -> None:
        for lock in (self._lock, self._older_lock):
            if lock is not None:
                os.close(lock)
        self._lock = self._older = self._older_lock = None


def _remove_stale(folder: Path) -> None:
    """Remove hidden files that nobody locks: their writer is gone. An older file left without its name gets it back."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            hidden = _HIDDEN.fullmatch(entry.name)
            if hidden is None or not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                continue
            path = folder / hidden[1]
            with contextlib.suppress(OSError):
                handle = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if hidden[2] == "older" and not os.path.lexists(path):
                        os.rename(entry.path, path)
                    elif hidden[2] == "segment":
                        recover(Path(entry.path), path)
                    else:
                        os.unlink(entry.path)
                finally:
                    os.close(handle)


def _mode(path: Path) -> int:
    """Type and rights of what is there, 0 for nothing."""
    try:
        return path.lstat().st_mode
    except FileNotFoundError:
        return 0
