"""Writes small videos, sound and damaged, for the tests of sources and faults."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from lsts_edge.clips import moving_clip

__all__ = ["damage", "read_pictures", "small_clip", "turned", "write_changing_sizes", "write_video"]


def small_clip(frames: int, height_px: int = 96, width_px: int = 128, seed: int = 0) -> list[np.ndarray]:
    """The procedural clip at a size that encodes in a moment."""
    return list(moving_clip(frames, height_px, width_px, seed))


def write_video(
    path: Path,
    pictures: Sequence[np.ndarray],
    *,
    codec: str = "libx264",
    rate: int = 25,
    times_s: Sequence[float] | None = None,
    turned_clockwise: bool = False,
    gop: int = 12,
    b_frames: int = 0,
    pix_fmt: str = "yuv420p",
) -> Path:
    """Encode pictures; ``times_s`` gives each its own time stamp, for variable rates."""
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast", "bf": str(b_frames), "g": str(gop)} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=rate, options=options)
        height_px, width_px = pictures[0].shape[:2] if pictures else (64, 64)
        stream.height, stream.width, stream.pix_fmt = height_px, width_px, pix_fmt
        stream.codec_context.time_base = Fraction(1, 1000)
        if turned_clockwise:  # the matrix a telephone held upright writes: show it turned by 90 degrees clockwise
            stream.set_display_matrix([0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30])
        container.start_encoding()
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format=pix_fmt)
            seconds = index / rate if times_s is None else times_s[index]
            frame.pts, frame.time_base = round(seconds * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_changing_sizes(path: Path, parts: Iterable[Sequence[np.ndarray]]) -> Path:
    """One raw H.264 stream whose size changes between the parts, as a camera's does when its mode is switched."""
    with open(path, "wb") as out:
        for pictures in parts:
            part = path.with_suffix(".part.h264")
            write_video(part, pictures)
            out.write(part.read_bytes())
            part.unlink()
    return path


def turned(path: Path, degrees: int) -> bytes:
    """A raw H.264 stream whose pictures that stand alone say that they are to be shown turned counter-clockwise.

    Source: ITU-T H.264, D.1.27: a display orientation message (type 47) of 3 bytes before each such picture.
    """
    bits = (round(degrees * 65536 / 360) << 5 | 0b01001).to_bytes(3, "big")  # no flips; the turn; until told otherwise
    message, picture = b"\0\0\1\x06\x2f\x03" + bits + b"\x80", b"\0\0\1\x65"
    return path.read_bytes().replace(picture, message + picture)


def damage(path: Path, target: Path, *, share: float, seed: int) -> Path:
    """Overwrite a share of the bytes with random ones, the first kilobyte spared so that the file still opens."""
    source = random.Random(seed)
    content = bytearray(path.read_bytes())
    for _ in range(max(1, int(share * len(content)))):
        content[source.randrange(1024, len(content))] = source.randrange(256)
    target.write_bytes(content)
    return target


def read_pictures(path: Path) -> list[np.ndarray]:
    """Every picture of a video, by PyAV alone."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
