"""Which classes somebody wants to see, by name or number."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np

from lsts_edge.errors import OptionError

__all__ = ["wanted_labels"]


def wanted_labels(wanted: Sequence[str | int], classes: Sequence[str]) -> np.ndarray:
    """``(classes,)`` bool: True for the labels to keep.

    Args:
        wanted: names as the model has them, in any case, or labels from 0.
        classes: the model's names, by label.
    Raises:
        OptionError: if nothing is wanted, or something is no class of the model.
    """
    by_name = {name.casefold(): label for label, name in enumerate(classes)}
    keep = np.zeros(len(classes), bool)
    if isinstance(wanted, str) or not wanted:
        raise OptionError("classes", got=repr(wanted), expected="names or labels", fix="Leave it out to keep all.")
    for one in wanted:
        label = by_name.get(one.strip().casefold()) if isinstance(one, str) else one
        if label is None and isinstance(one, str) and one.strip().isdecimal():
            label = int(one)
        if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < len(classes):
            near = difflib.get_close_matches(str(one).casefold(), by_name, 1)
            fix = f"Did you mean {classes[by_name[near[0]]]!r}?" if near else "Choose from these."
            raise OptionError("class", got=repr(one), expected=", ".join(classes), fix=fix)
        keep[label] = True
    return keep
