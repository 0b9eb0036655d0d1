"""Open the way that a bundle, or its user, chose to run frames."""

from __future__ import annotations

import dataclasses
from functools import partial

from lsts_edge.bundle import Bundle
from lsts_edge.bundle.manifest import Manifest
from lsts_edge.bundle.propagation import PropagationWay
from lsts_edge.errors import OptionError
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.graphs import Graphs
from lsts_edge.runtime.pipeline import Pipeline
from lsts_edge.runtime.pruning import prune
from lsts_edge.runtime.runners.interface import FrameRunner
from lsts_edge.runtime.runners.network import NetworkRunner

__all__ = ["WAYS", "choose_way", "open_runner", "per_frame_pipeline"]

WAYS = ("hold", "flow-boxes", "every-frame")
"""Ways that need nothing of a bundle but its detector: any bundle can be run with them."""


def choose_way(manifest: Manifest, asked: str | PropagationWay | None) -> PropagationWay:
    """The way by its name in the manifest, by its kind, or as the caller made it; None takes the bundle's default.

    Raises:
        OptionError: if the bundle does not have it.
    """
    info = manifest.propagation
    if asked is None:
        return info.chosen
    if isinstance(asked, PropagationWay):
        return asked
    if asked in info.ways:
        return info.ways[asked]
    if asked == "every-frame":
        return PropagationWay("every-frame", 1)
    if asked in ("hold", "flow-boxes"):
        return PropagationWay(asked, manifest.keyframe_interval)  # type: ignore[arg-type]
    expected = ", ".join(dict.fromkeys((*info.ways, *WAYS)))
    raise OptionError(f"propagator of {manifest.name}", got=repr(asked), expected=expected, fix="Choose one of these.")


def open_runner(
    bundle: Bundle, engine: EngineOptions | None = None, way: str | PropagationWay | None = None
) -> FrameRunner:
    """Load the graphs that a way needs, and put it together.

    Args:
        bundle: an open bundle.
        engine: what runs it and how; None takes ONNX Runtime on the CPU.
        way: a name or kind, or one of the caller's; None takes the bundle's default.
    Raises:
        OptionError: if the bundle does not have the way, or an option does not fit.
        ProviderError: if the engine or provider is missing or refuses a graph.
    """
    manifest = bundle.manifest
    chosen = choose_way(manifest, way)
    if chosen.kind == "features" or (chosen.kind == "every-frame" and not manifest.state):
        return _network(manifest, Pipeline(bundle, engine))
    graphs = Graphs(bundle, engine)
    if chosen.kind == "smaller-input":
        return _small(graphs, chosen)
    network = _network(manifest, per_frame_pipeline(graphs, joined=engine is not None and bool(engine.joined)))
    if chosen.kind == "every-frame":
        return network
    from lsts_edge.runtime.propagators.make import make_propagator
    from lsts_edge.runtime.runners.boxes import BoxRunner

    make = partial(make_propagator, chosen.kind, chosen.parameters)
    return BoxRunner(network, make, None if chosen.program is None else _small(graphs, chosen))


def per_frame_pipeline(graphs: Graphs, *, joined: bool = False) -> Pipeline:
    """The detector alone, on every frame.

    Args:
        graphs: of the bundle.
        joined: the joined graph of a first frame, with what only later frames read; otherwise the split graphs
            without that. A bundle that carries nothing runs its joined graph where it has one.
    """
    manifest = graphs.manifest
    if joined or (graphs.joined and not manifest.state):
        programs, state = {"first": manifest.joined["first"]}, [slot.name for slot in manifest.state]
        return Pipeline.of_steps(graphs, programs, state)
    steps, _ = prune({"first": manifest.programs["first"]}, ())
    return Pipeline.of_steps(graphs, steps)


def _network(manifest: Manifest, pipeline: Pipeline) -> NetworkRunner:
    return NetworkRunner(pipeline, manifest.input, manifest.detection.corners, manifest.signals)


def _small(graphs: Graphs, way: PropagationWay) -> NetworkRunner:
    """The way's own program, on images of its own size."""
    manifest = graphs.manifest
    steps = manifest.extra_programs.get(way.program or "")
    if steps is None:
        expected = ", ".join(manifest.extra_programs) or "a bundle with extra programs"
        raise OptionError(
            f"program of {way.kind}", got=repr(way.program), expected=expected, fix="Choose one of these."
        )
    pipeline = Pipeline.of_steps(graphs, {"first": steps})
    height, width = pipeline.image_shape[1:3]
    assert isinstance(height, int) and isinstance(width, int), "the manifest was checked"
    rule = dataclasses.replace(manifest.input, height_px=height, width_px=width)
    return NetworkRunner(pipeline, rule, manifest.detection.corners, manifest.signals)
