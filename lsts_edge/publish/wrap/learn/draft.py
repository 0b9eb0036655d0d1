"""A bundle in memory that runs the learnt way, and the others beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib.metadata import version

from lsts_edge.bundle.draft import DraftBundle
from lsts_edge.bundle.manifest import PropagationInfo
from lsts_edge.publish.wrap.learn.graphs import LearntGraphs
from lsts_edge.publish.wrap.learn.layout import LIGHT_SCALE
from lsts_edge.publish.wrap.make import MAIN_GRAPH, make_draft
from lsts_edge.publish.wrap.subject import Size, Subject

__all__ = ["learnt_draft"]


def learnt_draft(
    subject: Subject,
    made: LearntGraphs,
    smaller: Mapping[Size, bytes],
    *,
    name: str = MAIN_GRAPH,
    licence: str = "",
    propagation: PropagationInfo | None = None,
) -> DraftBundle:
    """As ``make_draft``, with the detector cut into the graphs that the learnt way shares.

    Args:
        subject: the detector.
        made: what was learnt.
        smaller: graphs of smaller inputs, for the other ways.
        name: of the bundle.
        licence: of the weights.
        propagation: ways and default; None runs every frame.
    """
    graphs = {**smaller, subject.size: subject.graph(subject.size)}
    plain = make_draft(subject, graphs, subject.size, name=name, licence=licence, propagation=None)
    manifest = plain.manifest
    manifest = dataclasses.replace(
        manifest,
        graphs={**made.graphs, **{one: info for one, info in manifest.graphs.items() if one != MAIN_GRAPH}},
        programs=made.programs,
        state=made.state,
        features=made.features,
        light_scale=LIGHT_SCALE,
        lsts=made.lsts,
        tools={**manifest.tools, "torch": version("torch")},
        propagation=propagation or PropagationInfo.only("features", 10),
        files={},
    )
    rest = {file: content for file, content in plain.files.items() if file != f"{MAIN_GRAPH}.onnx"}
    return DraftBundle.of(manifest, {**made.files, **rest})
