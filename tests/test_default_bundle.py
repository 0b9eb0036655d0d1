"""The bundle inside the package: small, of the committed detector, credited, and run where nobody names a bundle."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, Run

from lsts_edge.bundle import Bundle, directory
from lsts_edge.default_bundle import DEFAULT_NOTICE, default_bundle
from lsts_edge.errors import BundleError
from lsts_edge.publish.filming import FILM_NOTE
from lsts_edge.runtime import Detector
from lsts_edge.verify.compare import check_parity, verify_bundle
from lsts_edge.verify.golden import GOLDEN_FILE
from lsts_edge.verify.references import RecordedReference

MAX_GRAPH_MB = 6  # it is in every wheel
ORIGINAL = ROOT / "examples" / "detectors" / "picodet_s_416_coco.onnx"
CLIP = ROOT / "examples" / "clips" / "bottle-detection.mp4"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open(default_bundle())


def test_it_is_made_of_the_committed_detector(bundle: Bundle) -> None:
    wrapped = bundle.manifest.wrapped
    assert wrapped is not None
    assert wrapped.sha256 == hashlib.sha256(ORIGINAL.read_bytes()).hexdigest()
    size = bundle.manifest.input
    assert size.width_px <= 448 and size.height_px <= 256  # the most that is looked at; a smaller input may pay
    assert len(bundle.manifest.classes) == 80


def test_its_graphs_are_small(bundle: Bundle) -> None:
    graphs = [info.bytes for name, info in bundle.manifest.files.items() if name.endswith((".onnx", ".xml", ".bin"))]
    assert graphs and sum(graphs) <= MAX_GRAPH_MB * 1e6


def test_it_gives_here_what_the_file_gave_when_it_was_made(bundle: Bundle) -> None:
    """Its recording is of the original file's outputs, on drawn frames: no footage is in the wheel."""
    assert bundle.manifest.parity is not None and bundle.manifest.parity.reference == "original"
    check_parity(verify_bundle(bundle, RecordedReference(bundle)))
    assert GOLDEN_FILE in bundle.manifest.files and FILM_NOTE not in bundle.manifest.files


def test_it_was_chosen_by_a_study_that_it_carries(bundle: Bundle) -> None:
    study = bundle.manifest.study
    assert study is not None
    (row,) = [row for row in study.rows if row["chosen"]]
    assert row["way"] == bundle.manifest.propagation.default
    assert row["keyframe_interval"] == bundle.manifest.keyframe_interval
    assert isinstance(row["speedup"], float) and row["speedup"] > 1


def test_its_notice_says_whose_it_is_and_what_was_changed(bundle: Bundle) -> None:
    notice = DEFAULT_NOTICE.read_text(encoding="utf-8")
    for told in (
        "PP-PicoDet-S",
        "Guanghua Yu",
        "https://github.com/PaddlePaddle/PaddleDetection",
        "https://github.com/hpc203/picodet-onnxruntime",
        "dfe4d6cd0a18cd4126ee381e81df8a0b1e6ad97b",
        "Apache License, Version 2.0",
        "COCO train2017",
        "ImageNet",
        "Changed by",
        hashlib.sha256(ORIGINAL.read_bytes()).hexdigest(),
    ):
        assert told in notice
    assert "Apache License" in (DEFAULT_NOTICE.parent / "LICENSE").read_text(encoding="utf-8")
    assert "Apache-2.0" in bundle.manifest.weights.licence


def test_it_finds_the_bottles_and_mostly_by_moving_them() -> None:
    with Detector() as detector:
        found = [detections for _, detections in detector.run(CLIP)]
    assert len(found) == 179
    assert sum("bottle" in one.label_names for one in found) >= 170
    assert sum(one.kind == "propagated" for one in found) > 60


def test_the_command_without_a_bundle_says_what_it_runs(lsts_edge_command: Run, tmp_path: Path) -> None:
    done = lsts_edge_command("run", CLIP, "--max-frames", "4", "--output-json", tmp_path / "out.jsonl", "--json")
    assert done.returncode == 0, done.stderr
    assert "which comes with lsts-edge" in done.stderr and "Apache-2.0" in done.stderr
    told = json.loads(done.stdout)
    assert told["bundle_digest"] == Bundle.open(default_bundle()).digest
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == told["frames"] == 4


def test_a_bundle_alone_and_a_word_too_many_are_refused(lsts_edge_command: Run) -> None:
    alone = lsts_edge_command("run", default_bundle())
    assert alone.returncode == 2 and "SOURCE is missing" in alone.stderr
    three = lsts_edge_command("run", default_bundle(), CLIP, CLIP)
    assert three.returncode == 2 and "expected [BUNDLE] SOURCE" in three.stderr


def test_an_installer_may_link_its_files_and_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As uv installs: every file a hard link into a cache."""
    linked = tmp_path / "linked"
    shutil.copytree(default_bundle(), tmp_path / "cached")
    shutil.copytree(tmp_path / "cached", linked, copy_function=os.link)
    with pytest.raises(BundleError, match="several hard links"):
        Bundle.open(linked)
    monkeypatch.setattr(directory, "default_bundle", lambda: linked.resolve())
    assert len(Bundle.open(linked).manifest.classes) == 80
