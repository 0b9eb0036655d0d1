"""A bundle directory: every byte verified before use, and written so that it is there whole or not at all."""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lsts_edge.bundle.ir_bytes import check_ir_bytes
from lsts_edge.bundle.manifest import MANIFEST_MAX_BYTES, FileInfo, Manifest, ir_weights
from lsts_edge.bundle.onnx_bytes import check_onnx_bytes
from lsts_edge.default_bundle import default_bundle
from lsts_edge.errors import BundleError, DigestMismatch, FileUnwritable, OptionError

__all__ = ["Bundle", "Model", "OpenVinoIr", "check_target", "write_bundle"]

MANIFEST = "manifest.json"
MAX_ENTRIES = 4096

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_COPY_AGAIN = "Copy or export the bundle again."
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


@dataclass(frozen=True)
class OpenVinoIr:
    """A graph as OpenVINO IR: the contents of its ``.xml`` and of its ``.bin``."""

    xml: bytes
    weights: bytes


Model = bytes | OpenVinoIr
"""A graph in memory, as an engine is handed it: ONNX bytes, or IR."""


@dataclass(frozen=True)
class Bundle:
    """A verified bundle. ``digest`` is the SHA-256 of ``manifest.json``, which covers every other file."""

    path: Path
    manifest: Manifest
    digest: str

    @classmethod
    def open(cls, path: str | os.PathLike[str], expect_digest: str | None = None) -> Bundle:
        """Verify the bundle at ``path``: the manifest, then every file's presence, size and digest.

        Args:
            path: the bundle's directory.
            expect_digest: refuse any other bundle digest; 64 hex digits, ``sha256:`` in front allowed.

        Raises:
            BundleError: if the directory or a file is missing, extra, or not a plain file.
            DigestMismatch: if a size or digest differs.
            ManifestError: if the manifest is refused.
            OptionError: if ``expect_digest`` is no digest.
        """
        root = Path(path)
        if not root.is_dir():
            got = "a file" if root.exists() else "nothing there"
            raise BundleError(
                f"bundle {root}", got=got, expected="a bundle directory", fix="Give the path of a bundle."
            )
        raw = _read_plain(root, MANIFEST, MANIFEST_MAX_BYTES)
        digest = hashlib.sha256(raw).hexdigest()
        _check_expected(root, digest, expect_digest)
        bundle = cls(root, Manifest.from_json(raw), digest)
        bundle._check_listing()
        for name in bundle.manifest.files:
            content = bundle.read(name)
            if name.endswith(".onnx"):
                check_onnx_bytes(content, name)
            elif name.endswith(".xml"):
                check_ir_bytes(content, bundle.manifest.files[ir_weights(name)].bytes, name)
        return bundle

    def read(self, name: str) -> bytes:
        """The bytes of a listed file, read once and verified: what is returned is what was hashed.

        Raises:
            BundleError: if the manifest does not list ``name`` or it is not a plain file.
            DigestMismatch: if the size or digest differs.
        """
        info = self.manifest.files.get(name)
        if info is None:
            listed = ", ".join(sorted(self.manifest.files))
            raise BundleError(f"bundle {self.path}", got=f"no file {name!r}", expected=listed, fix=_COPY_AGAIN)
        content = _read_plain(self.path, name, info.bytes, exact=True)
        found = hashlib.sha256(content).hexdigest()
        if found != info.sha256:
            raise DigestMismatch(
                f"{name} in bundle {self.path} was changed",
                got=f"sha256 {found}",
                expected=f"sha256 {info.sha256}",
                fix=_COPY_AGAIN,
            )
        return content

    def graph_bytes(self, graph: str, form: str = "default") -> bytes:
        """The verified ONNX bytes of a graph in one of its forms; a graph with one form has it under any name.

        Raises:
            BundleError: if there is no such graph or form.
            DigestMismatch: if the file was changed since the bundle was opened.
        """
        found = self._form_of(graph, form)
        return self.read(self.manifest.graphs[graph].forms[found])

    def model_for(self, engine: str, graph: str, form: str = "default") -> Model:
        """What an engine is best handed: IR for ``openvino`` where the bundle has it, else the ONNX bytes.

        Raises:
            BundleError: if there is no such graph or form.
            DigestMismatch: if a file was changed since the bundle was opened.
        """
        found = self._form_of(graph, form)
        xml = self.manifest.graphs[graph].ir.get(found) if engine == "openvino" else None
        return self.graph_bytes(graph, found) if xml is None else OpenVinoIr(self.read(xml), self.read(ir_weights(xml)))

    def _form_of(self, graph: str, form: str) -> str:
        graphs = self.manifest.graphs
        if graph not in graphs:
            raise BundleError(
                f"bundle {self.path}", got=f"no graph {graph!r}", expected=", ".join(graphs), fix="Export it again."
            )
        forms = graphs[graph].forms
        found = form if form in forms else "default"
        if found not in forms:
            raise BundleError(
                f"graph {graph} in bundle {self.path}",
                got=f"no form {form!r}",
                expected=", ".join(forms),
                fix=f"Export with this form or run with one of {', '.join(forms)}.",
            )
        return found

    def _check_listing(self) -> None:
        found = _list_files(self.path)
        listed = set(self.manifest.files)
        missing, extra = sorted(listed - found), sorted(found - listed - {MANIFEST})
        if missing:
            size = self.manifest.files[missing[0]].bytes
            raise BundleError(
                f"{missing[0]} is missing from bundle {self.path}",
                got=f"no such file ({len(missing)} missing)",
                expected=f"{size} bytes",
                fix=_COPY_AGAIN,
            )
        if extra:
            raise BundleError(
                f"bundle {self.path} has a file that the manifest does not list",
                got=", ".join(ascii(name)[1:-1] for name in extra[:4]),
                expected="only listed files",
                fix="Remove it, or copy the bundle again.",
            )


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
        written = Bundle.open(stage, expect_digest=hashlib.sha256(raw).hexdigest())
        with _told(root, root.name, b""):
            _publish(stage, root)
    return dataclasses.replace(written, path=root)


