"""Frames of real videos inside a recording: H.264 bytes that give the same pixels on every machine.

The standard fixes what a decoder gives, bit by bit, and the colours are converted by whole numbers here, so neither the
FFmpeg nor the OpenCV of a device decides. There is no container and no demuxer, and no frame larger than the network's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from lsts_edge.errors import BundleError

__all__ = ["decode_film", "encode_film"]

_PIXELS = "yuv444p"  # whole resolution in every plane: nothing to interpolate
_QUALITY = "26"

Images = Iterator[npt.NDArray[np.uint8]]


def encode_film(images: Iterable[npt.NDArray[Any]]) -> bytes:
    """Compress network images to a film; what ``decode_film`` gives of it is near them, not the same.

    Args:
        images: ``(1, H, W, 3)`` uint8 BGR each, of one size; at least one.
    """
    encoder: av.VideoCodecContext | None = None
    parts: list[bytes] = []
    for index, image in enumerate(images):
        if encoder is None:
            encoder = av.CodecContext.create("libx264", "w")
            encoder.height, encoder.width = image.shape[1:3]
            encoder.pix_fmt, encoder.framerate, encoder.time_base = _PIXELS, Fraction(25), Fraction(1, 25)
            encoder.options = {"crf": _QUALITY, "preset": "veryslow", "threads": "1"}
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[0]), format="bgr24").reformat(format=_PIXELS)
        frame.pts = index
        parts += [bytes(packet) for packet in encoder.encode(frame)]
    assert encoder is not None, "no images"
    return b"".join([*parts, *(bytes(packet) for packet in encoder.encode(None))])


def decode_film(film: bytes, height_px: int, width_px: int) -> Images:
    """The images of a film, ``(1, height_px, width_px, 3)`` uint8 BGR each.

    Raises:
        BundleError: if it is no such film, or of another size.
    """
    decoder = av.CodecContext.create("h264", "r")
    decoder.options = {"max_pixels": str((height_px + 32) * (width_px + 32)), "threads": "1"}  # whole macroblocks
    try:
        for packet in (*decoder.parse(film), *decoder.parse(b""), None):
            for frame in decoder.decode(packet):
                if (frame.format.name, frame.height, frame.width) != (_PIXELS, height_px, width_px):
                    raise _wrong(f"{frame.width} x {frame.height} {frame.format.name}", f"{width_px} x {height_px}")
                yield _to_bgr(frame.to_ndarray())[None]
    except av.FFmpegError as error:
        raise _wrong(f"what H.264 does not allow ({error.strerror})", "a film of this version") from error


def _to_bgr(planes: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """BT.601, studio range, in whole numbers: ``(3, H, W)`` Y, U, V to ``(H, W, 3)``."""
    y, u, v = planes.astype(np.int32) - np.array([16, 128, 128], np.int32)[:, None, None]
    y = 298 * y + 128
    bgr = np.stack([y + 516 * u, y - 100 * u - 208 * v, y + 409 * v], axis=-1) >> 8
    return np.asarray(bgr.clip(0, 255), np.uint8)


def _wrong(got: str, expected: str) -> BundleError:
    return BundleError("recorded film of the bundle", got=got, expected=expected, fix="Export the bundle again.")
