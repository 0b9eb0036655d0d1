"""The manifest: it survives JSON, holds detectors that are not ours, and refuses what contradicts itself."""

from __future__ import annotations

import dataclasses
import json

import pytest

from hand_made import hand_made_manifest
from lsts_edge.bundle.graphs import OP_VERSION
from lsts_edge.bundle.manifest import (
    GraphInfo,
    Manifest,
    ParityInfo,
    PropagationInfo,
    PropagationWay,
    StateInfo,
    Step,
    StudyInfo,
    TensorInfo,
    WrappedInfo,
)
from lsts_edge.errors import ManifestError
from lsts_edge.opspec import LSTS


def _back(manifest: Manifest) -> Manifest:
    return Manifest.from_dict(json.loads(json.dumps(manifest.to_dict())))


def test_it_survives_json() -> None:
    assert _back(hand_made_manifest()) == hand_made_manifest()


def detector_manifest() -> Manifest:
    """Somebody's detector on every frame, or moved boxes beside it on a smaller image; two graphs, no state."""
    ours = hand_made_manifest()
    boxes = ours.graphs["head"].outputs

    def graph(height_px: int, width_px: int, file: str) -> GraphInfo:
        image = TensorInfo("image", "uint8", (1, height_px, width_px, 3))
        return GraphInfo((image,), boxes, {"default": file}, 7, 5)

    def steps(name: str) -> tuple[Step, ...]:
        return (Step(name, {"image": "image"}, {"boxes": "boxes", "scores": "scores", "labels": "labels"}),)

    return dataclasses.replace(
        ours,
        preset=None,
        graphs={"detector": graph(64, 96, "detector.onnx"), "small": graph(32, 48, "small.onnx")},
        state=(),
        features=(),
        programs={"first": steps("detector")},
        extra_programs={"half": steps("small")},
        propagation=PropagationInfo(
            "moved",
            {
                "moved": PropagationWay("flow-boxes", 5, {"preset": "fast", "scale": 0.5, "boxes": 20, "rigid": True}),
                "both": PropagationWay("fused", 5, program="half"),
                "every": PropagationWay("every-frame", 1),
            },
        ),
        detection=dataclasses.replace(ours.detection, nms_iou=None, corners="edges"),
        wrapped=WrappedInfo("nano.onnx", "0" * 64, "yolox", ("pixels 0 to 255", "strides 8, 16, 32")),
        study=StudyInfo(
            "two clips", ({"way": "moved", "agreement": 0.91, "ms": 3}, {"way": "every", "agreement": None, "ms": 9})
        ),
    )


def test_a_detector_that_is_not_ours() -> None:
    manifest = detector_manifest()
    again = _back(manifest)
    assert again == manifest
    assert again.keyframe_interval == 5
    assert again.propagation.chosen.parameters == {"preset": "fast", "scale": 0.5, "boxes": 20, "rigid": True}
    assert [type(value) for value in again.propagation.chosen.parameters.values()] == [str, float, int, bool]
    assert again.preset is None and again.detection.nms_iou is None


def test_several_features_and_signals() -> None:
    """Two pyramid levels are carried, and a tensor of the propagated frame tells how sure it is."""
    ours = hand_made_manifest()
    level = TensorInfo("level", "float32", (1, 3))
    heavy = dataclasses.replace(ours.graphs["heavy"], outputs=(*ours.graphs["heavy"].outputs, level))
    programs = {
        kind: tuple(
            dataclasses.replace(step, outputs={**step.outputs, "level": "coarse"}) if step.graph == "heavy" else step
            for step in steps
        )
        for kind, steps in ours.programs.items()
    }
    manifest = dataclasses.replace(
        ours,
        graphs={**ours.graphs, "heavy": heavy},
        state=(*ours.state, StateInfo("coarse", "float32", (1, 3))),
        programs=programs,
        features=("task", "coarse"),
        signals={"aggregation_weight": "feature"},
        light_scale=0.5,
    )
    assert _back(manifest) == manifest


def test_a_newer_schema_is_refused_by_both_names() -> None:
    data = json.loads(json.dumps(hand_made_manifest().to_dict()))
    data["schema"], data["tools"] = 3, {"lsts_edge": "0.9.0"}
    data["something"] = "new"
    with pytest.raises(ManifestError, match=r"schema 3 \(written by lsts-edge 0.9.0\).*schema 1 to 2.*newer"):
        Manifest.from_dict(data)


