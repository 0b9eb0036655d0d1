"""Targets are held against results: a met one, a missed one, and one that nothing tells about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lsts_edge.benchmarks.encoded_clip import encode_clip, parse_size
from lsts_edge.benchmarks.readme import _verdicts, update_targets
from lsts_edge.benchmarks.targets import TARGETS_BEGIN, TARGETS_END, check_targets, targets_block
from lsts_edge.cli import command_line
from lsts_edge.errors import BenchmarkResult, OptionError
from lsts_edge.runtime import open_source

DEVICE = {"cpu_model": "A processor", "logical_cores": 2, "usable_cores": 2, "memory_gib": 8, "gpus": [], "board": None}


def entry(method: str, mean_ms: float, **more: Any) -> dict[str, Any]:
    row = {
        "name": f"{method}, onnxruntime {more.get('precision', 'fp32')}",
        "method": method,
        "engine": "onnxruntime",
        "precision": "fp32",
        "bound": None,
        "model": {
            "all": {"mean_ms": mean_ms},
            "ratio_same_engine": {"median": 2.4},
            "ratio_fastest_fp32": {"median": 9.6},
        },
        "frame_to_boxes": {"all": {"mean_ms": mean_ms}, "ratio_fastest_fp32": {"median": 60.0 / mean_ms}},
    }
    return {**row, **more}


def compare(bundle: str, *rows: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "compare",
        "bundle": {"name": bundle},
        "data": {"rows": list(rows)},
        "device_key": "k",
        "device": DEVICE,
    }


def latency(fps: float, frame_px: tuple[int, int], written: bool = False, digest: str = "d") -> dict[str, Any]:
    return {
        "kind": "latency",
        "bundle": {"name": "lsts-lite", "digest": digest, "precisions": {"heavy": "int8", "head": "fp32"}},
        "settings": {
            "frame_px": list(frame_px),
            "write_video": written,
            "clip_decodes": True,
            "pace_fps": None,
            "backend": "onnxruntime",
            "precision": "fp32",
            "keyframe_interval_used": 10,
        },
        "data": {
            "all": {"end_to_end": {"fps": fps}, "overhead": {"p50_ms": 2.0}},
            "cold_start": {"phases": {"total": {"p50_ms": 1000.0}}, "memory": {"rss_mib": 400.0}},
        },
        "device_key": "k",
        "device": DEVICE,
    }


def verdicts(*results: dict[str, Any]) -> dict[str, str]:
    return {row.what: row.verdict for row in check_targets(results)}


def test_what_no_result_tells_is_said() -> None:
    assert set(verdicts().values()) == {"not measured"}
    with pytest.raises(BenchmarkResult, match="no result that tells"):
        targets_block([])


def test_paper_size() -> None:
    bound = {"schedule": 2.5, "outside_light_share": 0.2, "heavy_p50_ms": 4.0, "light_p50_ms": 1.0}
    found = verdicts(compare("lsts-r101", entry("lsts", 5.0, bound=bound), entry("lsts", 6.0)))
    told = [verdict for what, verdict in found.items() if what.startswith("lsts-r101, ONNX")]
    assert told == ["missed: 50 % of it", "missed: 96 % of it", "met"]


def test_best_precision_takes_the_fastest_entry_that_the_gate_saw() -> None:
    ungated = entry("lsts", 1.0, precision="int8+bf16", model={"all": {"mean_ms": 1.0}})
    found = check_targets([compare("lsts-lite", entry("lsts", 3.0, precision="int8"), entry("lsts", 2.0), ungated)])
    row = next(row for row in found if row.what.startswith("lsts-lite: best"))
    assert row.verdict == "met"
    assert row.measured.startswith("9.60 x = 2.40 x schedule, 4.00 x precision and engine")


def test_end_to_end_and_runtime() -> None:
    accurate = entry("lsts", 9.0, bundle="d", accuracy={"ap50_class_agnostic": 0.5, "keyframe_interval": 10})
    at_5 = entry("lsts", 8.0, bundle="d", accuracy={"ap50_class_agnostic": 0.6, "keyframe_interval": 5})
    rows = check_targets(
        [latency(66.0, (360, 640)), latency(15.0, (360, 640), written=True), compare("lsts-lite", accurate, at_5)]
    )
    found = {row.what: row for row in rows}
    plain = found["lsts-lite end to end, 640x360, no video written"]
    assert plain.verdict == "met" and plain.measured == "66.0 fps (onnxruntime int8, AP50 0.500)"
    assert found["lsts-lite end to end, 640x360, H.264 written"].verdict == "missed: 50 % of it"
    assert found["lsts-lite end to end, 1280x720, no video written"].verdict == "not measured"
    assert found["lsts-lite: runtime outside sessions, 640x360"].verdict == "missed: 50 % of it"
    assert found["lsts-lite: import, load, first boxes"].verdict == "met"
    assert found["lsts-lite: resident memory"].verdict == "missed: 72 % of it"


def measured(ap: float, interval: int, **classes: float | None) -> dict[str, Any]:
    return {"ap50_class_agnostic": ap, "keyframe_interval": interval, "ap50_shared": classes}


@pytest.mark.parametrize(
    ("ms", "ap", "time", "verdict"),
    [
        (5.0, 0.6, "50 % less", "met"),
        (12.0, 0.6, "20 % more", "missed: 83 % of it"),
        (5.0, 0.4, "50 % less", "missed: 80 % of it"),
    ],
)
def test_the_peer_is_beaten_in_both_or_not_at_all(ms: float, ap: float, time: str, verdict: str) -> None:
    ours = entry("lsts", ms, accuracy=measured(ap, 5, vehicle=0.75, bird=None))
    theirs = entry("yolox-nano", 10.0, accuracy=measured(0.5, 1))
    (row,) = (row for row in check_targets([compare("lsts-lite", ours, theirs)]) if "YOLOX" in row.what)
    assert row.verdict == verdict
    assert row.measured.startswith(f"{time} time, {ap:.3f} (vehicle 0.75) against 0.500 (lsts")
    assert "interval 5)" in row.measured


def test_the_peer_is_met_by_paired_segments_of_one_run_and_one_precision() -> None:
    """Means over a run, other runs and the peer in another precision say nothing about the pair."""
    slow = entry("yolox-nano", 10.0, accuracy=measured(0.5, 1))
    slow["frame_to_boxes"]["all"]["mean_ms"] = 1000.0
    fast = entry("yolox-nano", 1.0, precision="bf16", accuracy=measured(0.5, 1))
    ours = [
        entry("lsts", 12.0, accuracy=measured(0.6, 3)),
        entry("lsts", 2.0, precision="int8+bf16", accuracy=measured(0.6, 3)),
    ]
    elsewhere = compare("lsts-lite", entry("lsts", 1.0, accuracy=measured(0.6, 3)))
    found = verdicts(compare("lsts-lite", slow, fast, *ours), elsewhere)
    assert {what.split(", ")[-1]: verdict for what, verdict in found.items() if "YOLOX" in what} == {
        "onnxruntime": "missed: 83 % of it",
        "onnxruntime in bf16": "missed: 50 % of it",
    }


def test_the_op_is_held_to_each_target_at_its_worst_size() -> None:
    def size(taps: float, floor: float) -> dict[str, Any]:
        targets = {"taps_onnxruntime": {"wanted": 5.0, "got": {"median": taps}}, "floor": {"wanted": 3.0, "got": floor}}
        return {"targets": targets}

    found = {
        row.what: (row.measured, row.verdict)
        for row in check_targets(
            [{"kind": "op", "data": {"sizes": {"r101": size(20.0, 6.0), "lite": size(14.0, 2.0)}}}]
        )
    }
    assert found["LSTS op: times faster than the taps graph in ONNX Runtime"][1] == "met"
    floor = found["LSTS op: times the processor's own floor"]
    assert floor == ("6.0 x at r101's size, 2.0 x at lite's size", "missed: 50 % of it")
    assert found["LSTS op: times faster than the fastest other form on any engine"][1] == "not measured"


def test_the_readme_lists_what_is_missed() -> None:
    ours = entry("lsts", 12.0, accuracy=measured(0.6, 5))
    text = _verdicts([compare("lsts-lite", ours, entry("yolox-nano", 10.0, accuracy=measured(0.5, 1)))])
    assert "1 missed:" in text and "14 not measured" in text
    assert (
        "- lsts-lite against YOLOX-Nano, same input, onnxruntime: 20 % more time, 0.600 against 0.500; wanted faster"
        in text
    )


def test_the_table_lands_between_its_marks(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text(f"before\n{TARGETS_BEGIN}\nold\n{TARGETS_END}\nafter\n")
    update_targets(document, [latency(66.0, (360, 640))])
    text = document.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| target | wanted | measured | verdict |" in text


def test_a_clip_of_any_size_is_encoded_and_decodes(tmp_path: Path) -> None:
    with open_source(encode_clip(tmp_path, *parse_size("128x96"))) as source:
        frames = [frame.image.shape for frame in source]
    assert frames == [(96, 128, 3)] * 120


@pytest.mark.parametrize("text", ["640", "641x360", "0x0", "64x9999", "axb"])
def test_a_size_that_is_none(text: str) -> None:
    with pytest.raises(OptionError, match="--clip-size"):
        parse_size(text)


def test_a_size_and_a_video_contradict_each_other(tmp_path: Path) -> None:
    words = ["bench", "latency", str(tmp_path), "clip.mp4", "--clip-size", "640x360"]
    done = CliRunner().invoke(command_line, words)
    assert isinstance(done.exception, OptionError) or "a source too" in done.output
