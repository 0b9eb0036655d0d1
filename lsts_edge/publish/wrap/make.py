"""Makes bundles of a detector in memory: graphs at sizes and precisions, and the ways to run them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

from lsts_edge import __version__
from lsts_edge.bundle.draft import DraftBundle
from lsts_edge.bundle.manifest import (
    DetectionInfo,
    GraphInfo,
    InputInfo,
    Manifest,
    PropagationInfo,
    Step,
    TensorInfo,
    WeightsInfo,
)
from lsts_edge.publish.wrap.study import Precision
from lsts_edge.publish.wrap.subject import MAX_DETECTIONS, SCORE_FLOOR, Size, Subject

__all__ = ["MAIN_GRAPH", "input_rule", "make_draft", "program_name"]

MAIN_GRAPH = "detector"
_OUTPUTS = (
    TensorInfo("boxes", "float32", ("D", 4)),
    TensorInfo("scores", "float32", ("D",)),
    TensorInfo("labels", "int64", ("D",)),
)


def program_name(size: Size) -> str:
    """Of the additional graph at a size, and of the program that runs it."""
    return f"{MAIN_GRAPH}-{size[1]}x{size[0]}"


def input_rule(subject: Subject, size: Size) -> InputInfo:
    """How a frame becomes the detector's picture of a size."""
    return InputInfo(*size, subject.spec.resize, subject.spec.pad_value)


def make_draft(
    subject: Subject,
    graphs: Mapping[Size, bytes],
    size: Size,
    *,
    precision: Precision = "fp32",
    name: str = MAIN_GRAPH,
    licence: str = "",
    propagation: PropagationInfo | None = None,
) -> DraftBundle:
    """A bundle in memory whose frames are detected at ``size``; the other graphs are programs of their own.

    Args:
        subject: the detector.
        graphs: serialised, by size; ``size`` is among them.
        size: of the bundle's input.
        precision: of all graphs.
        name: of the bundle.
        licence: of the weights; empty where nobody said.
        propagation: ways and default; None runs every frame.
    """
    files: dict[str, bytes] = {}
    infos: dict[str, GraphInfo] = {}
    programs: dict[str, tuple[Step, ...]] = {}
    for one, content in sorted(graphs.items(), key=lambda item: (item[0] != size, item[0])):
        graph = MAIN_GRAPH if one == size else program_name(one)
        files[f"{graph}.onnx"] = content
        infos[graph] = _graph_info(subject, one, f"{graph}.onnx", precision)
        outputs = {tensor.name: tensor.name for tensor in _OUTPUTS}
        programs[graph] = (Step(graph, {"image": "image"}, outputs),)
    spec = subject.spec
    overlap = spec.nms_iou if spec.suppression == "added" else None
    manifest = Manifest(
        name=name,
        tools={"lsts_edge": __version__, "onnx": version("onnx")},
        weights=WeightsInfo(
            "file",
            licence or f"not stated: that of {subject.file}",
            f"wrapped detector of the family {spec.family}",
            file=subject.file,
            sha256=subject.sha256,
        ),
        input=input_rule(subject, size),
        classes=subject.classes,
        graphs=infos,
        state=(),
        programs={"first": programs.pop(MAIN_GRAPH)},
        joined={},
        lsts=None,
        propagation=propagation or PropagationInfo.only("every-frame", 1),
        detection=DetectionInfo(SCORE_FLOOR, MAX_DETECTIONS, overlap, "edges"),
        parity=None,
        extra_programs=programs,
        wrapped=subject.info,
    )
    return DraftBundle.of(manifest, files)


def _graph_info(subject: Subject, size: Size, file: str, precision: Precision) -> GraphInfo:
    parameters, multiply_adds = subject.counts(size)
    image = TensorInfo("image", "uint8", (1, *size, 3))
    return GraphInfo((image,), _OUTPUTS, {"default": file}, parameters, multiply_adds, precision)
