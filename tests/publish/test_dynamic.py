"""Bundles whose input size follows the video: torch's numbers at every size, on every engine, by one rule."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from export_bundles import tiny_variants
from toy_data import write_toy_data

from lsts_edge.bundle import Bundle
from lsts_edge.bundle.manifest import InputInfo, Manifest, WeightsInfo
from lsts_edge.cli import main
from lsts_edge.errors import ExportError, ManifestError, OptionError, ShapeError, StateError
from lsts_edge.evaluation.annotations import read_annotations
from lsts_edge.evaluation.bundles import run_bundle
from lsts_edge.export.exporter import export_model
from lsts_edge.model import random_network
from lsts_edge.model.reference import reference_steps
from lsts_edge.presets import FIVE_GROUPS, ModelPreset, get_preset
from lsts_edge.publish.filming import FilmPlan
from lsts_edge.publish.publish import publish
from lsts_edge.runtime.detector import Detector
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.pipeline import Pipeline
from lsts_edge.runtime.preprocess import Preprocessor
from lsts_edge.train.inference import run_checkpoint
from lsts_edge.variants import varied
from lsts_edge.verify.compare import check_parity, verify_bundle
from lsts_edge.verify.references import clip_images
from lsts_edge.verify.torch_reference import TorchReference
from videos import small_clip

ENGINES = ("onnxruntime", "openvino")
SIZES = ((64, 96), (96, 64), (48, 80))
WEIGHTS = WeightsInfo("random", "none: random numbers", "random weights", seed=0)
PRESET = get_preset("lsts-tiny").by_shorter_side()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, str]:
    """What the command writes, and what it says."""
    path, told = tmp_path_factory.mktemp("dynamic") / "tiny", io.StringIO()
    words = ["--checkpoint", "random", "--preset", "lsts-tiny", "--dynamic", "--verify-frames", "3", "--output", path]
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told), pytest.raises(SystemExit) as left:
        main(["export", *map(str, words)])
    assert left.value.code == 0, told.getvalue()
    return Bundle.open(path), told.getvalue()


@pytest.fixture(scope="module")
def bundle(exported: tuple[Bundle, str]) -> Bundle:
    return exported[0]


def test_the_command_says_the_rule(exported: tuple[Bundle, str], capsys: pytest.CaptureFixture[str]) -> None:
    bundle, told = exported
    rule = "shorter side 64 px, longer at most 96 px, in multiples of 16"
    assert f"lsts-tiny, {rule}, random weights" in told
    assert "comparing 6 frames each of 64x96 and 64x64 with torch" in told
    with pytest.raises(SystemExit):
        main(["inspect", "--no-first-run", str(bundle.path)])
    assert f"input       {rule}, shorter-side" in capsys.readouterr().out


def test_the_manifest_says_the_rule(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert manifest.input == InputInfo(64, 96, "shorter-side", 114, multiple_px=16)
    assert str(manifest.input) == "shorter side 64 px, longer at most 96 px, in multiples of 16"
    assert {slot.name: slot.shape for slot in manifest.state} == {
        "task": (1, 32, "h", "w"),
        "task_embedding": (1, 8, "h", "w"),
    }
    assert manifest.graphs["heavy"].inputs[0].shape == (1, "H", "W", 3)
    assert manifest.preset == PRESET and manifest.joined
    assert manifest.to_dict()["input"]["multiple_px"] == manifest.to_dict()["preset"]["input"]["multiple_px"] == 16


def test_bundles_of_one_size_say_nothing_of_it(hand_made_bundle: Path) -> None:
    assert b"multiple_px" not in (hand_made_bundle / "manifest.json").read_bytes()


@pytest.mark.parametrize("engine", ENGINES)
def test_torch_and_engines_agree_at_every_size(bundle: Bundle, engine: str) -> None:
    pytest.importorskip(engine)
    images = itertools.chain(*(clip_images(6, *size) for size in SIZES))
    truth = TorchReference(random_network(PRESET, 0), images, 2, scene_frames=6)
    report = verify_bundle(bundle, truth, EngineOptions(engine))
    check_parity(report)
    assert {one.joined for one in report.programs} == {False, True}
    assert all(one.totals.boxes > 200 and one.totals.frames == 18 for one in report.programs)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stream_that_changes_its_size(bundle: Bundle, engine: str) -> None:
    pytest.importorskip(engine)
    network, prepare = random_network(PRESET, 0), Preprocessor(bundle.manifest.input)
    clips = (small_clip(4, 120, 200), small_clip(4, 300, 100, seed=1), small_clip(3, 64, 64, seed=2))
    images_px = []
    with Detector(
        bundle, EngineOptions(engine), keyframe_interval=3, score_threshold=0.0, scene_cuts=False
    ) as detector:
        for number, clip in enumerate(clips):
            images = [prepare(frame)[0].copy() for frame in clip]
            geometry = prepare.geometry(*clip[0].shape[:2])
            steps = reference_steps(network, images, 3)
            for index, (frame, (_, kind, slots)) in enumerate(zip(clip, steps, strict=True)):
                found = detector.push(frame)
                assert found.reset_reason == ("size-change" if number and not index else None)
                assert found.kind == kind
                np.testing.assert_allclose(found.boxes.scores, slots["scores"], atol=1e-4)
                boxes = (slots["boxes"] + np.float32([0, 0, 1, 1])) / geometry.scale_x
                np.testing.assert_allclose(found.boxes.xyxy_px, np.clip(boxes, 0, frame.shape[1::-1] * 2), atol=0.05)
            images_px.append(images[0].shape[1:3])
    assert images_px == [(64, 96), (96, 32), (64, 64)], "of 200x120, 100x300 and 64x64"


def test_evaluation_of_a_bundle_and_of_a_checkpoint_are_one(bundle: Bundle, tmp_path: Path) -> None:
    path = write_toy_data(tmp_path, frames=4)
    data = json.loads(path.read_text(encoding="utf-8"))
    for image in data["images"]:
        if image["video_id"] == 2:  # an upright video
            file = str(tmp_path / image["file_name"])
            cv2.imwrite(file, cv2.resize(cv2.imread(file), (60, 140)))
            image["height"], image["width"] = 140, 60
    path.write_text(json.dumps(data), encoding="utf-8")
    truth = read_annotations(path, FIVE_GROUPS)
    ours = run_checkpoint(random_network(PRESET, 0), truth, keyframe_interval=2, batch=4)
    found = run_bundle(bundle, truth, keyframe_interval=2)
    assert found.keys() == ours.keys() and sum(map(len, found.values())) > 50
    for key, boxes in found.items():
        np.testing.assert_allclose(boxes.scores, ours[key].scores, atol=1e-4)
        np.testing.assert_allclose(boxes.xyxy_px, ours[key].xyxy_px, atol=0.05)


def test_images_that_are_not_whole_cells_and_memories_of_another_size(bundle: Bundle) -> None:
    pipeline = Pipeline(bundle)
    with pytest.raises(ShapeError, match="multiples of 16"):
        pipeline.step(np.zeros((1, 64, 90, 3), np.uint8), "first")
    pipeline.step(np.zeros((1, 64, 96, 3), np.uint8), "first")
    for kind in ("keyframe", "propagated"):
        with pytest.raises(StateError, match="another size: got an image of 64x96 px, expected 96x64 px"):
            pipeline.step(np.zeros((1, 96, 64, 3), np.uint8), kind)  # type: ignore[arg-type]
    pipeline.step(np.zeros((1, 64, 96, 3), np.uint8), "propagated")


@pytest.mark.slow
@pytest.mark.parametrize(
    "preset",
    [
        tiny_variants()["per-frame"],
        tiny_variants()["paper"],
        tiny_variants()["recursion"],
        *(
            varied(get_preset("lsts-tiny"), {"alignment": name})
            for name in ("match-trans", "non-local", "copy", "none")
        ),
        get_preset("lsts-lite").resized(96, 160),
        varied(get_preset("lsts-tiny"), {"light_scale": 0.5}),
        varied(get_preset("lsts-r101").resized(64, 96), {"deformable": True, "light_scale": 0.5}),
    ],
    ids=lambda preset: f"{preset.name}-{preset.form}-{preset.alignment}-{preset.light_scale}",
)
def test_every_network_whose_graphs_hold_no_size(preset: ModelPreset) -> None:
    open_size = preset.by_shorter_side()
    draft = export_model(random_network(open_size, 0), WEIGHTS)
    height, width = open_size.input.image_px
    for size in ((height, width), (width, height - open_size.input.multiple_px)):
        for engine in ENGINES:
            truth = TorchReference(random_network(open_size, 0), clip_images(4, *size), 2)
            check_parity(verify_bundle(draft, truth, EngineOptions(engine)))


@pytest.mark.parametrize(
    ("preset", "forms", "part"),
    [
        (PRESET, ("taps", "gridsample"), "form gridsample"),
        (varied(PRESET, {"alignment": "flow-warp-net"}), ("taps",), "flow-warp-net"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_parts_of_one_size_are_refused(preset: ModelPreset, forms: tuple[str, ...], part: str) -> None:
    from lsts_edge.model.build import bare_network

    with pytest.raises(ExportError, match=part):
        export_model(bare_network(preset), WEIGHTS, forms=forms)


def test_what_needs_one_size_is_refused_before_the_export(bundle: Bundle, tmp_path: Path) -> None:
    network = random_network(PRESET, 0)
    more: list[dict[str, Any]] = [{"precision": bundle}, {"film": FilmPlan.of(("x.mp4",), "CC0")}]
    for options in more:
        with pytest.raises(OptionError, match="size follows the video"):
            publish(network, WEIGHTS, tmp_path / "x", **options)
    assert not (tmp_path / "x").exists()


def test_manifests_that_contradict_themselves(bundle: Bundle) -> None:
    data = json.loads(json.dumps(bundle.manifest.to_dict()))
    for rule in ({"multiple_px": 0}, {"multiple_px": 257}, {"resize": "letterbox"}, {"height_px": 0}):
        with pytest.raises(ManifestError, match="input"):
            Manifest.from_dict({**data, "input": {**data["input"], **rule}})
    older = {key: value for key, value in data["input"].items() if key != "multiple_px"}
    assert Manifest.from_dict({**data, "input": older}).input.multiple_px == 1
    data["graphs"]["heavy"]["inputs"][0]["shape"] = [1, 64, 96, 3]
    with pytest.raises(ManifestError, match="names for height and width"):
        Manifest.from_dict(data)
