"""A bundle directory, opened: every byte verified before use."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from lsts_edge.bundle.ir_bytes import check_ir_bytes
from lsts_edge.bundle.manifest import MANIFEST_MAX_BYTES, Manifest, ir_weights
from lsts_edge.bundle.onnx_bytes import check_onnx_bytes
from lsts_edge.bundle.signatures import SIGNATURE, SIGNATURE_MAX_BYTES
from lsts_edge.bundle.trust import Trust, trust_here
from lsts_edge.default_bundle import default_bundle
from lsts_edge.errors import BundleError, DigestMismatch, OptionError
from lsts_edge.kinds import check_kind

__all__ = ["Bundle", "Model", "OpenVinoIr"]

MANIFEST = "manifest.json"
MAX_ENTRIES = 4096

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_COPY_AGAIN = "Copy or export the bundle again."


@dataclass(frozen=True)
class OpenVinoIr:
    """A graph as OpenVINO IR: the contents of its ``.xml`` and of its ``.bin``."""

    xml: bytes
    weights: bytes


Model = bytes | OpenVinoIr
"""A graph in memory, as an engine is handed it: ONNX bytes, or IR."""


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    ``digest`` is the SHA-256 of ``manifest.json``, which covers every other file but the signature.
    ``signed_by`` is the trusted key that signed it, None where nobody asked for one.
    """

    path: Path
    manifest: Manifest
    digest: str
    signed_by: str | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str], expect_digest: str | None = None, trust: Trust | None = None) -> Bundle:
        """Verify the bundle at ``path``: the manifest, then every file's presence, size and digest.

        Args:
            path: the bundle's directory.
            expect_digest: refuse any other bundle digest; 64 hex digits, ``sha256:`` in front allowed.
            trust: whose signature is asked for; by default what the command or this device's policy says.

        Raises:
            SignatureError: if a signature is asked for, and there is none by a trusted key.
            BundleError: if the directory or a file is missing, extra, or not a plain file.
            DigestMismatch: if a size or digest differs.
            ManifestError: if the manifest is refused.
            OptionError: if ``expect_digest`` is no digest.
        """
        check_kind("bundle", path, str | os.PathLike)
        check_kind("expected digest", expect_digest, str | None)
        root = Path(path)
        if not root.is_dir():
            got = "a file" if root.exists() else "nothing there"
            raise BundleError(
                f"bundle {root}", got=got, expected="a bundle directory", fix="Give the path of a bundle."
            )
        raw = _read_plain(root, MANIFEST, MANIFEST_MAX_BYTES)
        digest = hashlib.sha256(raw).hexdigest()
        _check_expected(root, digest, expect_digest)
        asked = trust_here() if trust is None else trust
        signed_by = asked.check(root, raw, _signature_bytes(root)) if asked.keys else None
        bundle = cls(root, Manifest.from_json(raw), digest, signed_by)
        bundle._check_listing()
        for name in bundle.manifest.files:
            content = bundle.read(name)
            if name.endswith(".onnx"):
                check_onnx_bytes(content, name)
            elif name.endswith(".xml"):
                check_ir_bytes(content, bundle.manifest.files[ir_weights(name)].bytes, name)
        return bundle

    def signature_bytes(self) -> bytes | None:
        """``signature.json`` as it is, unchecked; None if there is none.

        Raises:
            BundleError: if it is no plain file, or too large.
        """
        return _signature_bytes(self.path)

    def manifest_bytes(self) -> bytes:
        """The bytes of ``manifest.json``, whose SHA-256 is ``digest``: what is signed.

        Raises:
            DigestMismatch: if they changed since the bundle was opened.
        """
        raw = _read_plain(self.path, MANIFEST, MANIFEST_MAX_BYTES)
        _check_expected(self.path, hashlib.sha256(raw).hexdigest(), self.digest)
        return raw

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
        missing, extra = sorted(listed - found), sorted(found - listed - {MANIFEST, SIGNATURE})
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


def _signature_bytes(root: Path) -> bytes | None:
    return _read_plain(root, SIGNATURE, SIGNATURE_MAX_BYTES) if os.path.lexists(root / SIGNATURE) else None


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
