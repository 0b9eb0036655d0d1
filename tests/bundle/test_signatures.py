"""Signed bundles: who signed what is checked before anything is parsed, and a device's policy cannot be widened."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("cryptography")
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ec
from signing_keys import make_key

from hand_made import hand_made_files, hand_made_manifest, write_hand_made_bundle
from lsts_edge.bundle import Bundle, Trust, write_bundle
from lsts_edge.bundle.sign import sign_bundle
from lsts_edge.bundle.trust import POLICY_VARIABLE, trusting
from lsts_edge.errors import BundleError, FileUnwritable, KeyFileError, PolicyError, SignatureError


def never() -> str:
    raise AssertionError("no password is needed")


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return make_key(tmp_path, "maker", 1)


@pytest.fixture
def signed(hand_made_bundle: Path, keys: tuple[Path, Path]) -> Path:
    sign_bundle(hand_made_bundle, keys[0], never)
    return hand_made_bundle


def test_a_signed_bundle_opens_with_its_key_and_keeps_its_digest(
    hand_made_bundle: Path, keys: tuple[Path, Path]
) -> None:
    digest = Bundle.open(hand_made_bundle).digest
    by = sign_bundle(hand_made_bundle, keys[0], never)
    opened = Bundle.open(hand_made_bundle, trust=Trust.of(keys[1]))
    assert (opened.digest, opened.signed_by) == (digest, by.id)
    assert Bundle.open(hand_made_bundle).signed_by is None  # nobody asked
    mode = (hand_made_bundle / "signature.json").stat().st_mode
    assert stat.S_IMODE(mode) == stat.S_IMODE((hand_made_bundle / "manifest.json").stat().st_mode)
    assert [name for name in os.listdir(hand_made_bundle.parent) if name.startswith(".")] == []


def test_unsigned_and_signed_by_another(signed: Path, hand_made_bundle: Path, tmp_path: Path) -> None:
    _, other = make_key(tmp_path, "other", 2)
    with pytest.raises(SignatureError, match="no valid signature by one of them"):
        Bundle.open(signed, trust=Trust.of(other))
    (signed / "signature.json").unlink()
    with pytest.raises(SignatureError, match=r"no signature\.json"):
        Bundle.open(signed, trust=Trust.of(other))


def test_two_makers_sign_and_signing_again_adds_nothing(signed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, other = make_key(tmp_path, "other", 2)
    sign_bundle(signed, private, never)
    twice = (signed / "signature.json").read_bytes()
    sign_bundle(signed, private, never)
    assert (signed / "signature.json").read_bytes() == twice
    for public in (keys[1], other):
        assert Bundle.open(signed, trust=Trust.of(public)).signed_by is not None


def test_a_signature_of_another_bundle_is_worth_nothing(signed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    manifest = dataclasses.replace(hand_made_manifest(), name="another")
    other = write_bundle(tmp_path / "other", manifest, hand_made_files()).path
    shutil.copy(signed / "signature.json", other)
    with pytest.raises(SignatureError):
        Bundle.open(other, trust=Trust.of(keys[1]))


def test_every_bit_of_the_signature_counts(
    signed: Path, keys: tuple[Path, Path], record_property: Callable[[str, object], None]
) -> None:
    trust, path = Trust.of(keys[1]), signed / "signature.json"
    content = path.read_bytes()
    record_property("attacks", 3 * (len(content) - 1))
    for position in range(len(content) - 1):  # the last is a newline
        for bit in (1, 4, 32):
            changed = bytearray(content)
            changed[position] ^= bit
            path.write_bytes(changed)
            with pytest.raises(SignatureError):
                Bundle.open(signed, trust=trust)


@pytest.mark.parametrize("how", ["link", "fifo", "large", "empty", "list"])
def test_hostile_signature_files(signed: Path, keys: tuple[Path, Path], tmp_path: Path, how: str) -> None:
    path = signed / "signature.json"
    content = path.read_bytes()
    path.unlink()
    if how == "link":
        (tmp_path / "elsewhere").write_bytes(content)
        path.symlink_to(tmp_path / "elsewhere")
    elif how == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes({"large": content * 200, "empty": b"", "list": b"[]"}[how])
    with pytest.raises(BundleError):
        Bundle.open(signed, trust=Trust.of(keys[1]))


def test_keys_that_are_none(hand_made_bundle: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "text.pem").write_text("no key")
    curve = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "curve.pem").write_bytes(
        curve.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
    )
    for private in (tmp_path / "text.pem", tmp_path / "curve.pem", tmp_path / "missing.pem", tmp_path, keys[1]):
        with pytest.raises(KeyFileError):
            sign_bundle(hand_made_bundle, private, never)
    for public in (tmp_path / "text.pem", keys[0], tmp_path / "missing.pem"):
        with pytest.raises(KeyFileError):
            Trust.of(public)
    assert not (hand_made_bundle / "signature.json").exists()


def test_an_encrypted_key_asks_for_its_password(hand_made_bundle: Path, tmp_path: Path) -> None:
    private, public = make_key(tmp_path, "locked", 3, b"correct horse")
    with pytest.raises(KeyFileError, match="wrong password"):
        sign_bundle(hand_made_bundle, private, lambda: "incorrect")
    sign_bundle(hand_made_bundle, private, lambda: "correct horse")
    assert Bundle.open(hand_made_bundle, trust=Trust.of(public)).signed_by is not None


def test_a_damaged_bundle_is_not_signed(hand_made_bundle: Path, keys: tuple[Path, Path]) -> None:
    graph = hand_made_bundle / "heavy.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    with pytest.raises(BundleError):
        sign_bundle(hand_made_bundle, keys[0], never)
    assert not (hand_made_bundle / "signature.json").exists()


def test_a_signature_that_cannot_be_written_leaves_the_old_one(
    signed: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = (signed / "signature.json").read_bytes()
    private, _ = make_key(tmp_path, "other", 2)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileUnwritable, match="No space left"):
        sign_bundle(signed, private, never)
    assert (signed / "signature.json").read_bytes() == before
    assert [name for name in os.listdir(signed.parent) if "signature" in name] == []


def policy_file(folder: Path, *keys: Path) -> Path:
    path = folder / "policy.json"
    path.write_text(json.dumps({"schema": 1, "trusted_keys": [os.path.relpath(key, folder) for key in keys]}))
    return path


def test_a_policy_holds_for_every_bundle(
    signed: Path, keys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, other = make_key(tmp_path, "other", 2)
    monkeypatch.setenv(POLICY_VARIABLE, str(policy_file(tmp_path, keys[1])))
    assert Bundle.open(signed).signed_by is not None
    unsigned = write_hand_made_bundle(tmp_path / "unsigned").path  # writing needs no signature; opening does
    with pytest.raises(SignatureError):
        Bundle.open(unsigned)
    with pytest.raises(PolicyError, match="does not list"), trusting([other]):
        pass
    with trusting([keys[1]]):
        assert Bundle.open(signed).signed_by is not None


@pytest.mark.parametrize(
    "text", ["", "{}", '{"schema": 2, "trusted_keys": ["a"]}', '{"schema": 1, "trusted_keys": []}']
)
def test_a_policy_that_cannot_be_followed_opens_nothing(
    signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "policy.json").write_text(text)
    monkeypatch.setenv(POLICY_VARIABLE, str(tmp_path / "policy.json"))
    with pytest.raises(PolicyError):
        Bundle.open(signed)
    monkeypatch.setenv(POLICY_VARIABLE, str(tmp_path / "absent.json"))
    with pytest.raises(PolicyError):
        Bundle.open(signed)
