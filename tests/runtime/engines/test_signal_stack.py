"""A signal after an OpenVINO detector is closed is handled; the thread's signal stack is its own again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("openvino")

_PROGRAM = """
import ctypes, gc, os, signal, sys, threading
from lsts_edge.runtime import Detector, EngineOptions

class Stack(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]

def stack():
    now = Stack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(now))
    return now.base, now.flags, now.size

before = stack()
seen = []
signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
held = [Detector(sys.argv[1], EngineOptions("openvino", threads=1))]
assert stack() == before, (stack(), before)
last = threading.Thread(target=lambda: (held.pop().close(), gc.collect()))
last.start()
last.join()
gc.collect()
os.kill(os.getpid(), signal.SIGTERM)
print("handled", len(seen))
"""


@pytest.mark.parametrize("words", [[], ["-X", "faulthandler"]], ids=["plain", "with a stack of its own"])
def test_a_signal_after_the_detector_is_gone(hand_made_bundle: Path, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *words, "-c", _PROGRAM, str(hand_made_bundle)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "handled 1\n"), done.stderr
