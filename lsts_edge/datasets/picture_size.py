"""How large a picture is, from its first bytes where they say it: a hundred thousand files need not be decoded."""

from __future__ import annotations

import struct
from pathlib import Path

from lsts_edge.errors import AnnotationError
from lsts_edge.runtime.sources.picture import read_picture

__all__ = ["picture_size"]

_HEAD_BYTES = 1 << 16
_NO_FRAME = (0xC4, 0xC8, 0xCC)  # of the markers C0 to CF all but these begin a frame


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width, as the reader of pictures gives them: upright where EXIF turns the picture.

    Raises:
        AnnotationError: if there is no picture; ``got`` says why, without the path.
    """
    try:
        with path.open("rb") as file:
            size = _jpeg_size(file.read(_HEAD_BYTES))
    except FileNotFoundError as error:
        raise _bad(path, "no picture") from error
    except OSError as error:
        raise _bad(path, f"picture cannot be read ({error.strerror})") from error
    if size is not None:
        return size
    image, why = read_picture(path)
    if image is None:
        raise _bad(path, f"picture: {why}")
    return image.shape[0], image.shape[1]


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    """None where the head does not say it: no JPEG, EXIF (which may turn it), or other matter before the frame."""
    position = 2
    if head[:2] != b"\xff\xd8":
        return None
    while position + 9 <= len(head) and head[position] == 0xFF:
        marker, length = head[position + 1], struct.unpack_from(">H", head, position + 2)[0]
        if marker == 0xE1 and head[position + 4 : position + 8] == b"Exif":
            return None
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            height, width = struct.unpack_from(">HH", head, position + 5)
            return (height, width) if height and width else None
        position += 2 + length
    return None


def _bad(path: Path, got: str) -> AnnotationError:
    return AnnotationError(f"picture {path}", got=got, expected="a picture", fix="Restore the file.")
