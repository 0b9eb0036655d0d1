"""``signature.json``: Ed25519 signatures of a bundle's manifest, made with a key and checked against trusted ones."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lsts_edge.bundle.strict_json import canonical_json, decode, parse_json
from lsts_edge.errors import BundleError, KeyFileError, ManifestError, PackageMissing, SignatureError
from lsts_edge.read_file import read_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["SIGNATURE", "SIGNATURE_MAX_BYTES", "PublicKey", "add_signature", "read_private_key", "signer", "signers"]

SIGNATURE = "signature.json"
SIGNATURE_MAX_BYTES = 16 << 10
KEY_MAX_BYTES = 16 << 10
_SCHEMA = 1
_MAX_SIGNATURES = 16
_CONTEXT = b"lsts-edge bundle signature 1\n"  # a signature of something else is none of a manifest
_MAKE_KEY = "Make one with: openssl genpkey -algorithm ed25519 -out key.pem"
_MAKE_PUBLIC = "Make one with: openssl pkey -in key.pem -pubout -out key.pub.pem"


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key: where it was read, and its 32 bytes."""

    file: str
    raw: bytes

    @property
    def id(self) -> str:
        """What people compare: ``ed25519:`` and the first 16 hex digits of the key's SHA-256."""
        return f"ed25519:{hashlib.sha256(self.raw).hexdigest()[:16]}"

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> PublicKey:
        """The key in a PEM file, as openssl writes it.

        Raises:
            KeyFileError: if the file cannot be read or holds no Ed25519 public key.
            PackageMissing: without the extra ``[sign]``.
        """
        _ed25519()
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            found = load_pem_public_key(_key_bytes(path))
        except (ValueError, UnsupportedAlgorithm) as error:
            raise _no_key(path, "no PEM public key", "an Ed25519 public key in PEM", _MAKE_PUBLIC) from error
        if not isinstance(found, Ed25519PublicKey):
            raise _no_key(path, type(found).__name__, "an Ed25519 public key in PEM", _MAKE_PUBLIC)
        return cls(str(path), found.public_bytes_raw())

    def signed(self, manifest: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is this key's of these manifest bytes."""
        from cryptography.exceptions import InvalidSignature

        try:
            _ed25519().from_public_bytes(self.raw).verify(signature, _CONTEXT + manifest)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class _Signature:
    key: str
    signature: str


@dataclass(frozen=True)
class _SignatureFile:
    schema: int
    signatures: tuple[_Signature, ...]


def read_private_key(path: str | os.PathLike[str], ask_password: Callable[[], str]) -> Ed25519PrivateKey:
    """The key in a PEM file (PKCS #8, as openssl writes it).

    Args:
        path: the file.
        ask_password: called where the file is encrypted.

    Raises:
        KeyFileError: if the file cannot be read or decrypted, or holds no Ed25519 key.
        PackageMissing: without the extra ``[sign]``.
    """
    _ed25519()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    raw = _key_bytes(path)
    password = ask_password().encode() if b"ENCRYPTED" in raw else None
    try:
        found = load_pem_private_key(raw, password)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        got = "a wrong password, or a damaged key" if password is not None else "no PEM private key"
        raise _no_key(path, got, "an Ed25519 private key in PEM", _MAKE_KEY) from error
    if not isinstance(found, Ed25519PrivateKey):
        raise _no_key(path, type(found).__name__, "an Ed25519 private key in PEM", _MAKE_KEY)
    return found


def signer(key: Ed25519PrivateKey, file: str) -> PublicKey:
    """The public half of a private key that was read from ``file``."""
    return PublicKey(file, key.public_key().public_bytes_raw())


def add_signature(manifest: bytes, key: Ed25519PrivateKey, before: bytes | None) -> bytes:
    """The bytes of ``signature.json`` with this key's signature; those of other keys that were there stay.

    Raises:
        SignatureError: if what was there is no signature file, or is full.
    """
    own = key.public_key().public_bytes_raw().hex()
    others = () if before is None else tuple(one for one in _read(before).signatures if one.key != own)
    if len(others) >= _MAX_SIGNATURES:
        got, fix = f"{len(others)} signatures", f"Remove {SIGNATURE} and sign again."
        raise SignatureError(SIGNATURE, got=got, expected=f"fewer than {_MAX_SIGNATURES}", fix=fix)
    made = _Signature(own, key.sign(_CONTEXT + manifest).hex())
    return canonical_json(asdict(_SignatureFile(_SCHEMA, (*others, made)))) + b"\n"


def signers(manifest: bytes, signature: bytes, keys: Sequence[PublicKey] | None = None) -> tuple[PublicKey, ...]:
    """The keys that signed these manifest bytes, as ``signature.json`` claims and the mathematics confirms.

    Args:
        manifest: the bytes of ``manifest.json``.
        signature: the bytes of ``signature.json``.
        keys: only these count; None takes the file's own word for its keys, which says who, not whether to trust.

    Raises:
        SignatureError: if the file is damaged.
        PackageMissing: without the extra ``[sign]``.
    """
    claimed = {one.key: bytes.fromhex(one.signature) for one in _read(signature).signatures}
    asked = [PublicKey(SIGNATURE, bytes.fromhex(raw)) for raw in claimed] if keys is None else keys
    return tuple(
        key for key in asked if (made := claimed.get(key.raw.hex())) is not None and key.signed(manifest, made)
    )


def _read(raw: bytes) -> _SignatureFile:
    try:
        found = decode(_SignatureFile, parse_json(raw, max_bytes=SIGNATURE_MAX_BYTES, file=SIGNATURE), SIGNATURE)
    except ManifestError as error:
        raise _damaged(error.got) from error
    if found.schema != _SCHEMA:
        raise _damaged(f"schema {found.schema}")
    for one in found.signatures:
        if not (_is_hex(one.key, 32) and _is_hex(one.signature, 64)):
            raise _damaged("a key or signature of another length")
    if len({one.key for one in found.signatures}) != len(found.signatures) or len(found.signatures) > _MAX_SIGNATURES:
        raise _damaged("a key that signs twice, or too many")
    return found


def _is_hex(text: str, size_bytes: int) -> bool:
    return len(text) == 2 * size_bytes and set(text) <= set("0123456789abcdef")


def _damaged(got: object) -> SignatureError:
    return SignatureError(
        f"{SIGNATURE} is damaged", got=got, expected="the file that sign writes", fix="Sign the bundle again."
    )


def _key_bytes(path: str | os.PathLike[str]) -> bytes:
    try:
        return read_file(path, KEY_MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _no_key(path, reason, "a readable file", "Check the path and its permissions.") from error


def _no_key(path: str | os.PathLike[str], got: object, expected: str, fix: str) -> BundleError:
    return KeyFileError(f"key {os.fspath(path)!r}", got=got, expected=expected, fix=fix)


def _ed25519() -> type[Ed25519PublicKey]:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise PackageMissing(
            "signatures of bundles need a package that is not installed",
            got="no cryptography",
            expected="the extra [sign]",
            fix='Run: pip install "lsts-edge[sign]"',
        ) from error
    return Ed25519PublicKey
