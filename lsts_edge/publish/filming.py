"""Cuts scenes of real videos to the film that a bundle is recorded on, in place of the procedural clip."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lsts_edge.bundle.manifest import InputInfo
from lsts_edge.errors import OptionError
from lsts_edge.runtime.preprocess import Preprocessor
from lsts_edge.runtime.sources.open import open_source
from lsts_edge.verify.film import encode_film

__all__ = ["FILM_NOTE", "FilmPlan"]

FILM_NOTE = "golden/film.txt"


@dataclass(frozen=True)
class FilmPlan:
    """What to record a bundle on.

    Attributes:
        scenes: a video and the second at which to start, each.
        licence: under which these frames may be passed on, for they travel in the bundle.
    """

    scenes: tuple[tuple[Path, float], ...]
    licence: str

    @classmethod
    def of(cls, videos: Sequence[str], licence: str) -> FilmPlan:
        """Read ``FILE`` or ``FILE@SECONDS``, each.

        Raises:
            OptionError: if the licence is empty, or a start is negative.
        """
        if not licence.strip():
            fix = "Say whose video it is and what its licence allows: the frames travel in the bundle."
            raise OptionError("--record-licence", got="nothing", expected="a text", fix=fix)
        return cls(tuple(_scene(word) for word in videos), licence.strip())

    def shoot(self, size: InputInfo, frames: int) -> bytes:
        """``frames`` frames of each scene, resized and padded as the network's input, as a film.

        Raises:
            StreamError: if a video cannot be read.
            OptionError: if one is too short.
        """
        return encode_film(itertools.chain.from_iterable(_cut(*scene, size, frames) for scene in self.scenes))

    @property
    def note(self) -> str:
        """The text beside the film, for people."""
        names = ", ".join(f"{path.name} from {start_s:g} s" for path, start_s in self.scenes)
        return f"The frames of the recording are cut from: {names}.\nLicence of the frames: {self.licence}\n"


def _scene(word: str) -> tuple[Path, float]:
    name, _, start = word.rpartition("@")
    try:
        start_s = float(start)
    except ValueError:
        return Path(word), 0.0
    if not name or Path(word).exists():
        return Path(word), 0.0
    if not 0 <= start_s < 1e6:
        raise OptionError("--record-video", got=word, expected="FILE@SECONDS from 0 on", fix="Correct the start.")
    return Path(name), start_s


def _cut(path: Path, start_s: float, size: InputInfo, frames: int) -> Iterator[npt.NDArray[Any]]:
    prepare = Preprocessor(size)
    cut = 0
    with open_source(path) as source:
        for index, frame in enumerate(source):
            time_s = frame.time_s if frame.time_s is not None else index / (source.rate_fps or 25.0)
            if time_s < start_s:
                continue
            if cut == frames:
                break
            cut += 1
            yield np.array(prepare(frame.image)[0])
    if cut < frames:
        raise OptionError(
            f"--record-video {path.name}",
            got=f"{cut} frames from {start_s:g} s on",
            expected=f"{frames}",
            fix="Start earlier, or lower --verify-frames.",
        )
