"""Where the program keeps what it can make again, on machines that may have no home."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder(part: str = "") -> Path | None:
    """``$XDG_CACHE_HOME/lsts-edge`` or ``~/.cache/lsts-edge``, and ``part`` below; nothing is created.

    Returns:
        None where there is no home: containers run as users without a passwd entry and without ``HOME``.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the XDG Base Directory Specification: a relative one is to be ignored
        home = os.path.expanduser("~")
        if not os.path.isabs(home):
            return None
        base = os.path.join(home, ".cache")
    return Path(base) / "lsts-edge" / part
