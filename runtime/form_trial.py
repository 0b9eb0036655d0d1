"""Try an LSTS form on an engine in a process of its own: a native crash there is an answer, not the end of ours."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from dataclasses import dataclass

import numpy as np

from lsts_edge.bundle import Bundle
from lsts_edge.bundle.manifest import GraphInfo
from lsts_edge.errors import LstsEdgeError
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions

__all__ = ["Trial", "example_feeds", "main", "try_form"]

logger = logging.getLogger(__name__)

_TIMEOUT_S = 120.0  # a form's graph loads and runs in a second; a TensorRT engine is built in a minute
# The child finds modules where this process found them, and nowhere else: no current folder, no environment variable.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from lsts_edge.runtime.form_trial import main; main()"
)
_FAULTS = {number.value for number in (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)}


@dataclass(frozen=True)
class Trial:
    """How it went: ``refused`` is empty where the form runs; ``crashed`` tells a fault of the engine or the op."""

    refused: str = ""
    crashed: bool = False


def try_form(bundle: Bundle, graph: str, form: str, options: EngineOptions, *, timeout_s: float = _TIMEOUT_S) -> Trial:
    """Load a graph in a form and run it once, in a child process.

    Args:
        bundle: an open bundle, on disk.
        graph: name of the graph.
        form: LSTS form.
        options: the engine, which must not be open yet.
        timeout_s: a child that has not ended by then is killed.
    """
    if not sys.executable:
        logger.warning("no interpreter to start: form %s is tried in this process, which a crash would end", form)
        return Trial()
    asked = [str(bundle.path), bundle.digest, graph, form, json.dumps(options.to_dict())]
    words = [sys.executable, "-I", "-c", _START, json.dumps(sys.path), *asked]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return Trial(f"{options.name} did not load and run it within {timeout_s:g} s")
    lines = done.stderr.strip().splitlines()
    if done.returncode < 0:
        try:
            name = signal.Signals(-done.returncode).name
        except ValueError:
            name = f"signal {-done.returncode}"
        crashed = -done.returncode in _FAULTS
        said = f": {lines[-1][:300]}" if lines else ""
        return Trial(f"{options.name} ended its process with {name} when it loaded or ran it{said}", crashed)
    if done.returncode:
        return Trial(lines[-1][:500] if lines else f"a process that tried it ended with status {done.returncode}")
    return Trial()


def example_feeds(graph: GraphInfo) -> dict[str, np.ndarray]:
    """Random inputs of a graph by name, from a fixed seed; an open size is that of a typical map."""
    random = np.random.RandomState(0)
    feeds: dict[str, np.ndarray] = {}
    for tensor in graph.inputs:
        shape = [size if isinstance(size, int) else 32 for size in tensor.shape]
        feeds[tensor.name] = (random.standard_normal(shape) * 0.1).astype(tensor.dtype)
    return feeds


def main() -> None:
    """The child: its arguments are those of ``try_form``; the last line on standard error is the refusal."""
    path, digest, graph, form, asked = sys.argv[2:]
    try:
        bundle = Bundle.open(path, expect_digest=digest)
        options = EngineOptions(**json.loads(asked))
        session = open_backend(options, custom_op=form == "custom").load(
            bundle.model_for(options.name, graph, form), graph
        )
        session.run(example_feeds(bundle.manifest.graphs[graph]))
    except LstsEdgeError as error:
        print(str(error).replace("\n", " "), file=sys.stderr)
        sys.exit(1)
