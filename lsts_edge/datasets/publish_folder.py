"""A folder that appears whole or not at all: filled beside its place, then moved there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lsts_edge.datasets.publish_json import unwritable

__all__ = ["published_folder"]


@contextmanager
def published_folder(output: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes ``output`` at the end, and is gone after an error.

    Raises:
        FileUnwritable: if the output is a file, is a folder with something in it, or cannot be written.
    """
    part = output.with_name(f"{output.name}.part{os.getpid()}") if output.name else output
    with unwritable(output):
        if not output.name or (os.path.lexists(output) and (not output.is_dir() or any(output.iterdir()))):
            raise OSError("a file, or a folder with something in it")
        part.mkdir(parents=True)
        try:
            yield part
            os.replace(part, output)
        finally:
            shutil.rmtree(part, ignore_errors=True)
