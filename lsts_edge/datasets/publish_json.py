"""A JSON file that appears whole or not at all: written beside its place, then moved there."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lsts_edge.errors import FileUnwritable
from lsts_edge.write_file import write_file

__all__ = ["check_output", "publish_json", "unwritable"]


def check_output(output: Path) -> None:
    """Refuse, before any work, a place that no file can come to; its folder is made.

    Raises:
        FileUnwritable: if it is a folder, or its folder cannot be written.
    """
    with unwritable(output):
        if not output.name or output.is_dir():
            raise OSError("a folder")
        output.parent.mkdir(parents=True, exist_ok=True)
        if not output.exists():  # a name may be too long, a file system full or read-only
            output.touch()
            output.unlink()
        elif output.is_file() and not output.is_symlink():
            tempfile.TemporaryFile(dir=output.parent).close()


def publish_json(content: Mapping[str, Any], output: Path) -> None:
    """Write an object, one line for each entry of its lists; an older file stays until the new one is whole.

    Raises:
        FileUnwritable: if it cannot be written.
    """
    check_output(output)
    with unwritable(output):
        write_file(output, (line.encode() for line in _lines(content)))


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
