"""What can be refused is refused before anything is made, and a checkpoint's way to its bundle stays short."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from conftest import ROOT

from hand_made import write_hand_made_bundle
from lsts_edge import custom_ops
from lsts_edge.cli import main
from lsts_edge.errors import (
    ExportError,
    FileUnwritable,
    LstsEdgeError,
    OpLibraryError,
    OptionError,
    ProviderMissing,
    StreamError,
)
from lsts_edge.export import exporter
from lsts_edge.model import random_network, save_checkpoint
from lsts_edge.presets import get_preset
from lsts_edge.publish.filming import FilmPlan
from lsts_edge.publish.network import load_network
from lsts_edge.publish.publish import publish
from videos import small_clip, write_video

NOBODY = 65_534
MAX_CLIMBS = 15
FLOORS = ("errors", "taps", "presets", "bundle", "model", "runtime", "verify", "publish", "benchmarks", "cli")
FLOOR = {name: floor for floor, name in enumerate(FLOORS)} | {
    "boxes": 2, "clips": 2, "opspec": 2, "statistics": 2, "custom_ops": 4, "export": 5, "evaluation": 6, "train": 7,
}  # fmt: skip


@pytest.fixture
def _nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(*arguments: object, **options: object) -> None:
        pytest.fail("the export began")

    monkeypatch.setattr(exporter, "export_model", made)


def _refuse(output: Path, **options: Any) -> None:
    network, weights, _ = load_network("random", preset="lsts-tiny")
    publish(network, weights, output, **options)


def _taken_by_a_file(folder: Path) -> Path:
    (folder / "taken").write_text("x")
    return folder / "taken"


def _taken_by_a_folder(folder: Path) -> Path:
    (folder / "thesis").mkdir()
    (folder / "thesis" / "years.txt").write_text("of work")
    return folder / "thesis"


def _taken_by_a_bundle(folder: Path) -> Path:
    return write_hand_made_bundle(folder / "bundle").path


@pytest.mark.usefixtures("_nothing_is_made")
@pytest.mark.parametrize(
    ("place", "options", "error", "words"),
    [
        (lambda folder: folder / "absent" / "bundle", {}, FileUnwritable, "no parent directory"),
        (_taken_by_a_bundle, {}, FileUnwritable, "--overwrite"),
        (_taken_by_a_file, {"overwrite": True}, FileUnwritable, "a file or link"),
        (_taken_by_a_folder, {"overwrite": True}, FileUnwritable, "no bundle"),
        (lambda folder: folder / "b", {"frames": 0}, OptionError, "frames"),
        (lambda folder: folder / "b", {"forms": ("nearest",)}, ExportError, "nearest"),
        (lambda folder: folder / "b", {"forms": ("custom",), "openvino": True}, ExportError, "custom only"),
        (lambda folder: folder / "b", {"video": "/nowhere/street.mp4"}, StreamError, "street"),
        (lambda folder: folder / "b", {"film": FilmPlan.of(["/nowhere/park.mp4@2"], "CC0")}, StreamError, "park"),
    ],
    ids=["parent", "bundle", "file", "folder", "frames", "form", "ir", "video", "film"],
)
def test_refused_before_the_export(
    place: Callable[[Path], Path], options: dict[str, Any], error: type[LstsEdgeError], words: str, tmp_path: Path
) -> None:
    output = place(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error, match=words):
        _refuse(output, **options)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("_nothing_is_made")
def test_a_scene_that_is_too_short_is_told_before_the_export(tmp_path: Path) -> None:
    film = FilmPlan.of([str(write_video(tmp_path / "clip.mp4", small_clip(4)))], "CC0")
    with pytest.raises(OptionError, match=r"clip\.mp4: got 4 frames"):
        _refuse(tmp_path / "b", film=film, frames=5)


@pytest.mark.usefixtures("_nothing_is_made")
def test_a_missing_engine_is_told_before_the_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)  # what an absent package looks like to the importer
    with pytest.raises(ProviderMissing):
        _refuse(tmp_path / "b", openvino=True)


@pytest.mark.usefixtures("_nothing_is_made")
def test_a_missing_op_library_is_told_before_the_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise OpLibraryError("planted", got="no library", expected="one", fix="Build it.")

    monkeypatch.setattr(custom_ops, "library_path", missing)
    with pytest.raises(OpLibraryError, match="planted"):
        _refuse(tmp_path / "b", forms=("custom",))


@pytest.mark.usefixtures("_nothing_is_made")
def test_a_folder_that_may_not_be_written_is_told_before_the_export() -> None:
    network, weights, _ = load_network("random", preset="lsts-tiny")
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o555)
        with _as_nobody(), pytest.raises(FileUnwritable):
            publish(network, weights, Path(name) / "bundle")
        assert os.listdir(name) == []


@contextlib.contextmanager
def _as_nobody() -> Iterator[None]:
    """Root may write anywhere: be somebody else for a moment."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(os.getuid())


def test_the_way_of_a_checkpoint_is_short(tmp_path: Path) -> None:
    """The rule of docs/adr/0006: calls out of ``cli`` and ``publish``, each place once, without words of progress."""
    checkpoint = tmp_path / "tiny.safetensors"
    save_checkpoint(random_network(get_preset("lsts-tiny"), 0), checkpoint, {"licence": "none", "description": "toy"})
    clip = write_video(tmp_path / "clip.mp4", small_clip(12))
    words = f"export --checkpoint {checkpoint} --output {tmp_path / 'bundle'} --precision int8 --calibrate {clip}"
    floors: list[int] = []
    seen: set[tuple[Any, ...]] = set()

    def profile(frame: FrameType, event: str, argument: object) -> None:
        callee = _folder(frame.f_code.co_filename)
        if event != "call" or callee is None or frame.f_code.co_name[0] == "<" or frame.f_code.co_name == "progress":
            return
        caller = frame.f_back
        while caller is not None and _folder(caller.f_code.co_filename) is None:
            caller = caller.f_back
        if caller is None or (folder := _folder(caller.f_code.co_filename)) not in ("cli", "publish", None):
            return
        place = (caller.f_code, caller.f_lineno, frame.f_code)
        if folder not in (callee, None) and place not in seen:
            seen.add(place)
            floors.append(FLOOR[callee])

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        with pytest.raises(SystemExit) as left:
            main([*words.split(), "--format", "openvino", "--verify-frames", "3"])
    finally:
        sys.setprofile(before)
    assert left.value.code in (0, None)
    assert len(floors) > 40 and {FLOOR["bundle"], FLOOR["export"], FLOOR["verify"]} <= set(floors)
    climbs = sum(later > earlier for earlier, later in zip([FLOOR["cli"], *floors], floors, strict=False))
    assert 5 <= climbs <= MAX_CLIMBS


@functools.cache
def _folder(file: str) -> str | None:
    """The folder, or module in the root, of our code that a file belongs to; None for others'."""
    path = Path(file).resolve()
    if file.startswith("<") or not path.is_relative_to(ROOT):
        return None
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = parts[1] if parts[0] == "lsts_edge" else parts[0]
    return name if name in FLOOR else None