def test_a_newer_op_is_refused_by_both_names() -> None:
    assert LSTS.since == OP_VERSION
    lsts = {
        "op": "lsts.edge::LSTS", "op_version": LSTS.since + 1, "locations": 9, "taps": 19, "radius_cells": 2,
        "forms": ["taps"], "default_form": "taps",
    }  # fmt: skip
    data = json.loads(json.dumps(hand_made_manifest().to_dict())) | {"lsts": lsts}
    with pytest.raises(ManifestError, match=rf"lsts.edge::LSTS.*version {LSTS.since + 1}.*to {LSTS.since},.*newer"):
        Manifest.from_dict(data)


def test_a_field_that_a_later_version_added_is_refused_by_its_name() -> None:
    data = json.loads(json.dumps(hand_made_manifest().to_dict())) | {"thermal": {"limit_c": 80}}
    with pytest.raises(ManifestError, match=r"thermal.*newer lsts-edge"):
        Manifest.from_dict(data)


def test_parity_of_several_clips_and_engines() -> None:
    def info(unmatched: int, error: float, backend: str = "onnxruntime 1") -> ParityInfo:
        return ParityInfo(1e-4, 30, error, 100, unmatched, 2, backend, "taps")

    merged = ParityInfo.merged([info(1, 1e-6), info(3, 2e-6)], [info(7, 3e-6, "openvino 1")])
    assert merged == ParityInfo(1e-4, 60, 3e-6, 200, 4, 4, "onnxruntime 1, openvino 1", "taps")


def _broken(**changes: object) -> Manifest:
    return dataclasses.replace(hand_made_manifest(), **changes)


def test_contradictions_are_refused_when_a_manifest_is_made() -> None:
    good = hand_made_manifest()
    first, keyframe, propagated = (good.programs[kind] for kind in ("first", "keyframe", "propagated"))
    head = good.graphs["head"]
    wider = dataclasses.replace(head, inputs=(TensorInfo("task", "float32", (1, 4)),))
    for changes, problem in (
        ({"programs": {**good.programs, "first": first[1:]}}, "slot 'task'"),
        ({"programs": {**good.programs, "first": first[:1]}}, "nothing writes boxes"),
        ({"programs": {"first": propagated}}, "slot 'task'"),
        ({"programs": {"keyframe": keyframe}}, "expected first"),
        ({"programs": {}}, "expected first"),
        ({"state": (*good.state, dataclasses.replace(good.state[0], name="age"))}, "nothing writes age"),
        ({"state": (dataclasses.replace(good.state[0], name="image"),)}, "names of state"),
        ({"graphs": {**good.graphs, "head": wider}}, r"float32 \[1, 4\]"),
        ({"graphs": {"heavy": good.graphs["heavy"], "head": head}}, "graph 'blend'"),
        ({"graphs": {**good.graphs, "blend": dataclasses.replace(head)}}, "a file of its own"),
        ({"graphs": {**good.graphs, "head": dataclasses.replace(head, forms={"taps": "head.onnx"})}}, "forms"),
        ({"graphs": {**good.graphs, "head": dataclasses.replace(head, parameters=-1)}}, "parameters"),
        ({"classes": ()}, "classes"),
        ({"classes": ("bird", "bird")}, "classes"),
        ({"joined": {"first": first[:1]}}, "joined"),
        ({"features": ("feature",)}, "features"),
        ({"signals": {"peak": "nowhere"}}, r"signals\.peak"),
        ({"signals": {"peak": "feature"}, "joined": {"first": first}}, r"signals\.peak"),
        ({"propagation": PropagationInfo.only("features", 10), "programs": {"first": first}}, "propagated"),
        ({"input": dataclasses.replace(good.input, height_px=128)}, r"\[1, 128, 96, 3\]"),
        ({"extra_programs": {"half": first[:1]}}, "nothing writes boxes"),
    ):
        with pytest.raises(ManifestError, match=problem):
            _broken(**changes)


@pytest.mark.parametrize("interval", [3, 2.5])
def test_an_interval_is_read_as_it_was_written(interval: float) -> None:
    way = PropagationWay("features", interval)
    manifest = dataclasses.replace(hand_made_manifest(), propagation=PropagationInfo("features", {"features": way}))
    again = _back(manifest).keyframe_interval
    assert (again, type(again)) == (interval, type(interval))
