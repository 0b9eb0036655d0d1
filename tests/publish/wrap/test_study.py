"""A study is read back as it was written, and refused where it is none."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from lsts_edge.bundle.provenance import StudyInfo
from lsts_edge.errors import BundleError, OptionError
from lsts_edge.publish.wrap.study import (
    Agreed,
    AtDistance,
    ClipUsed,
    DetectorUsed,
    DrawnBox,
    LeftOut,
    MachineUsed,
    Sample,
    Study,
    StudyRow,
    TimeMs,
    TruthUsed,
    WorstFrame,
)

AGREED = Agreed(0.875, 0.81, 0.92, 0.8, 0.85, 0.9)
EVERY = StudyRow(
    way="every-frame",
    keyframe_interval=1,
    width_px=128,
    height_px=64,
    small_width_px=None,
    small_height_px=None,
    engine="onnxruntime",
    precision="fp32",
    time_ms=TimeMs(4.0, 3.9, 5.0, 300),
    keyframe_ms=3.9,
    propagated_ms=None,
    cost=1.0,
    speedup=1.0,
    agreement=Agreed(1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    by_distance=(AtDistance(0, 1.0),),
    new_object_recall=None,
    misplaced_per_frame=None,
    false_per_frame=None,
    ap50=None,
    half="state",
    choosing_agreement=1.0,
    on_front=True,
)
MOVED = dataclasses.replace(
    EVERY,
    way="flow-boxes",
    keyframe_interval=3,
    time_ms=TimeMs(2.0, 1.0, 4.5, 300),
    propagated_ms=1.0,
    cost=0.5,
    speedup=2.0,
    agreement=AGREED,
    by_distance=(AtDistance(0, 1.0), AtDistance(1, 0.9), AtDistance(2, None)),
    new_object_recall=0.25,
    misplaced_per_frame=0.5,
    false_per_frame=0.125,
    chosen=True,
    reason="the cheapest that keeps 0.85",
)
STUDY = Study(
    name="toy",
    detector=DetectorUsed("toy.onnx", "0" * 64, "yolox", ("resize: letterbox",), ("person", "car"), 128, 64, "free"),
    truth=TruthUsed(0.3, 0.2, 0.4, "given", "0.3, as given"),
    machine=MachineUsed("a processor, 2 cores", "0123456789ab", {"numpy": "2.0"}, 1),
    clips=(ClipUsed("a.mp4", "1" * 64, 320, 240, 100, 2, 90, "state"),),
    left_out=(LeftOut("b.mp4", "no frame"),),
    sample=Sample("clip", 90, 80, 500, 300, 1.5, "170 frames of 3 shots"),
    min_agreement=0.85,
    budget_ms=None,
    verdict="Run flow-boxes.",
    command="lsts-edge run toy clip.mp4",
    met=True,
    rows=(EVERY, MOVED),
    worst=(WorstFrame("a.mp4", "clips/a.mp4", 7, 2, 1, 0, (DrawnBox(1, 2, 3.5, 4, 0.5, "car"),), ()),),
    notes=("int8 was not kept",),
    bundle_digest="2" * 64,
)


def test_it_is_read_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_bytes(STUDY.to_json())
    assert Study.read(path) == STUDY
    assert Study.read(path).chosen == MOVED
    assert STUDY.every_frame(MOVED) is EVERY


def test_its_rows_fit_a_manifest_and_committed_results() -> None:
    info = StudyInfo("measured", tuple(row.cells() for row in STUDY.rows))
    assert len(info.rows) == 2
    row = list(STUDY.result_rows())[1]
    assert (row["agreement"], row["truth_score"], row["speedup"]) == (0.875, 0.3, 2.0)
    assert row["bundle_digest"] == "2" * 64


def test_what_is_no_study_is_refused(tmp_path: Path) -> None:
    plain = json.loads(STUDY.to_json())
    with pytest.raises(BundleError, match="unheard"):
        Study.from_json(json.dumps({**plain, "unheard": 1}).encode())
    with pytest.raises(BundleError):
        Study.from_json(json.dumps({**plain, "rows": []}).encode())
    with pytest.raises(BundleError):
        Study.read(tmp_path / "nothing.json")
    with pytest.raises(OptionError):
        dataclasses.replace(STUDY, rows=(MOVED, MOVED))
