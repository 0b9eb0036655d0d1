"""Writing a bundle directory: at every moment the old bundle, the new one or nothing is there, never a half."""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lsts_edge.bundle.directory import MANIFEST, Bundle
from lsts_edge.bundle.manifest import FileInfo, Manifest
from lsts_edge.bundle.trust import Trust
from lsts_edge.errors import BundleError, FileUnwritable

__all__ = ["check_target", "write_bundle"]

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def check_target(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Refuse a path that ``write_bundle`` would refuse, before anything is made for it.

    Raises:
        FileUnwritable: if the parent is missing or cannot be written, or the path is taken.
    """
    root = Path(path).absolute()
    _check_free(root, overwrite)
    with _staging(root):
        pass


def write_bundle(
    path: str | os.PathLike[str],
    manifest: Manifest,
    files: Mapping[str, bytes | Path],
    *,
    overwrite: bool = False,
) -> Bundle:
    """Write a bundle so that ``path`` is at every moment the old bundle, the new one or nothing.

    Everything is written to a hidden directory beside ``path``, flushed to disk and verified by reading it
    back, then renamed; an old bundle is exchanged for the new one in one step.

    Args:
        path: the bundle's directory; its parent must exist.
        manifest: the description; its ``files`` are filled in here.
        files: name in the bundle -> content, or a file to copy.
        overwrite: replace a bundle that is there.

    Raises:
        FileUnwritable: if ``path`` is taken, or the disk is full or read-only; nothing is left behind.
        ManifestError: if the manifest and the files do not fit each other.
        BundleError: if a graph is refused.
    """
    root = Path(path).absolute()
    _check_free(root, overwrite)
    with _staging(root) as stage:
        infos = {}
        for name, content in files.items():
            with _told(root, name, content):
                infos[name] = _write_file(stage, name, content)
        complete = dataclasses.replace(manifest, files=infos)
        raw = complete.to_json()
        with _told(root, MANIFEST, raw):
            _write_file(stage, MANIFEST, raw)
            for folder in {stage, *(stage / Path(name).parent for name in files)}:
                _sync_directory(folder)
        written = Bundle.open(stage, hashlib.sha256(raw).hexdigest(), Trust())
        with _told(root, root.name, b""):
            _publish(stage, root)
    return dataclasses.replace(written, path=root)


def _check_free(root: Path, overwrite: bool) -> None:
    if not root.parent.is_dir():
        raise FileUnwritable(
            f"bundle {root}", got="no parent directory", expected=f"{root.parent} to exist", fix="Create it first."
        )
    if not os.path.lexists(root):
        return
    if root.is_symlink() or not root.is_dir():
        got, fix = "a file or link there", "Choose another path."
    elif not any(root.iterdir()):
        return
    elif not (root / MANIFEST).is_file():
        got, fix = "a directory that is no bundle", "Choose another path; only a bundle is ever replaced."
    elif not overwrite:
        got, fix = "a bundle there", "Choose another path, or allow overwriting (--overwrite)."
    else:
        return
    raise FileUnwritable(f"bundle {root}", got=got, expected="a free path", fix=fix)


@contextmanager
def _staging(root: Path) -> Iterator[Path]:
    """A locked hidden directory beside ``root``, removed at the end; those of killed processes are swept first."""
    prefix = f".{root.name}.partial-"
    for stale in root.parent.glob(f"{prefix}*"):
        with _lock(stale) as is_ours:
            if is_ours:
                shutil.rmtree(stale, ignore_errors=True)
    with _told(root, root.name, b""):
        stage = Path(tempfile.mkdtemp(prefix=prefix, dir=root.parent))
        stage.chmod(0o777 & ~_umask())
    try:
        with _lock(stage):
            yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def _lock(directory: Path) -> Iterator[bool]:
    """Hold an advisory lock on a directory; it dies with the process. Yields whether it was free."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _write_file(stage: Path, name: str, content: bytes | Path) -> FileInfo:
    target = stage / name
    if stage not in target.resolve().parents:
        raise BundleError("bundle file name", got=ascii(name), expected="a relative name", fix="Rename the file.")
    target.parent.mkdir(parents=True, exist_ok=True)
    data = content.read_bytes() if isinstance(content, Path) else content
    with open(target, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return FileInfo(hashlib.sha256(data).hexdigest(), len(data))


@contextmanager
def _told(root: Path, name: str, content: bytes | Path) -> Iterator[None]:
    """Turn an operating-system error into one that names the path and the bytes."""
    try:
        yield
    except OSError as error:
        size = f"{len(content)} bytes" if isinstance(content, bytes) else str(content)
        raise FileUnwritable(
            f"cannot write {name} ({size}) for bundle {root}",
            got=error.strerror or str(error),
            expected="a writable directory with enough space",
            fix="Free space or choose another path; nothing was left behind.",
        ) from error


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _publish(stage: Path, root: Path) -> None:
    """Put ``stage`` at ``root``; an old bundle ends up at ``stage``, where the caller removes it."""
    if not root.exists() or not any(root.iterdir()):
        os.rename(stage, root)
    elif not _exchange(stage, root):
        # The file system cannot exchange two names: a moment without a bundle is left, never a half one.
        old = stage.with_name(stage.name + "-old")
        os.rename(root, old)
        os.rename(stage, root)
        shutil.rmtree(old, ignore_errors=True)
    _sync_directory(root.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two directories in one step with Linux's renameat2; False where that cannot be done."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    status = renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
    if status == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(code, os.strerror(code))
