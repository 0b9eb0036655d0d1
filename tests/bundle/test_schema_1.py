"""A bundle that schema 1 wrote stays readable, runnable and verifiable: the fixture was made by the code of then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ROOT

from lsts_edge.bundle import Bundle, write_bundle
from lsts_edge.bundle.manifest import SCHEMA_VERSION, Manifest
from lsts_edge.clips import moving_clip
from lsts_edge.errors import ManifestError
from lsts_edge.runtime import Detector
from lsts_edge.verify.compare import check_parity, verify_bundle
from lsts_edge.verify.references import RecordedReference

PATH = ROOT / "tests" / "data" / "bundle_schema_1"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open(PATH)


def _data() -> dict[str, object]:
    data = json.loads((PATH / "manifest.json").read_bytes())
    del data["manifest_sha256"]
    return data


def test_it_is_of_schema_1_and_states_what_the_preset_implied(bundle: Bundle) -> None:
    assert _data()["schema"] == 1 and "propagation" not in _data()
    manifest = bundle.manifest
    assert manifest.schema == SCHEMA_VERSION
    assert (manifest.detection.nms_iou, manifest.detection.corners) == (0.3, "inclusive")
    assert (manifest.features, manifest.propagation.default, manifest.keyframe_interval) == (("task",), "features", 10)
    assert manifest.preset is not None and manifest.preset.name == "lsts-tiny"


def test_it_runs(bundle: Bundle) -> None:
    size = bundle.manifest.input
    with Detector(bundle, score_threshold=0.0, keyframe_interval=3) as detector:
        found = [detector.push(frame) for frame in moving_clip(5, size.height_px, size.width_px, 0)]
    assert [result.kind for result in found] == ["first", "propagated", "propagated", "keyframe", "propagated"]
    assert all(len(result.scores) for result in found)


def test_it_gives_here_what_was_recorded_then(bundle: Bundle) -> None:
    report = verify_bundle(bundle, RecordedReference(bundle), forms=("taps",))
    check_parity(report)
    assert report.programs[0].totals.frames == 12


def test_written_again_it_is_of_the_new_schema_with_the_same_graphs(bundle: Bundle, tmp_path: Path) -> None:
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    again = write_bundle(tmp_path / "bundle", bundle.manifest, files)
    written = json.loads((again.path / "manifest.json").read_bytes())
    assert written["schema"] == 2 and again.manifest == bundle.manifest and again.digest != bundle.digest
    assert all((again.path / name).read_bytes() == content for name, content in files.items())


def test_a_per_frame_bundle_detects_on_every_frame() -> None:
    data = _data()
    programs = {"first": [step for step in data["programs"]["first"] if step["graph"] in ("heavy", "head")]}
    data |= {"programs": programs, "state": [], "keyframes": {"interval": 7}}
    manifest = Manifest.from_dict(data)
    assert (manifest.propagation.default, manifest.keyframe_interval, manifest.features) == ("every-frame", 1, ())


@pytest.mark.parametrize(
    "change",
    [
        {"features": ["task"]},
        {"propagation": {"default": "hold", "ways": {}}},
        {"preset": None},
        {"keyframes": {"interval": 0}},
        {"keyframes": {"interval": 7, "adaptive": True}},
        {"keyframes": []},
        {"detection": {"score_floor": 0.1, "max_detections": 20, "nms_iou": 0.3}},
        {"state": "task"},
        {"programs": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_schema_1_never_had_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ManifestError):
        Manifest.from_dict(_data() | change)
