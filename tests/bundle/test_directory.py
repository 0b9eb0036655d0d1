"""Bundles: what is written opens, what was changed does not, and an interrupted write leaves nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hand_made import hand_made_files, hand_made_manifest, write_hand_made_bundle
from lsts_edge.bundle import Bundle, write_bundle
from lsts_edge.bundle import write as bundle_module
from lsts_edge.errors import BundleError, DigestMismatch, FileUnwritable, OptionError


def test_what_is_written_opens_and_reads_back(tmp_path: Path) -> None:
    written = write_hand_made_bundle(tmp_path / "bundle")
    opened = Bundle.open(tmp_path / "bundle")
    assert opened == written
    for name, content in hand_made_files().items():
        assert opened.read(name) == content
    assert opened.graph_bytes("heavy") == hand_made_files()["heavy.onnx"]
    assert opened.graph_bytes("heavy", "taps") == hand_made_files()["heavy.onnx"]


def test_two_writes_give_the_same_digest(tmp_path: Path) -> None:
    assert write_hand_made_bundle(tmp_path / "a").digest == write_hand_made_bundle(tmp_path / "b").digest


def test_without_ir_openvino_is_handed_the_onnx_bytes(tmp_path: Path) -> None:
    bundle = write_hand_made_bundle(tmp_path / "bundle")
    assert all(graph.ir == {} for graph in Bundle.open(bundle.path).manifest.graphs.values())
    assert bundle.model_for("openvino", "heavy") == bundle.graph_bytes("heavy")
    assert bundle.manifest.ir_bytes("heavy", "default") == 0


def test_expected_digest(hand_made_bundle: Path) -> None:
    digest = Bundle.open(hand_made_bundle).digest
    assert Bundle.open(hand_made_bundle, expect_digest=f"sha256:{digest.upper()}").digest == digest
    with pytest.raises(DigestMismatch, match="not the one asked for"):
        Bundle.open(hand_made_bundle, expect_digest="0" * 64)
    with pytest.raises(OptionError):
        Bundle.open(hand_made_bundle, expect_digest="sha256:12")


def test_bytes_changed_after_opening_are_not_handed_out(hand_made_bundle: Path) -> None:
    opened = Bundle.open(hand_made_bundle)
    path = hand_made_bundle / "head.onnx"
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    with pytest.raises(DigestMismatch, match=r"head\.onnx"):
        opened.graph_bytes("head")


def test_names_that_the_bundle_does_not_have(hand_made_bundle: Path) -> None:
    opened = Bundle.open(hand_made_bundle)
    with pytest.raises(BundleError, match="no graph 'light'"):
        opened.graph_bytes("light")
    with pytest.raises(BundleError, match="no file"):
        opened.read("../bundle/heavy.onnx")


@pytest.mark.parametrize("what", ["nothing", "file", "empty"])
def test_what_is_no_bundle(what: str, tmp_path: Path) -> None:
    path = tmp_path / what
    if what == "file":
        path.write_text("x")
    elif what == "empty":
        path.mkdir()
    with pytest.raises(BundleError):
        Bundle.open(path)


@pytest.mark.parametrize("can_exchange", [True, False])
def test_overwriting_swaps_old_for_new(can_exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bundle"
    old = write_hand_made_bundle(path)
    if not can_exchange:  # as on a file system without RENAME_EXCHANGE
        monkeypatch.setattr(bundle_module, "_exchange", lambda first, second: False)
    files = hand_made_files() | {"golden/note.txt": b"another note\n"}
    new = write_bundle(path, hand_made_manifest(), files, overwrite=True)
    assert new.digest != old.digest
    assert Bundle.open(path).read("golden/note.txt") == b"another note\n"
    assert os.listdir(tmp_path) == ["bundle"]


def test_files_may_be_given_as_paths(tmp_path: Path) -> None:
    source = tmp_path / "elsewhere.onnx"
    source.write_bytes(hand_made_files()["heavy.onnx"])
    written = write_bundle(tmp_path / "bundle", hand_made_manifest(), hand_made_files() | {"heavy.onnx": source})
    assert written.digest == write_hand_made_bundle(tmp_path / "other").digest


def test_only_a_bundle_is_overwritten_and_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    write_hand_made_bundle(tmp_path / "bundle")
    (tmp_path / "link").symlink_to(tmp_path / "bundle")
    for name, problem in (
        ("mine", "no bundle"),
        ("file", "file or link"),
        ("link", "file or link"),
        ("absent/bundle", "no parent"),
    ):
        with pytest.raises(FileUnwritable, match=problem):
            write_hand_made_bundle(tmp_path / name, overwrite=True)
    with pytest.raises(FileUnwritable, match="a bundle there"):
        write_hand_made_bundle(tmp_path / "bundle")
    write_hand_made_bundle(tmp_path / "empty")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    "files",
    [
        {"heavy.onnx": None},
        {"second.onnx": b"\x3a\x00"},
        {"../outside.txt": b"x"},
        {"library.so": b"\x7fELF"},
        {"HEAD.onnx": b"\x3a\x00"},
        {"head.onnx": b"no protobuf"},
        {"head.onnx": b""},
    ],
    ids=lambda files: next(iter(files)),
)
def test_a_refused_write_leaves_the_old_bundle_and_nothing_else(files: dict[str, bytes], tmp_path: Path) -> None:
    old = write_hand_made_bundle(tmp_path / "bundle")
    given = {name: content for name, content in (hand_made_files() | files).items() if content is not None}
    with pytest.raises(BundleError):
        write_bundle(tmp_path / "bundle", hand_made_manifest(), given, overwrite=True)
    assert Bundle.open(tmp_path / "bundle") == old
    assert os.listdir(tmp_path) == ["bundle"]


def test_what_a_killed_export_left_is_swept_by_the_next(tmp_path: Path) -> None:
    stale = tmp_path / ".bundle.partial-killed"
    stale.mkdir()
    (stale / "heavy.onnx").write_bytes(b"half")
    other = tmp_path / ".other.partial-mine"
    other.mkdir()
    write_hand_made_bundle(tmp_path / "bundle")
    assert sorted(os.listdir(tmp_path)) == [".other.partial-mine", "bundle"]
