"""Missing, cut, extra, renamed and linked files are refused, by name and with both sizes (RELIABILITY row 2)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lsts_edge.bundle import Bundle
from lsts_edge.errors import BundleError, DigestMismatch

FILES = ("manifest.json", "heavy.onnx", "blend.onnx", "head.onnx", "golden/note.txt")


@pytest.mark.parametrize("name", FILES)
def test_removed(name: str, hand_made_bundle: Path) -> None:
    (hand_made_bundle / name).unlink()
    with pytest.raises(BundleError, match=name):
        Bundle.open(hand_made_bundle)


@pytest.mark.parametrize("name", FILES)
def test_renamed(name: str, hand_made_bundle: Path) -> None:
    (hand_made_bundle / name).rename(hand_made_bundle / f"{name}.bak")
    with pytest.raises(BundleError, match=name):
        Bundle.open(hand_made_bundle)


@pytest.mark.parametrize("name", FILES)
def test_cut_at_many_places(name: str, hand_made_bundle: Path, record_property: Callable[[str, object], None]) -> None:
    path = hand_made_bundle / name
    whole = path.read_bytes()
    sizes = sorted({len(whole) * step // 100 for step in range(100)})
    record_property("attacks", len(sizes))
    for size in sizes:
        path.write_bytes(whole[:size])
        with pytest.raises(DigestMismatch) as caught:
            Bundle.open(hand_made_bundle)
        if name != "manifest.json":
            assert f"{size} bytes" in str(caught.value)
            assert f"{len(whole)} bytes" in str(caught.value)
            assert name in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_grown(name: str, hand_made_bundle: Path) -> None:
    with (hand_made_bundle / name).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(DigestMismatch):
        Bundle.open(hand_made_bundle)


@pytest.mark.parametrize("name", ["extra.onnx", "golden/extra.npz", ".hidden", "liblsts_ops.so", "a/b/c/d", "empty/"])
def test_extra(name: str, hand_made_bundle: Path) -> None:
    path = hand_made_bundle / name
    if name.endswith("/"):
        path.mkdir()
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    with pytest.raises(BundleError, match=name.split("/")[0]):
        Bundle.open(hand_made_bundle)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["symlink", "hardlink", "fifo", "directory"])
def test_no_plain_file(name: str, kind: str, hand_made_bundle: Path, tmp_path: Path) -> None:
    path = hand_made_bundle / name
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    if kind == "symlink":
        path.symlink_to(elsewhere)
    elif kind == "hardlink":
        os.link(elsewhere, path)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(BundleError, match=name):
        Bundle.open(hand_made_bundle)


def test_linked_folder(hand_made_bundle: Path, tmp_path: Path) -> None:
    (hand_made_bundle / "golden").rename(tmp_path / "golden")
    (hand_made_bundle / "golden").symlink_to(tmp_path / "golden", target_is_directory=True)
    with pytest.raises(BundleError, match="golden"):
        Bundle.open(hand_made_bundle)


def test_planted_fault_the_undamaged_bundle_opens(hand_made_bundle: Path) -> None:
    """Refusing everything would pass the tests above."""
    assert set(Bundle.open(hand_made_bundle).manifest.files) == set(FILES) - {"manifest.json"}
