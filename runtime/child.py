"""Run a function of ours in a process of its own, under limits: a crash, a hang or a hunger there is an answer."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import NoReturn

__all__ = ["ChildLimits", "Ending", "refuse", "run_child"]

# The child finds modules where this process found them, and nowhere else: no current folder, no environment variable.
_START = """
import importlib, json, sys
sys.path[:] = json.loads(sys.argv[1])
importlib.import_module("lsts_edge.runtime.child").limit(json.loads(sys.argv[2]))
importlib.import_module(sys.argv[3]).main(sys.argv[4:])
"""
_FAULTS = {number.value for number in (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)}
_TOLD_CHARACTERS = 500


@dataclass(frozen=True)
class ChildLimits:
    """What a child may use: seconds of wall clock, and bytes of memory that it may write to (None: any amount)."""

    time_s: float
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Ending:
    """How a child ended: ``refused`` is empty where it succeeded; ``crashed`` tells a native fault in it.

    ``output`` is what it had printed by then.
    """

    refused: str = ""
    crashed: bool = False
    output: str = ""


def run_child(module: str, arguments: list[str], limits: ChildLimits, what: str) -> Ending | None:
    """Call ``main(arguments)`` of a module in a new process; None where there is no interpreter to start.

    Args:
        module: its full name.
        arguments: text, handed over as it is.
        limits: a child beyond them is ended.
        what: who is blamed in the answer, as in "onnxruntime ended its process with SIGABRT".
    """
    if not sys.executable:
        return None
    asked = json.dumps(limits.memory_bytes)
    words = [sys.executable, "-I", "-c", _START, json.dumps(sys.path), asked, module, *arguments]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limits.time_s)
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"").decode(errors="replace")  # bytes, whatever was asked for
        return Ending(f"{what} did not load and run it within {limits.time_s:g} s", output=output)
    lines = done.stderr.strip().splitlines()
    if done.returncode < 0:
        try:
            name = signal.Signals(-done.returncode).name
        except ValueError:
            name = f"signal {-done.returncode}"
        said = f": {lines[-1][:300]}" if lines else ""
        crashed = -done.returncode in _FAULTS
        why = f"{what} ended its process with {name} when it loaded or ran it{said}"
        return Ending(why, crashed, done.stdout)
    if done.returncode:
        why = lines[-1][:_TOLD_CHARACTERS] if lines else f"its process ended with status {done.returncode}"
        return Ending(why, output=done.stdout)
    return Ending(output=done.stdout)


def refuse(why: str) -> NoReturn:
    """In the child: end it, with this as what its parent is told.

    Raises:
        SystemExit: always.
    """
    print(why.replace("\n", " "), file=sys.stderr)
    sys.exit(1)


def limit(memory_bytes: int | None) -> None:
    """In the child, before anything of an engine is loaded: memory that may be written to ends at so many bytes."""
    if memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
