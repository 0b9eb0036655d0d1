"""Accuracy elsewhere: a checkpoint and somebody's detector on the same pictures, as `measure` judges them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from blob_detector import blob_clip, blob_detector

from lsts_edge.benchmarks.elsewhere import Entrant, measure_elsewhere, who_labelled
from lsts_edge.benchmarks.elsewhere_result import ElsewhereResult
from lsts_edge.benchmarks.report import report_markdown
from lsts_edge.benchmarks.results import read_result
from lsts_edge.evaluation.annotations import read_annotations
from lsts_edge.evaluation.coco import measure
from lsts_edge.model import random_network
from lsts_edge.model.checkpoint import load_checkpoint, save_checkpoint
from lsts_edge.presets import FIVE_GROUPS, get_preset
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.train.inference import run_checkpoint
from lsts_edge.train.teach import TaughtClip, TeachOptions, teach_clips
from lsts_edge.train.teachers import Teacher
from videos import write_video


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A detector, the labels that it made of two clips, and an untrained checkpoint."""
    folder = tmp_path_factory.mktemp("elsewhere")
    found = {}
    for name in ("seeing", "blind"):
        found[name] = blob_detector(folder / f"{name}.onnx", blind=name == "blind")
        model = onnx.load(found[name])
        onnx.helper.set_model_props(model, {"names": str(["person", "bird"])})
        onnx.save(model, found[name])
    clips = [TaughtClip(write_video(folder / f"{seed}.mp4", blob_clip(6, seed), gop=1)) for seed in (0, 1)]
    found["truth"] = folder / "labels.json"
    teach_clips(clips, [Teacher(found["seeing"], EngineOptions(threads=1))], found["truth"], TeachOptions(every=3))
    found["checkpoint"] = folder / "tiny.safetensors"
    network = random_network(get_preset("lsts-tiny"), 0)
    save_checkpoint(network, found["checkpoint"], {"licence": "none", "description": "untrained"})
    return found


def test_rows_are_what_measure_says_and_differences_are_theirs(files: dict[str, Path]):
    rows = measure_elsewhere(
        [Entrant(files["checkpoint"])],
        [Entrant(files["seeing"]), Entrant(files["blind"])],
        [files["truth"]],
        FIVE_GROUPS,
        threads=1,
        resamples=20,
    )
    ours, seeing, blind = rows
    truth = read_annotations(files["truth"], FIVE_GROUPS)
    network, info = load_checkpoint(files["checkpoint"])
    found = run_checkpoint(network, truth, keyframe_interval=None, threads=1)
    assert ours.ap50_class_agnostic.value == pytest.approx(measure(truth, found, class_agnostic=True).ap50, abs=1e-4)
    assert ours.sha256 == info.sha256 and ours.images == 4 and ours.sequences == 2
    assert ours.objects == sum(int((~record.ignore).sum()) for record in truth.images) > 0
    # The labels are this detector's own, of frames that were compressed once more since.
    assert seeing.ap50_class_agnostic.value > 0.8 and set(seeing.difference) == {"blind.onnx"}
    assert blind.ap50_class_agnostic.value == 0.0 and blind.ap50_per_class["bird"] == 0.0
    assert blind.ap50_per_class["vehicle"] is None
    gap = ours.difference["seeing.onnx"]
    expected = ours.ap50_class_agnostic.value - seeing.ap50_class_agnostic.value
    assert gap.value == pytest.approx(expected, abs=2e-3) and gap.low <= gap.value <= gap.high


def test_who_labelled(files: dict[str, Path], tmp_path: Path):
    assert who_labelled(files["truth"]) == "boxes of seeing.onnx, fused"
    (tmp_path / "a.json").write_text(json.dumps({"images": []}))
    assert who_labelled(tmp_path / "a.json") == "labels of the file"


def test_command_writes_a_result_that_can_be_read_and_reported(
    lsts_edge_command: Callable, files: dict[str, Path], tmp_path: Path
):
    output = tmp_path / "result.json"
    words = ["bench", "elsewhere", str(files["blind"]), "--annotations", str(files["truth"]), "--threads", "1"]
    done = lsts_edge_command(*words, "--beside", str(files["seeing"]), "--output", str(output))
    assert done.returncode == 0, done.stderr
    result = read_result(output)
    assert isinstance(result, ElsewhereResult) and [row.model for row in result.data.rows] == [
        "blind.onnx",
        "seeing.onnx",
    ]
    text = report_markdown([result])
    assert "## Accuracy elsewhere" in text and "boxes of seeing.onnx, fused" in text and "| blind.onnx |" in text
    assert "blind.onnx" in done.stdout and f"written     {output}" in done.stdout
