"""The stack that this thread handles signals on stays its own while a library sets up."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

__all__ = ["kept_signal_stack"]


class _Stack(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


_DISABLED = 2


@contextlib.contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Put the thread's alternate signal stack back at the end.

    OpenVINO's CPU plugin gives the thread that loads it another one and frees that with the plugin, perhaps from
    another thread: the next signal of a process that has closed its detector then ends it with a segmentation fault.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    library, before = ctypes.CDLL(None), _Stack()
    known = library.sigaltstack(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        if known:
            before.flags &= _DISABLED
            library.sigaltstack(ctypes.byref(before), None)
