"""A JSON file that appears whole or not at all: written beside its place, then moved there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lsts_edge.errors import FileUnwritable

__all__ = ["check_output", "publish_json", "unwritable"]


def check_output(output: Path) -> None:
    """Refuse, before any work, a place that no file can come to; its folder is made.

    Raises:
        FileUnwritable: if it is a folder or a device, or its folder cannot be written.
    """
    with unwritable(output):
        if not output.name or output.is_dir() or (output.exists() and not output.is_file()):
            raise OSError("a folder or a device")
        output.parent.mkdir(parents=True, exist_ok=True)
        _part(output).touch()  # a name may be too long, a file system full or read-only
        _part(output).unlink()


def publish_json(content: Mapping[str, Any], output: Path) -> None:
    """Write an object, one line for each entry of its lists; an older file stays until the new one is whole.

    Raises:
        FileUnwritable: if it cannot be written.
    """
    check_output(output)
    part = _part(output)
    with unwritable(output):
        try:
            with part.open("w", encoding="utf-8") as file:
                file.writelines(_lines(content))
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, output)
        finally:
            part.unlink(missing_ok=True)


def _part(output: Path) -> Path:
    return output.with_name(f"{output.name}.part{os.getpid()}")


@contextmanager
def unwritable(output: Path) -> Iterator[None]:
    """What the operating system refuses inside becomes an error about the output."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileUnwritable):
            raise
        got = error.strerror or str(error)
        raise FileUnwritable(
            f"output {output}", got=got, expected="a path that can be written", fix="Choose another."
        ) from error


def _lines(content: Mapping[str, Any]) -> Iterator[str]:
    for number, (key, value) in enumerate(content.items()):
        yield ("{" if number == 0 else ",") + f"\n{json.dumps(key)}: "
        if isinstance(value, list) and value:
            yield "[\n" + json.dumps(value[0])
            for entry in value[1:]:
                yield ",\n" + json.dumps(entry)
            yield "\n]"
        else:
            yield json.dumps(value)
    yield "\n}\n"
