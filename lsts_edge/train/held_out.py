"""What must never be trained on: a list of names, and a check that stops a run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from lsts_edge.errors import OptionError
from lsts_edge.read_file import read_file

__all__ = ["held_out_names", "refuse_held_out"]

_MAX_BYTES = 1 << 20
_SHOT = re.compile(r" shot \d+$")


def held_out_names(path: Path) -> set[str]:
    """Names in a list, one a line; ``#`` begins a remark, ``[`` a heading.

    Raises:
        OptionError: if the file cannot be read.
    """
    try:
        lines = [line.strip() for line in read_file(path, _MAX_BYTES).decode("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"list {path}", got=str(error), expected="a text file", fix="Check the path.") from error
    return {line for line in lines if line and line[0] not in "#["}


def refuse_held_out(names: set[str], sequences: Iterable[str], files: Iterable[Path]) -> None:
    """Stop if something held out is about to be trained on; shots of a clip go by the clip's name.

    Args:
        names: as ``held_out_names`` gives them.
        sequences: of the training data.
        files: the annotation files; their folders' names count too.

    Raises:
        OptionError: if there is one.
    """
    seen = {_SHOT.sub("", name) for name in sequences} | {path.parent.name for path in files}
    both = sorted(seen & names)
    if both:
        fix = "Leave them out of the data: what is measured on must not be trained on."
        raise OptionError("training data that is held out", got=both[:8], expected="none of it", fix=fix)
