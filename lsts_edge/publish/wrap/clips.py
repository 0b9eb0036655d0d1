"""The clips that a detector is measured on: found, read once, and cut into shots."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lsts_edge.errors import AnnotationError, LstsEdgeError, StreamEmpty, StreamError, StreamUnreadable
from lsts_edge.evaluation.annotations import AnnotationSet, ImageRecord
from lsts_edge.evaluation.bundles import read_image
from lsts_edge.evaluation.scenes import find_shots
from lsts_edge.progress import Progress, silent
from lsts_edge.publish.wrap.study import LeftOut
from lsts_edge.runtime.sources.open import open_source

__all__ = ["VIDEO_SUFFIXES", "ClipReader", "CutClip", "find_clips", "read_clips"]

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".ogv", ".gif")
MOST_FRAMES = 9000
"""Of a clip that are looked at: six minutes at 25 frames a second."""

_ENDS_BYTES = 1 << 20  # at both ends of a file: enough to tell it from others


@dataclass(frozen=True)
class CutClip:
    """A video, or a labelled sequence of pictures, and where its shots begin.

    Attributes:
        name: for people.
        path: the file, a folder of pictures, or the annotations of a labelled sequence.
        digest: tells it from others.
        height_px: of its first frame.
        width_px: likewise.
        shots: ranges of frames, in order.
        records: labels and picture of each frame; none of a plain video.
    """

    name: str
    path: Path
    digest: str
    height_px: int
    width_px: int
    shots: tuple[range, ...]
    records: tuple[ImageRecord, ...] = ()

    @property
    def frames(self) -> int:
        """How many there are, as far as the clip was read."""
        return self.shots[-1].stop

    def pictures(self) -> Iterator[np.ndarray]:
        """All frames, ``(H, W, 3)`` uint8 BGR each.

        Raises:
            StreamError: if it is a video that cannot be read any more.
        """
        return _pictures(self.path, self.records)


class ClipReader:
    """Reads parts of clips; parts of one clip in their order are read in one pass."""

    def __init__(self) -> None:
        """Nothing is open yet."""
        self._clip: CutClip | None = None
        self._frames: Iterator[np.ndarray] = iter(())
        self._next = 0

    def part(self, clip: CutClip, first: int, end: int) -> Iterator[np.ndarray]:
        """Frames ``first`` to before ``end``, ``(H, W, 3)`` uint8 BGR each.

        Raises:
            StreamError: if the clip cannot be read any more, or has become shorter.
        """
        if self._clip is not clip or self._next > first:
            self._clip, self._frames, self._next = clip, clip.pictures(), 0
        while self._next < end:
            picture = next(self._frames, None)
            if picture is None:
                got = f"{self._next} frames"
                fix = "Leave the clips alone while they are measured on, and wrap again."
                raise StreamError(f"{clip.name} ended", got=got, expected=f"{end}, as before", fix=fix)
            self._next += 1
            if self._next > first:
                yield picture


def find_clips(paths: Sequence[Path]) -> list[Path]:
    """The videos among files and in folders, deep ones too, sorted, each once; a folder of pictures alone is one.

    Raises:
        StreamUnreadable: if a path does not exist, or a folder holds neither.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        videos = [item for item in inside if item.suffix.lower() in VIDEO_SUFFIXES and item.is_file()]
        if path.is_file():
            found.append(path)  # whatever its name ends in, it was named
        elif videos:
            found += videos
        elif any(item.is_file() for item in inside):
            found.append(path)
        else:
            got = "an empty folder" if path.is_dir() else "nothing there"
            fix = "Give video files, or a folder of them."
            raise StreamUnreadable(f"--clips {path}", got=got, expected="video files", fix=fix)
    return list({os.path.realpath(path): path for path in found}.values())


def read_clips(
    paths: Sequence[Path], labelled: AnnotationSet | None = None, progress: Progress = silent
) -> tuple[list[CutClip], list[LeftOut]]:
    """Read every clip once, to cut it into shots.

    Args:
        paths: videos, as ``find_clips`` gives them.
        labelled: sequences that are clips too.
        progress: told of clips done and clips in all.

    Returns:
        The clips that can be used, and those that cannot, with the reason.

    Raises:
        StreamUnreadable: if none can.
    """
    clips: list[CutClip] = []
    left_out: list[LeftOut] = []
    sequences = {} if labelled is None else labelled.sequences()
    total = len(paths) + len(sequences)
    seen: dict[str, str] = {}
    jobs: list[tuple[str, Path, tuple[ImageRecord, ...]]] = [(path.name, path, ()) for path in paths]
    jobs += [(name, labelled.path, tuple(records)) for name, records in sequences.items()] if labelled else []
    for done, (name, path, records) in enumerate(jobs):
        progress(f"reading {name}", done + 1, total)
        try:
            clip = _read(name, path, records)
        except (LstsEdgeError, OSError) as error:
            reason = f"{error.problem}: {error.got}" if isinstance(error, LstsEdgeError) else str(error)
            left_out.append(LeftOut(name, _printable(reason)))
            continue
        if clip.frames < 2:
            left_out.append(LeftOut(name, "one frame: nothing comes between keyframes"))
        elif clip.digest in seen:
            left_out.append(LeftOut(name, f"the same as {seen[clip.digest]}"))
        else:
            seen[clip.digest] = name
            clips.append(clip)
    if not clips:
        reasons = "; ".join(f"{item.name}: {item.reason}" for item in left_out[:3])
        raise StreamUnreadable(
            "clips to measure on",
            got=f"none of {total} that can be used ({reasons or 'no clip'})",
            expected="videos of two frames or more",
            fix="Give footage like that which the detector is to run on.",
        )
    return clips, left_out


def _read(name: str, path: Path, records: tuple[ImageRecord, ...]) -> CutClip:
    sizes: list[tuple[int, int]] = []

    def watched() -> Iterator[np.ndarray]:
        for picture in itertools.islice(_pictures(path, records), MOST_FRAMES):
            if not sizes:
                sizes.append((picture.shape[0], picture.shape[1]))
            yield picture

    shots = find_shots(watched())
    if not shots:
        raise StreamEmpty(f"{name} gave no frame", got="0 frames", expected="2 or more", fix="Check it.")
    return CutClip(_printable(name), path, _digest(path, records), *sizes[0], tuple(shots), records)


def _pictures(path: Path, records: tuple[ImageRecord, ...]) -> Iterator[np.ndarray]:
    if records:
        yield from (read_image(record) for record in records)
        return
    with open_source(path) as source:
        for frame in source:
            yield frame.image


def _digest(path: Path, records: tuple[ImageRecord, ...]) -> str:
    """Of the ends of each file: footage may be long."""
    files = [record.path for record in records] or [path]
    if path.is_dir():
        files = sorted(item for item in path.iterdir() if item.is_file())
    total = hashlib.sha256(f"{len(files)}".encode())
    for file in files:
        try:
            size = file.stat().st_size
            with file.open("rb") as content:
                total.update(f"{size}:".encode() + content.read(_ENDS_BYTES))
                content.seek(max(_ENDS_BYTES, size - _ENDS_BYTES))
                total.update(content.read(_ENDS_BYTES))
        except OSError as error:
            fix = "Check the path."
            raise AnnotationError(f"picture {file}", got=str(error), expected="a file", fix=fix) from error
    for record in records:  # other labels are another sequence
        total.update(record.boxes_xyxy_px.tobytes() + record.labels.tobytes())
    return total.hexdigest()


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)[:300]
