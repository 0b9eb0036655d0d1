"""Try an LSTS form on an engine in a process of its own: a native crash there is an answer, not the end of ours."""

from __future__ import annotations

import json
import logging

import numpy as np

from lsts_edge.bundle import Bundle
from lsts_edge.bundle.manifest import GraphInfo
from lsts_edge.errors import LstsEdgeError
from lsts_edge.runtime.child import ChildLimits, Ending, refuse, run_child
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions

__all__ = ["example_feeds", "main", "try_form"]

logger = logging.getLogger(__name__)

_TIMEOUT_S = 120.0  # a form's graph loads and runs in a second; a TensorRT engine is built in a minute


def try_form(bundle: Bundle, graph: str, form: str, options: EngineOptions, *, timeout_s: float = _TIMEOUT_S) -> Ending:
    """Load a graph in a form and run it once, in a child process.

    Args:
        bundle: an open bundle, on disk.
        graph: name of the graph.
        form: LSTS form.
        options: the engine, which must not be open yet.
        timeout_s: a child that has not ended by then is killed.
    """
    asked = [str(bundle.path), bundle.digest, graph, form, json.dumps(options.to_dict())]
    ending = run_child(__name__, asked, ChildLimits(timeout_s), options.name)
    if ending is None:
        logger.warning("no interpreter to start: form %s is tried in this process, which a crash would end", form)
        return Ending()
    return ending


def example_feeds(graph: GraphInfo) -> dict[str, np.ndarray]:
    """Random inputs of a graph by name, from a fixed seed; an open size is that of a typical map."""
    random = np.random.RandomState(0)
    feeds: dict[str, np.ndarray] = {}
    for tensor in graph.inputs:
        shape = [size if isinstance(size, int) else 32 for size in tensor.shape]
        feeds[tensor.name] = (random.standard_normal(shape) * 0.1).astype(tensor.dtype)
    return feeds


def main(arguments: list[str]) -> None:
    """The child: its arguments are those of ``try_form``; the last line on standard error is the refusal."""
    path, digest, graph, form, asked = arguments
    try:
        bundle = Bundle.open(path, expect_digest=digest)
        options = EngineOptions(**json.loads(asked))
        session = open_backend(options, custom_op=form == "custom").load(
            bundle.model_for(options.name, graph, form), graph
        )
        session.run(example_feeds(bundle.manifest.graphs[graph]))
    except LstsEdgeError as error:
        refuse(str(error))