def _check_expected(root: Path, digest: str, expect_digest: str | None) -> None:
    if expect_digest is None:
        return
    match = _DIGEST.fullmatch(expect_digest.strip().lower())
    if match is None:
        raise OptionError(
            "expected bundle digest", got=repr(expect_digest)[:90], expected="sha256:<64 hex digits>", fix="Correct it."
        )
    if match.group(1) != digest:
        raise DigestMismatch(
            f"bundle {root} is not the one asked for",
            got=f"sha256:{digest}",
            expected=f"sha256:{match.group(1)}",
            fix="Get the bundle with that digest, or leave the digest out if you trust this one.",
        )


def _list_files(root: Path) -> set[str]:
    """Relative names of all files below ``root``; symbolic links count as files and are not followed."""
    found: set[str] = set()
    for folder, directories, names in os.walk(root, followlinks=False):
        relative = Path(folder).relative_to(root)
        links = [name for name in directories if os.path.islink(os.path.join(folder, name))]
        found.update((relative / name).as_posix() for name in (*names, *links))
        if not names and not directories and relative != Path():
            found.add(f"{relative.as_posix()}/")
        if len(found) > MAX_ENTRIES:
            raise BundleError(
                f"bundle {root}", got=f"more than {MAX_ENTRIES} files", expected="a bundle", fix=_COPY_AGAIN
            )
    return found


def _read_plain(root: Path, name: str, limit_bytes: int, *, exact: bool = False) -> bytes:
    """Read a plain file from one descriptor, singly linked unless it is ours; no link on the way is followed."""
    *folders, last = name.split("/")
    try:
        directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        fix = "Allow reading it."
        raise BundleError(f"bundle {root}", got=error.strerror, expected="a readable directory", fix=fix) from error
    try:
        for folder in folders:
            inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            os.close(directory)
            directory = inner
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(last, flags, dir_fd=directory)
    except OSError as error:
        reason = "a symbolic link" if error.errno in (errno.ELOOP, errno.ENOTDIR) else error.strerror
        raise BundleError(f"{name} in bundle {root}", got=reason, expected="a plain file", fix=_COPY_AGAIN) from error
    finally:
        os.close(directory)
    try:
        status = os.fstat(descriptor)
        linked = status.st_nlink != 1 and not _is_ours(root)
        if not stat.S_ISREG(status.st_mode) or linked:
            got = "a file with several hard links" if stat.S_ISREG(status.st_mode) else "no regular file"
            raise BundleError(f"{name} in bundle {root}", got=got, expected="a plain file", fix=_COPY_AGAIN)
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(limit_bytes + 1) if status.st_size <= limit_bytes else b""
    finally:
        os.close(descriptor)
    size = max(status.st_size, len(content))
    if size > limit_bytes or (exact and len(content) != limit_bytes):
        expected = f"{limit_bytes} bytes" if exact else f"at most {limit_bytes} bytes"
        raise DigestMismatch(
            f"{name} in bundle {root} has another size", got=f"{size} bytes", expected=expected, fix=_COPY_AGAIN
        )
    return content


def _is_ours(root: Path) -> bool:
    """Whether a bundle came with this package: installers may link its files from a cache of theirs, as uv does."""
    return root.resolve() == default_bundle()


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
