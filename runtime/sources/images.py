"""A source of the pictures in a folder, or of one picture: told by name, upright, in 8 bits."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lsts_edge.errors import StreamEmpty, StreamUnreadable
from lsts_edge.runtime.sources.interface import Frame, Source
from lsts_edge.runtime.sources.picture import PICTURES, read_picture, shown_name

__all__ = ["ImageFolder"]

logger = logging.getLogger(__name__)


class ImageFolder(Source):
    """The pictures of a folder in the order of their names, numbers by value; sizes may differ.

    EXIF turns them upright, 16 bits become 8, of an animation the first picture is taken. Unreadable ones are counted
    as lost; hidden files are left out; other files are counted in ``skipped`` and told.
    """

    def __init__(self, path: Path, *, rate_fps: float = 25.0) -> None:
        """List the pictures.

        Args:
            path: a folder, or one picture.
            rate_fps: the rate their time stamps follow.
        Raises:
            StreamEmpty: if the folder has none.
            StreamUnreadable: if the folder cannot be listed.
        """
        self.name = str(path)
        self.rate_fps = rate_fps
        self._paths = self._listed(path) if path.is_dir() else [path]
        self.frame_count = len(self._paths)
        self._step_s = 1.0 / rate_fps
        self._told: set[str] = set()

    def _listed(self, folder: Path) -> list[Path]:
        chosen, others, hidden = [], Counter[str](), 0
        try:
            for path in folder.iterdir():
                if path.name.startswith("."):
                    hidden += 1
                elif path.suffix.lower() in PICTURES and path.is_file():
                    chosen.append(path)
                else:
                    others["folder" if path.is_dir() else shown_name(path.suffix) or "no suffix"] += 1
        except OSError as error:
            raise StreamUnreadable(
                f"cannot list {folder}",
                got=error.strerror,
                expected="a folder that can be read",
                fix="Check its rights.",
            ) from error
        self.skipped = sum(others.values())
        parts = [f"{self.skipped} that are no pictures ({_counts(others)})"] if others else []
        parts += [f"{hidden} hidden"] if hidden else []
        if not chosen:
            raise StreamEmpty(
                f"no pictures in {folder}",
                got=" and ".join(parts) or "none",
                expected=", ".join(PICTURES),
                fix="Give a folder of pictures, or a video itself.",
            )
        if parts:
            logger.warning("%s: left out %s", self.name, " and ".join(parts))
        return sorted(chosen, key=lambda path: (_natural(path.name), path.name))

    def __iter__(self) -> Iterator[Frame]:
        """Yield each readable picture.

        Raises:
            StreamUnreadable: if none of them can be read.
        """
        index, lost_before = 0, 0
        for position, path in enumerate(self._paths):
            if self.stopping:
                return
            begin = time.perf_counter_ns()
            image = self._read(path)
            if image is None:
                lost_before += 1
                self.lost += 1
                continue
            decode_ms = (time.perf_counter_ns() - begin) / 1e6
            yield Frame(
                image,
                index,
                position * self._step_s,
                lost_before=lost_before,
                decode_ms=decode_ms,
                file=shown_name(path.name),
            )
            index, lost_before = index + 1, 0
        if index == 0:
            raise StreamUnreadable(
                f"pictures in {self.name}", got=f"{self.lost} unreadable", expected="pictures", fix="Check the files."
            )

    def _read(self, path: Path) -> np.ndarray | None:
        image, remark = read_picture(path)
        if image is None:
            self._tell("lost", f"{path.name} cannot be read ({remark}) and counts as lost")
        elif remark:
            self._tell("odd", f"{path.name} has {remark}")
        return image

    def _tell(self, what: str, text: str) -> None:
        """Once for each source: a folder may hold thousands of the same kind."""
        if what not in self._told:
            self._told.add(what)
            logger.warning("%s: %s; told once", self.name, text)


def _natural(name: str) -> list[str | int]:
    """Texts and numbers in turn, so that 2 comes before 10."""
    return [int(part) if index % 2 else part for index, part in enumerate(re.split("([0-9]+)", name))]


def _counts(others: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
