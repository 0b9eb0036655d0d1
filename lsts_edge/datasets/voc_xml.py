"""PASCAL VOC's XML, as ImageNet's annotations are written, read without trust: no document type, no entity, bounded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from lsts_edge.errors import AnnotationError
from lsts_edge.read_file import read_file

__all__ = ["VocImage", "VocObject", "read_voc"]

_MAX_BYTES = 1 << 20  # an image with a thousand objects has a third of it
_EXPECTED = "an annotation of PASCAL VOC's form, without a document type"


@dataclass(frozen=True)
class VocObject:
    """One object: corners are pixels, both inside; None where the file does not say."""

    name: str
    corners_px: tuple[float, float, float, float]
    track: int | None
    occluded: bool | None
    generated: bool | None


@dataclass(frozen=True)
class VocImage:
    """Size and objects of one image."""

    height_px: int
    width_px: int
    objects: tuple[VocObject, ...]


def read_voc(path: Path) -> VocImage:
    """Read one file.

    Raises:
        AnnotationError: if it is missing, too large, no XML, has a document type (which entities need), or lacks a
            size, a name or a box. ``got`` says which, without the path, so that the same can be counted.
    """
    try:
        content = read_file(path, _MAX_BYTES)
    except FileNotFoundError as error:
        raise _bad(path, "no annotation") from error
    except OSError as error:
        raise _bad(path, f"annotation cannot be read ({error.strerror})") from error
    try:
        root = _parse(content)
    except (expat.ExpatError, ValueError) as error:
        raise _bad(path, "broken XML, or XML with a document type") from error
    try:
        width, height = (_whole(root, f"size/{side}") for side in ("width", "height"))
        objects = tuple(_object(entry) for entry in root.findall("object"))
    except (ValueError, OverflowError) as error:
        raise _bad(path, "annotation without size, name or box") from error
    if not (0 < width <= 1 << 16 and 0 < height <= 1 << 16):
        raise _bad(path, "annotation with an impossible size")
    return VocImage(height, width, objects)


def _parse(content: bytes) -> Element:
    """ElementTree's own reader expands entities; this one has none."""
    builder = TreeBuilder()
    parser = expat.ParserCreate("utf-8")  # whatever the file declares: no other codec is looked up

    def refuse(*_: object) -> None:
        raise ValueError("a document type")

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.Parse(content, True)
    return builder.close()


def _object(entry: Element) -> VocObject:
    name = (entry.findtext("name") or "").strip()
    left, top, right, bottom = (float(entry.findtext(f"bndbox/{k}") or "") for k in ("xmin", "ymin", "xmax", "ymax"))
    if not name or not all(map(math.isfinite, (left, top, right, bottom))):
        raise ValueError("no name or box")
    track, occluded, generated = (entry.findtext(key) for key in ("trackid", "occluded", "generated"))
    return VocObject(
        name=name,
        corners_px=(left, top, right, bottom),
        track=None if track is None else int(track),
        occluded=None if occluded is None else int(occluded) != 0,
        generated=None if generated is None else int(generated) != 0,
    )


def _whole(root: Element, path: str) -> int:
    return int(root.findtext(path) or "")


def _bad(path: Path, got: str) -> AnnotationError:
    return AnnotationError(f"annotation {path}", got=got, expected=_EXPECTED, fix="Restore the file.")
