"""Ed25519 key files, the same ones every time."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["make_key"]


def make_key(folder: Path, name: str, seed: int, password: bytes | None = None) -> tuple[Path, Path]:
    """A private and a public key file as openssl writes them."""
    key = Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32))
    how = pem.NoEncryption() if password is None else pem.BestAvailableEncryption(password)
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.write_bytes(key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, how))
    public.write_bytes(key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo))
    return private, public
