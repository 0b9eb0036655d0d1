"""Whose signature a bundle must carry: keys given to a command, and the policy file of a device."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lsts_edge.bundle.signatures import SIGNATURE, PublicKey, signers
from lsts_edge.bundle.strict_json import decode, parse_json
from lsts_edge.errors import ManifestError, PolicyError, SignatureError
from lsts_edge.read_file import read_file

__all__ = ["POLICY", "POLICY_VARIABLE", "Trust", "trust_here", "trusting"]

POLICY = Path("/etc/lsts-edge/policy.json")
POLICY_VARIABLE = "LSTS_EDGE_POLICY"
_POLICY_MAX_BYTES = 64 << 10


@dataclass(frozen=True)
class Trust:
    """The keys of which one must have signed a bundle; without any, no signature is asked for."""

    keys: tuple[PublicKey, ...] = ()

    @classmethod
    def of(cls, *files: str | os.PathLike[str]) -> Trust:
        """Trust the public keys in these PEM files.

        Raises:
            KeyFileError: if one cannot be read or holds no Ed25519 public key.
            PackageMissing: without the extra ``[sign]``.
        """
        return cls(tuple(PublicKey.read(file) for file in files))

    def check(self, bundle: Path, manifest: bytes, signature: bytes | None) -> str:
        """The trusted key that signed ``manifest``.

        Args:
            bundle: its path, for the error.
            manifest: the bytes of ``manifest.json``.
            signature: those of ``signature.json``; None if there is none.

        Raises:
            SignatureError: if no trusted key did.
            PackageMissing: without the extra ``[sign]``.
        """
        found = () if signature is None else signers(manifest, signature, self.keys)
        if not found:
            raise SignatureError(
                f"bundle {bundle} is not signed by a trusted key",
                got=f"no {SIGNATURE}" if signature is None else "no valid signature by one of them",
                expected=f"a signature by {' or '.join(f'{key.id} ({key.file})' for key in self.keys)}",
                fix="Have the bundle signed by its maker (lsts-edge sign), or trust the key that signed it.",
            )
        return found[0].id


@dataclass(frozen=True)
class _Policy:
    schema: int
    trusted_keys: tuple[str, ...]


_given: Trust | None = None  # of the process: commands open bundles in threads too


def trust_here() -> Trust:
    """What is asked of a bundle opened now: the keys given to the command, else this device's policy.

    Raises:
        PolicyError: if there is a policy file that cannot be followed.
    """
    return _device_policy() if _given is None else _given


@contextmanager
def trusting(files: Sequence[str | os.PathLike[str]]) -> Iterator[None]:
    """Within it, every bundle opened in this process must be signed by one of these keys; no files change nothing.

    A device's policy is narrowed and never widened: keys that it does not list are refused.

    Raises:
        PolicyError: if the device's policy does not list a key, or cannot be followed.
        KeyFileError: if a file holds no key.
    """
    global _given
    if not files:
        yield
        return
    asked, policy = Trust.of(*files), _device_policy()
    listed = {key.raw for key in policy.keys}
    for key in asked.keys:
        if listed and key.raw not in listed:
            raise PolicyError(
                "a trusted key that this device's policy does not list",
                got=f"{key.id} ({key.file})",
                expected=", ".join(one.id for one in policy.keys),
                fix=f"Give one of these, or have the key added to {_policy_path()}.",
            )
    before, _given = _given, asked
    try:
        yield
    finally:
        _given = before


def _policy_path() -> Path:
    return Path(os.environ.get(POLICY_VARIABLE) or POLICY)


def _device_policy() -> Trust:
    """The trust that the policy file states; a file that cannot be read refuses every bundle, not none."""
    path = _policy_path()
    try:
        raw = read_file(path, _POLICY_MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        if os.environ.get(POLICY_VARIABLE):
            raise _unusable(path, error.strerror) from error
        return Trust()
    except OSError as error:
        raise _unusable(path, error.strerror) from error
    try:
        policy = decode(_Policy, parse_json(raw, max_bytes=_POLICY_MAX_BYTES, file=path.name), path.name)
    except ManifestError as error:
        raise _unusable(path, f"{error.problem}: {error.got}") from error
    if policy.schema != 1 or not policy.trusted_keys:
        raise _unusable(path, f"schema {policy.schema} with {len(policy.trusted_keys)} keys")
    return Trust.of(*(path.parent / key for key in policy.trusted_keys))


def _unusable(path: Path, got: object) -> PolicyError:
    return PolicyError(
        f"this device's policy {path} cannot be followed",
        got=got,
        expected='{"schema": 1, "trusted_keys": ["key.pub.pem"]}, keys beside the file',
        fix="Correct the file; until then no bundle is opened.",
    )
