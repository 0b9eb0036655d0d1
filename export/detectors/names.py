"""Names of a detector's classes: from a file, from the model's metadata, or the 80 of COCO."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from lsts_edge.coco import COCO_CLASSES
from lsts_edge.errors import DetectorSpecError
from lsts_edge.export.detectors.spec import DetectorSpec

__all__ = ["class_names"]

MAX_BYTES = 256 << 10
MAX_NAME_CHARS = 100
_FIX = "Give a text file with one class name in each line, in the detector's order."


def class_names(model: onnx.ModelProto, spec: DetectorSpec, path: Path | None = None) -> tuple[tuple[str, ...], str]:
    """The names and where they are from.

    Args:
        model: as ``read_detector`` gives it; ``names`` of its metadata may hold a Python or JSON literal.
        spec: says how many classes there are, where the outputs tell.
        path: a text file with one name in each line, which wins.

    Returns:
        (names in the order of the labels, a line for the reader).

    Raises:
        DetectorSpecError: if names are missing, doubtful, or of another number than the classes.
    """
    written = next((entry.value for entry in model.metadata_props if entry.key == "names"), None)
    if path is not None:
        names, source = _from_file(path), f"class names: {path.name}"
    elif written is not None:
        names, source = _from_metadata(written), "class names: the model's metadata"
    elif spec.class_count in (None, len(COCO_CLASSES)):
        names, source = COCO_CLASSES, "class names: COCO's 80 (assumed: neither a file nor metadata has any)"
    else:
        raise _wrong("class names", f"none for {spec.class_count} classes", "a file, or names in the metadata")
    return _checked(names, spec, source), source


def _from_file(path: Path) -> Sequence[str]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _wrong(f"class names {path}", error.strerror or str(error), "a readable text file") from error
    if len(raw) > MAX_BYTES:
        raise _wrong(f"class names {path}", f"more than {MAX_BYTES} bytes", "a short text file")
    try:
        lines = raw.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise _wrong(f"class names {path}", "bytes that are not UTF-8", "UTF-8 text") from error
    while lines and not lines[-1].strip():
        lines.pop()
    return [line.strip() for line in lines]


def _from_metadata(text: str) -> Sequence[str]:
    """Names in a literal: ``{0: 'person', ...}`` or ``['person', ...]``. Nothing is run."""
    if len(text) > MAX_BYTES:
        raise _wrong("names in the metadata", f"{len(text)} characters", f"at most {MAX_BYTES}")
    found: Any
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        try:
            found = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise _wrong("names in the metadata", ascii(text[:40]), "a literal list or dictionary") from error
    if isinstance(found, dict):
        try:
            found = {int(key): value for key, value in found.items()}
        except (TypeError, ValueError) as error:
            raise _wrong("names in the metadata", "keys that are no numbers", "0, 1, 2, ...") from error
        if sorted(found) != list(range(len(found))):
            raise _wrong("names in the metadata", "numbers with gaps", "0, 1, 2, ...")
        found = [found[index] for index in range(len(found))]
    if not isinstance(found, list | tuple):
        raise _wrong("names in the metadata", type(found).__name__, "a list or dictionary")
    return list(found)


def _checked(names: Sequence[Any], spec: DetectorSpec, source: str) -> tuple[str, ...]:
    for name in names:
        plain = (
            isinstance(name, str) and 0 < len(name) <= MAX_NAME_CHARS and name.isprintable() and name.strip() == name
        )
        if not plain:
            raise _wrong(source, f"the name {ascii(name)[:60]}", f"1 to {MAX_NAME_CHARS} printable characters")
    if len(set(names)) != len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise _wrong(source, f"{ascii(twice)[:60]} twice", "different names")
    if not names or spec.class_count not in (None, len(names)):
        raise _wrong(source, f"{len(names)} names", f"{spec.class_count or 'at least one'}")
    return tuple(names)


def _wrong(what: str, got: object, expected: object) -> DetectorSpecError:
    return DetectorSpecError(what, got=got, expected=expected, fix=_FIX)
