"""Programs over named slots: what is carried, what is forgotten, what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from hand_made import hand_made_files, hand_made_manifest
from lsts_edge.bundle import Bundle, write_bundle
from lsts_edge.bundle.manifest import PropagationInfo
from lsts_edge.errors import DigestMismatch, OptionError, ProviderError, ShapeError, StateError
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.pipeline import Pipeline


@pytest.fixture
def pipeline(hand_made_bundle: Path) -> Pipeline:
    return Pipeline(Bundle.open(hand_made_bundle), EngineOptions(threads=1))


def flat(value: int) -> np.ndarray:
    return np.full((1, 64, 96, 3), value, np.uint8)


def test_the_memory_goes_from_frame_to_frame(pipeline: Pipeline) -> None:
    assert not pipeline.has_memory
    assert pipeline.step(flat(100), "first")["task"].tolist() == [[100, 100, 100]]
    slots = pipeline.step(flat(200), "propagated")
    assert slots["feature"].tolist() == [[200, 200, 200]]
    assert slots["task"].tolist() == [[150, 150, 150]]
    assert pipeline.state["task"].tolist() == [[150, 150, 150]]
    assert pipeline.step(flat(40), "keyframe")["task"].tolist() == [[40, 40, 40]]
    assert set(pipeline.timings_ms) == {"heavy", "head"}


def test_a_step_that_is_not_to_be_remembered_changes_nothing(pipeline: Pipeline) -> None:
    pipeline.step(flat(100), "first")
    assert pipeline.step(flat(200), "propagated", remember=False)["task"].tolist() == [[150, 150, 150]]
    assert pipeline.state["task"].tolist() == [[100, 100, 100]]


def test_no_memory_no_propagation(pipeline: Pipeline) -> None:
    with pytest.raises(StateError, match="no memory"):
        pipeline.step(flat(1), "propagated")
    pipeline.step(flat(1), "first")
    pipeline.reset()
    with pytest.raises(StateError, match="no memory"):
        pipeline.step(flat(1), "keyframe")


def test_a_failing_graph_leaves_the_memory_as_it_was(pipeline: Pipeline) -> None:
    pipeline.step(flat(100), "first")
    state = pipeline._state
    pipeline._state = {"task": pipeline.backend.tensors.put(np.zeros((1, 7), np.float32))}  # a state no graph takes
    with pytest.raises(ProviderError, match="blend"):
        pipeline.step(flat(200), "propagated")
    assert pipeline.state["task"].shape == (1, 7)
    pipeline._state = state
    assert pipeline.step(flat(200), "propagated")["task"].tolist() == [[150, 150, 150]]


def test_shared_pipelines_have_memories_of_their_own(pipeline: Pipeline) -> None:
    pipeline.step(flat(100), "first")
    other = pipeline.share()
    assert not other.has_memory
    other.step(flat(0), "first")
    assert pipeline.state["task"].tolist() == [[100, 100, 100]]


@pytest.mark.parametrize(
    "image", [np.zeros((1, 64, 97, 3), np.uint8), np.zeros((64, 96, 3), np.uint8), np.zeros((1, 64, 96, 3), np.float32)]
)
def test_another_image_is_refused(pipeline: Pipeline, image: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="network image"):
        pipeline.step(image, "first")


def test_forms_and_joined_graphs_that_are_not_there_are_refused(hand_made_bundle: Path) -> None:
    bundle = Bundle.open(hand_made_bundle)
    with pytest.raises(OptionError, match="LSTS form"):
        Pipeline(bundle, EngineOptions(lsts_form="taps"))
    with pytest.raises(OptionError, match="joined"):
        Pipeline(bundle, EngineOptions(joined=True))


def test_a_file_changed_after_opening_is_not_loaded(hand_made_bundle: Path) -> None:
    bundle = Bundle.open(hand_made_bundle)
    changed = bytearray((hand_made_bundle / "head.onnx").read_bytes())
    changed[-20] ^= 1
    (hand_made_bundle / "head.onnx").write_bytes(changed)
    with pytest.raises(DigestMismatch, match=r"head\.onnx"):
        Pipeline(bundle)


def test_a_per_frame_model_runs_its_one_program_on_every_frame(tmp_path: Path) -> None:
    manifest = hand_made_manifest()
    alone = dataclasses.replace(
        manifest,
        programs={"first": manifest.programs["first"]},
        state=(),
        features=(),
        propagation=PropagationInfo.only("every-frame", 1),
    )
    pipeline = Pipeline(write_bundle(tmp_path / "bundle", alone, hand_made_files()))
    assert not pipeline.carries_memory
    for kind, value in (("first", 10), ("keyframe", 20), ("propagated", 30)):
        assert pipeline.step(flat(value), kind)["task"].tolist() == [[value] * 3]  # type: ignore[arg-type]
