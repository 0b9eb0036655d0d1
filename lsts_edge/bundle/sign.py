"""Signing a bundle in place: ``signature.json`` appears whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from lsts_edge.bundle.directory import MANIFEST, Bundle
from lsts_edge.bundle.signatures import SIGNATURE, PublicKey, add_signature, read_private_key, signer
from lsts_edge.bundle.trust import Trust
from lsts_edge.errors import FileUnwritable

__all__ = ["sign_bundle"]


def sign_bundle(
    path: str | os.PathLike[str], key: str | os.PathLike[str], ask_password: Callable[[], str]
) -> PublicKey:
    """Verify the bundle at ``path``, sign its manifest and read the signature back.

    Args:
        path: the bundle's directory.
        key: a PEM file with an Ed25519 private key.
        ask_password: called where the file is encrypted.

    Raises:
        BundleError: if the bundle is refused.
        KeyFileError: if there is no such key in the file.
        FileUnwritable: if the signature cannot be written; one that was there stays.
        PackageMissing: without the extra ``[sign]``.
    """
    private = read_private_key(key, ask_password)
    public = signer(private, os.fspath(key))
    bundle = Bundle.open(path, trust=Trust())
    _replace(bundle.path / SIGNATURE, add_signature(bundle.manifest_bytes(), private, bundle.signature_bytes()))
    Bundle.open(path, bundle.digest, Trust((public,)))
    return public


def _replace(target: Path, content: bytes) -> None:
    """Written beside the bundle, whose listing is closed, and moved into it."""
    folder = target.parent.resolve()
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{folder.name}.{SIGNATURE}-", dir=folder.parent)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, (folder / MANIFEST).stat().st_mode & 0o777)
            os.replace(name, target)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise FileUnwritable(
            f"cannot write {SIGNATURE} of bundle {target.parent}",
            got=error.strerror or str(error),
            expected="a writable bundle and folder around it",
            fix="Allow writing there, or sign where the bundle is made.",
        ) from error
