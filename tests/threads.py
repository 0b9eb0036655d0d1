"""Whether a thread of a given name ends: waits for it, so that no test depends on how soon."""

from __future__ import annotations

import threading

__all__ = ["left_running"]

_HANG_S = 60.0


def left_running(part_of_name: str) -> list[str]:
    """Names of the threads with this in their name that do not end."""
    found = [thread for thread in threading.enumerate() if part_of_name in thread.name]
    for thread in found:
        thread.join(_HANG_S)
    return [thread.name for thread in found if thread.is_alive()]
