"""``--size WIDTHxHEIGHT``, read in one place."""

from __future__ import annotations

import re

from lsts_edge.errors import OptionError

__all__ = ["size_hw"]


def size_hw(text: str) -> tuple[int, int]:
    """Height and width.

    Raises:
        OptionError: if the text is none.
    """
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    if match is None:
        raise OptionError("--size", got=repr(text), expected="WIDTHxHEIGHT, such as 448x256", fix="Correct it.")
    return int(match[2]), int(match[1])
