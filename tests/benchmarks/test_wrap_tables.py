"""Committed results of wrapped detectors: flat rows without paths, tables that say who wins, one machine a table."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from lsts_edge.benchmarks.wrap_result import WrapResult, is_wrap_result, read_wrap_result
from lsts_edge.benchmarks.wrap_tables import WRAP_BEGIN, WRAP_END, study_block, update_documents, wrap_block
from lsts_edge.errors import BenchmarkDevice, BenchmarkResult
from lsts_edge.publish.wrap.study import (
    Agreed,
    Ap50,
    ClipUsed,
    DetectorUsed,
    LeftOut,
    MachineUsed,
    Sample,
    Study,
    StudyRow,
    TimeMs,
    TruthUsed,
)


def _row(way: str, interval: int, mean_ms: float, agreement: float, *, chosen: bool = False) -> StudyRow:
    agreed = Agreed(agreement, agreement - 0.05, min(1.0, agreement + 0.05), agreement, agreement, agreement)
    return StudyRow(
        way=way,  # type: ignore[arg-type]
        keyframe_interval=interval,
        width_px=64,
        height_px=32,
        small_width_px=None,
        small_height_px=None,
        engine="onnxruntime",
        precision="fp32",
        time_ms=TimeMs(mean_ms, mean_ms, mean_ms, 300),
        keyframe_ms=8.0,
        propagated_ms=None,
        cost=mean_ms / 8.0,
        speedup=8.0 / mean_ms,
        agreement=agreed,
        by_distance=(),
        new_object_recall=None,
        misplaced_per_frame=None,
        false_per_frame=None,
        ap50=Ap50(0.6, 0.5, 0.7),
        half="state",
        choosing_agreement=agreement,
        chosen=chosen,
        on_front=chosen,
    )


def _study(name: str, moved: float = 0.9, held: float = 0.7, key: str = "abc") -> Study:
    return Study(
        name=name,
        detector=DetectorUsed(f"{name}.onnx", "0" * 64, "yolox", (), ("cat",), 64, 32, "free"),
        truth=TruthUsed(0.4, 0.3, 0.5, "given", "0.4, as given"),
        machine=MachineUsed("two cores", key, {"numpy": "2"}),
        clips=(ClipUsed("a.mp4", "0" * 64, 64, 32, 100, 2, 100, "state"),),
        left_out=(LeftOut("b.mp4", "cannot open /home/somebody/clips/b.mp4"),),
        sample=Sample("clip", 50, 50, 40, 36, 1.0, "100 of 100 frames"),
        min_agreement=0.85,
        budget_ms=None,
        verdict="Run flow-boxes.",
        command="lsts-edge run /home/somebody/bundle VIDEO",
        met=True,
        rows=(
            _row("every-frame", 1, 8.0, 1.0),
            _row("hold", 3, 2.7, held),
            _row("hold", 2, 4.1, 0.99),
            _row("flow-boxes", 3, 3.6, moved, chosen=True),
        ),
        bundle_digest="1" * 64,
    )


def test_a_result_is_read_back_and_tells_nothing_of_folders(tmp_path: Path) -> None:
    path = tmp_path / "wrap-net.json"
    path.write_text(WrapResult.of(_study("net")).to_json())
    assert is_wrap_result(path) and not is_wrap_result(tmp_path / "latency-net.json")
    assert read_wrap_result(path) == WrapResult.of(_study("net"))
    assert "/home" not in path.read_text()
    for row in json.loads(path.read_text())["rows"]:
        assert row["truth_score"] == 0.4 and row["bundle_digest"] == "1" * 64
        assert {"agreement", "speedup"} <= set(row)


@pytest.mark.parametrize("change", [{"chosen": False}, {"agreement": "none"}, {"speedup": None}])
def test_rows_that_are_not_whole_are_refused(change: dict[str, object], tmp_path: Path) -> None:
    plain = json.loads(WrapResult.of(_study("net")).to_json())
    row = plain["rows"][-1]
    if change == {"chosen": False}:
        row.update(change)
    else:
        del row[next(iter(change))]
    path = tmp_path / "wrap-net.json"
    path.write_text(json.dumps(plain))
    with pytest.raises(BenchmarkResult):
        read_wrap_result(path)
    with pytest.raises(BenchmarkResult):
        read_wrap_result(tmp_path / "wrap-none.json")


def test_the_verdict_names_a_simple_rival_that_is_as_good() -> None:
    wins, loses = WrapResult.of(_study("wins")), WrapResult.of(_study("loses", moved=0.69))
    lines = {line.split("`")[1]: line for line in wrap_block([wins, loses]).splitlines() if line.startswith("| `")}
    assert "0.900 [0.850, 0.950]" in lines["wins.onnx"] and "keeps 0.85" in lines["wins.onnx"]
    assert "hold 3, 64x32: 0.700" in lines["wins.onnx"]  # hold at 2 is dearer
    assert "rival is as good" not in lines["wins.onnx"]
    assert "does not keep 0.85; a simple rival is as good" in lines["loses.onnx"]
    assert "**flow-boxes 3, 64x32**" in study_block([wins]) and "hold 3, 64x32" in study_block([wins])


def test_two_machines_never_share_a_table() -> None:
    with pytest.raises(BenchmarkDevice):
        wrap_block([WrapResult.of(_study("a")), WrapResult.of(_study("b", key="other"))])


def test_documents_are_written_from_studies(tmp_path: Path) -> None:
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "docs/what-pays.md"):
        (tmp_path / name).write_text(f"before\n{WRAP_BEGIN}\n{WRAP_END}\nafter\n")
    update_documents(tmp_path)
    assert "No detector's study" in (tmp_path / "README.md").read_text()
    study = tmp_path / "net.study.json"
    study.write_bytes(dataclasses.replace(_study("net")).to_json())
    written = update_documents(tmp_path, [study])
    assert [path.name for path in written] == ["wrap-net.json", "README.md", "what-pays.md"]
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "| `net.onnx` |" in text
