"""How many threads torch uses, for those who were asked."""

from __future__ import annotations

import torch

from lsts_edge.errors import OptionError

__all__ = ["set_threads"]

_MOST = 1024


def set_threads(threads: int | None) -> None:
    """Use so many threads inside an operator; None keeps the setting.

    Raises:
        OptionError: if it is not 1 to 1024.
    """
    if threads is None:
        return
    if not 1 <= threads <= _MOST:
        fix = "Leave it out for all cores."
        raise OptionError("threads", got=threads, expected=f"1..{_MOST}", fix=fix)
    torch.set_num_threads(threads)
