"""The child process of the provider check: opens one engine on one provider and runs the probe graphs in turn."""

from __future__ import annotations

import json
from typing import Any

from lsts_edge.doctor.probe import GRAPHS, graph_path, probe_error, probe_feeds
from lsts_edge.errors import LstsEdgeError, ProviderUnavailable
from lsts_edge.runtime.engines.interface import BACKENDS
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions

__all__ = ["main"]


def main(arguments: list[str]) -> None:
    """Print a JSON line before and after each step, so that the parent knows in which one this process died.

    Args:
        arguments: name of the engine, and of the provider to try; an empty one asks which there are.
    """
    engine, provider = arguments
    if provider:
        _try_graphs(EngineOptions(engine, provider))
        return
    offered = []
    for name in BACKENDS[engine]:
        try:
            version = open_backend(EngineOptions(engine, name)).version
        except ProviderUnavailable:
            continue
        offered.append(name)
        _tell(version=version)
    _tell(offered=offered)


def _try_graphs(options: EngineOptions) -> None:
    for graph in GRAPHS:
        _tell(begun=graph)
        try:
            session = open_backend(options, custom_op=graph == "custom").load(graph_path(graph).read_bytes(), graph)
            wrong = probe_error(next(iter(session.run(probe_feeds()).values())))
        except LstsEdgeError as error:
            _tell(graph=graph, refused=f"{error.problem}: {error.got}", code=error.code, fix=error.fix)
        else:
            _tell(graph=graph, wrong=wrong)


def _tell(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)
