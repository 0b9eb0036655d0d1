"""A flipped bit anywhere in a bundle is refused as ``bundle-digest`` (RELIABILITY row 1)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from attacks.forged import forge

from lsts_edge.bundle import Bundle
from lsts_edge.bundle.manifest import Manifest
from lsts_edge.errors import DigestMismatch, LstsEdgeError

SEED = 20_201


def _code_after_flip(bundle: Path, name: str, bit: int) -> str:
    path = bundle / name
    original = path.read_bytes()
    changed = bytearray(original)
    changed[bit // 8] ^= 1 << bit % 8
    path.write_bytes(changed)
    try:
        Bundle.open(bundle)
    except LstsEdgeError as error:
        return error.code
    finally:
        path.write_bytes(original)
    return "accepted"


def _flip_at_random(bundle: Path, count: int) -> Counter[str]:
    chooser = random.Random(SEED)
    names = sorted(path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file())
    codes: Counter[str] = Counter()
    for _ in range(count):
        name = chooser.choice(names)
        codes[_code_after_flip(bundle, name, chooser.randrange((bundle / name).stat().st_size * 8))] += 1
    return codes


def test_random_flips_in_all_files(hand_made_bundle: Path, record_property: Callable[[str, object], None]) -> None:
    record_property("attacks", 300)
    assert _flip_at_random(hand_made_bundle, 300) == {"bundle-digest": 300}


@pytest.mark.slow
@pytest.mark.strict
def test_many_random_flips_in_all_files(hand_made_bundle: Path, record_property: Callable[[str, object], None]) -> None:
    record_property("attacks", 5000)
    assert _flip_at_random(hand_made_bundle, 5000) == {"bundle-digest": 5000}


def test_every_byte_of_the_manifest(hand_made_bundle: Path, record_property: Callable[[str, object], None]) -> None:
    raw = (hand_made_bundle / "manifest.json").read_bytes()
    record_property("attacks", len(raw))
    codes: Counter[str] = Counter()
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 1 << place % 8
        try:
            Manifest.from_json(bytes(changed))
            codes["accepted"] += 1
        except LstsEdgeError as error:
            codes[error.code] += 1
    assert codes == {"bundle-digest": len(raw)}


def test_the_program_refuses_too(hand_made_bundle: Path, lsts_edge_command) -> None:
    path = hand_made_bundle / "heavy.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    done = lsts_edge_command("inspect", hand_made_bundle)
    assert done.returncode == 3
    assert done.stderr.startswith("error[bundle-digest]: heavy.onnx")
    assert len(done.stderr.splitlines()) == 1


def test_planted_fault_a_flip_that_the_manifest_covers_is_seen(tmp_path: Path) -> None:
    """A bundle rewritten with its digests opens, so the counting above can count; only the bundle digest tells."""
    honest = Bundle.open(forge(tmp_path / "honest"))
    changed = honest.read("golden/note.txt").replace(b"file", b"fine")
    rewritten = forge(tmp_path / "rewritten", files={"golden/note.txt": changed})
    assert Bundle.open(rewritten).digest != honest.digest
    with pytest.raises(DigestMismatch):
        Bundle.open(rewritten, expect_digest=honest.digest)
