"""Accuracy with keyframes in the middle of their intervals: checkpoints and bundles against segments run by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from toy_data import write_toy_data

from lsts_edge.bundle import Bundle
from lsts_edge.cli import main
from lsts_edge.errors import OptionError
from lsts_edge.evaluation.annotations import AnnotationSet, read_annotations
from lsts_edge.evaluation.bundles import read_image, run_bundle
from lsts_edge.evaluation.centred_order import centred_order
from lsts_edge.evaluation.keyframe_distance import schedule_distances
from lsts_edge.presets import FIVE_GROUPS, get_preset
from lsts_edge.runtime.pipeline import Pipeline
from lsts_edge.variants import varied

SEGMENTS = [(2, [0, 1, 3, 4]), (6, [5])]
"""Of seven frames, interval 5, written down by hand: the keyframe, and those that build on it."""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences of seven frames; the second one loses its last two."""
    path = write_toy_data(tmp_path_factory.mktemp("toy"), frames=7)
    data = json.loads(path.read_text(encoding="utf-8"))
    data["images"] = [image for image in data["images"] if image["id"] < 13]
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def truth(toy: Path) -> AnnotationSet:
    return read_annotations(toy, FIVE_GROUPS)


def test_order_and_distance_by_hand(truth: AnnotationSet) -> None:
    assert centred_order(7, 5) == [2, 0, 1, 3, 4, 6, 5]
    assert centred_order(4, 4) == [2, 0, 1, 3]
    assert centred_order(3, 1) == [0, 1, 2]
    found = schedule_distances(truth, 5, centred=True)
    assert list(found.values()).count(0) == 3 and len(found) == 12
    assert [found[number] for number in range(1, 13)] == [2, 1, 0, 1, 2, 1, 0, 2, 1, 0, 1, 2]


@pytest.mark.parametrize("choices", [{}, {"recurrent": True}, {"alignment": "none"}], ids=str)
@pytest.mark.parametrize("batch", [1, 4])
def test_checkpoint_equals_segments_by_hand(truth: AnnotationSet, choices: dict[str, object], batch: int) -> None:
    torch = pytest.importorskip("torch")
    from lsts_edge.model import random_network
    from lsts_edge.model.network import Normalize
    from lsts_edge.train.inference import run_checkpoint

    preset = varied(get_preset("lsts-tiny"), choices)
    found = run_checkpoint(random_network(preset, 5), truth, keyframe_interval=5, centred=True, batch=batch)
    network, normalize = random_network(preset, 5), Normalize(preset.input)
    compared = 0
    for records in truth.sequences().values():
        images = [normalize(torch.from_numpy(read_image(record))[None]) for record in records]
        memory = None
        for centre, others in SEGMENTS if len(records) == 7 else SEGMENTS[:1]:
            feature = network.heavy(images[centre])
            slots = {"task": feature, "memory": feature}
            if memory is not None:
                slots = network.update(images[centre], feature, memory)
            memory, tasks = slots["memory"], {centre: slots["task"]}
            remembered = network.remember(slots["task"], images[centre])
            for other in others:  # each on the keyframe alone
                high = network.light(images[other])
                tasks[other] = network.propagate(images[other], slots["task"], remembered, high)["task"]
            for index, task in tasks.items():
                boxes, scores, _ = (value.detach().numpy() for value in network.detect(task))
                np.testing.assert_allclose(found[records[index].image_id].scores, scores, atol=1e-5)
                expected = boxes + np.array([0, 0, 1, 1])
                np.testing.assert_allclose(found[records[index].image_id].xyxy_px, expected, atol=1e-2)
                compared += len(scores)
    assert compared > 20


def test_bundle_equals_segments_by_hand(hand_made_bundle: Path, truth: AnnotationSet) -> None:
    pytest.importorskip("onnxruntime")
    bundle = Bundle.open(hand_made_bundle)
    found = run_bundle(bundle, truth, keyframe_interval=5, centred=True)
    assert found.keys() == {record.image_id for record in truth.images}
    online = run_bundle(bundle, truth, keyframe_interval=5)
    assert any(not np.array_equal(found[key].xyxy_px, online[key].xyxy_px) for key in found), "another schedule"
    for records in truth.sequences().values():
        pipeline = Pipeline(bundle)
        for centre, others in SEGMENTS if len(records) == 7 else SEGMENTS[:1]:
            kinds = {centre: "keyframe" if pipeline.has_memory else "first"} | dict.fromkeys(others, "propagated")
            for index, kind in kinds.items():
                slots = pipeline.step(read_image(records[index])[None], kind, remember=index == centre)  # type: ignore[arg-type]
                edges = slots["boxes"] + np.float32([0, 0, 1, 1])
                assert np.array_equal(edges, found[records[index].image_id].xyxy_px)


def test_what_has_no_segments_is_refused(hand_made_bundle: Path, truth: AnnotationSet) -> None:
    for interval in (None, 2.5):
        with pytest.raises(OptionError, match="whole keyframe interval"):
            run_bundle(Bundle.open(hand_made_bundle), truth, keyframe_interval=interval, centred=True)


def evaluate(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["evaluate", *map(str, words)])
    told = capsys.readouterr()
    assert isinstance(left.value.code, int)
    return left.value.code, told.out, told.err


def test_the_command(hand_made_bundle: Path, toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pycocotools")
    words = ("--schedule", "centred", "--per-frame", "--keyframe-interval", 5, "--metric", "distance")
    page = tmp_path / "x.md"
    code, out, err = evaluate(capsys, hand_made_bundle, toy, *words, "--output", page, "--json")
    assert code == 0, err
    per_frame, centred = json.loads(out)
    assert (per_frame["centred"], per_frame["keyframe_interval"]) == (False, None)
    assert (centred["centred"], centred["keyframe_interval"]) == (True, 5)
    assert list(centred["video"]["ap50_by_distance"]) == ["0", "1", "2"]
    assert "keyframe interval 5, centred" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--per-frame",), "schedule centred"),
        (("--keyframe-interval", "5", "--latency-ms", "40,12"), "streaming AP"),
    ],
)
def test_the_command_refuses(
    words: tuple[str, ...],
    problem: str,
    hand_made_bundle: Path,
    toy: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, _, err = evaluate(capsys, hand_made_bundle, toy, "--schedule", "centred", *words)
    assert code == 2 and err.startswith(f"error[option]: {problem}")


def test_the_command_on_checkpoints_and_files(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("pycocotools")
    from lsts_edge.model import random_network
    from lsts_edge.model.checkpoint import save_checkpoint

    about = {"licence": "CC0", "description": "test"}
    save_checkpoint(random_network(get_preset("lsts-tiny"), 5), tmp_path / "a.safetensors", about)
    code, out, _ = evaluate(capsys, tmp_path / "a.safetensors", toy, "--schedule", "centred")
    assert code == 0 and "interval 10, centred" in out, out
    detections = tmp_path / "found.json"
    detections.write_text('[{"image_id": 1, "category_id": 3, "bbox": [6, 8, 34, 26], "score": 0.9}]')
    words = ("--schedule", "centred", "--metric", "distance")
    code, _, err = evaluate(capsys, detections, toy, *words)
    assert code == 2 and err.startswith("error[option]: schedule centred")
    code, out, _ = evaluate(capsys, detections, toy, *words, "--keyframe-interval", 5, "--json")
    assert code == 0 and list(json.loads(out)["video"]["ap50_by_distance"]) == ["0", "1", "2"]
