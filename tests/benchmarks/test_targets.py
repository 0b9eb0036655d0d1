"""Targets are held against results: a met one, a missed one, and one that nothing tells about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from made_results import (
    CONDITIONS,
    ORIGIN,
    bundle_facts,
    compare_result,
    compare_row,
    entry_accuracy,
    latency_result,
    part_times,
)

from lsts_edge.benchmarks.compare_result import Bound
from lsts_edge.benchmarks.encoded_clip import encode_clip, parse_size
from lsts_edge.benchmarks.envelope import Precision, Result
from lsts_edge.benchmarks.frame_times import FrameTime
from lsts_edge.benchmarks.harness import paired_ratio, summarize_rate
from lsts_edge.benchmarks.latency_result import LatencyResult
from lsts_edge.benchmarks.op_result import Floor, LibraryFacts, OpData, OpResult, OpSettings, OpSizeSummary, OpTarget
from lsts_edge.benchmarks.read_ahead import ReadAheadTimes
from lsts_edge.benchmarks.readme import TABLES_BEGIN, TABLES_END, _verdicts, update_document
from lsts_edge.benchmarks.targets import TARGETS_BEGIN, TARGETS_END, check_targets, targets_block
from lsts_edge.benchmarks.timed_clip import ClipFacts
from lsts_edge.cli import command_line
from lsts_edge.errors import BenchmarkResult, OptionError
from lsts_edge.runtime import open_source

INT8, BF16 = Precision(("int8",)), Precision(engine="bf16")
INT8_BF16 = Precision(("int8",), "bf16")


def latency(fps: float, frame_px: tuple[int, int], written: bool = False) -> LatencyResult:
    """Every frame alike, with 2 ms outside the model."""
    frames = [FrameTime(0, "keyframe", 1e3 / fps, 1e3 / fps - 2)]
    bundle = bundle_facts("lsts-lite", digest="d", heavy="int8", head="fp32")
    clip = ClipFacts("clip.mp4", None, True, frame_px)
    return latency_result(frames, bundle, total_ms=1000.0, rss_mib=400.0, clip=clip, write_video=written)


def verdicts(*results: Result) -> dict[str, str]:
    return {row.what: row.verdict for row in check_targets(results)}


def test_what_no_result_tells_is_said() -> None:
    assert set(verdicts().values()) == {"not measured"}
    with pytest.raises(BenchmarkResult, match="no result that tells"):
        targets_block([])


def test_paper_size() -> None:
    bound = Bound(schedule=2.5, outside_light_share=0.2, heavy_p50_ms=4.0, light_p50_ms=1.0)
    found = verdicts(compare_result("lsts-r101", compare_row("lsts", 5.0, bound=bound), compare_row("lsts", 6.0)))
    told = [verdict for what, verdict in found.items() if what.startswith("lsts-r101, ONNX")]
    assert told == ["missed: 50 % of it", "missed: 96 % of it", "met"]


def test_best_precision_takes_the_fastest_entry_that_the_gate_saw() -> None:
    rows = (compare_row("lsts", 3.0, INT8), compare_row("lsts", 2.0), compare_row("lsts", 1.0, INT8_BF16))
    found = check_targets([compare_result("lsts-lite", *rows)])
    row = next(row for row in found if row.what.startswith("lsts-lite: best"))
    assert row.verdict == "met"
    assert row.measured == "9.60 x = 2.40 x schedule, 4.00 x precision and engine"
    assert row.detail == "lsts, onnxruntime int8"


def test_end_to_end_and_runtime() -> None:
    accurate = compare_row("lsts", 9.0, bundle="d", accuracy=entry_accuracy(0.5, 10))
    at_5 = compare_row("lsts", 8.0, bundle="d", accuracy=entry_accuracy(0.6, 5))
    rows = check_targets(
        [
            latency(66.0, (360, 640)),
            latency(15.0, (360, 640), written=True),
            compare_result("lsts-lite", accurate, at_5),
        ]
    )
    found = {row.what: row for row in rows}
    plain = found["lsts-lite end to end, 640x360, no video written"]
    assert plain.verdict == "met" and plain.measured == "66.0 fps" and plain.detail == "onnxruntime int8, AP50 0.500"
    assert found["lsts-lite end to end, 640x360, H.264 written"].verdict == "missed: 50 % of it"
    assert found["lsts-lite end to end, 1280x720, no video written"].verdict == "not measured"
    assert found["lsts-lite: runtime outside sessions, 640x360"].verdict == "missed: 50 % of it"
    assert found["lsts-lite: import, load, first boxes"].verdict == "met"
    assert found["lsts-lite: resident memory"].verdict == "missed: 72 % of it"


def test_the_default_bundle_in_turn_and_with_decoding_beside_detection() -> None:
    def default(fps: float, beside_fps: float | None) -> LatencyResult:
        result = latency(fps, (360, 640))
        rates = [summarize_rate([1e3 / rate]) for rate in (fps, beside_fps or fps)]
        ahead = ReadAheadTimes(4, 120, rates[0], rates[1], paired_ratio([1e3 / fps], [1e3 / (beside_fps or fps)]))
        bundle = replace(result.bundle, name="picodet-s-coco")
        return replace(result, bundle=bundle, data=replace(result.data, read_ahead=ahead if beside_fps else None))

    def told(*results: Result) -> list[tuple[str, str]]:
        rows = [row for row in check_targets(results) if row.what.startswith("default bundle end to end, 640x360")]
        return [(row.measured, row.verdict) for row in rows]

    assert told(default(150.0, None)) == [("150 fps", "missed: 75 % of it"), ("-", "not measured")]
    assert told(default(150.0, 300.0), default(220.0, 200.0)) == [("220 fps", "met"), ("300 fps", "met")]


@pytest.mark.parametrize(
    ("ms", "ap", "time", "verdict"),
    [
        (5.0, 0.6, "50 % less", "met"),
        (12.0, 0.6, "20 % more", "missed: 83 % of it"),
        (5.0, 0.4, "50 % less", "missed: 80 % of it"),
    ],
)
def test_the_peer_is_beaten_in_both_or_not_at_all(ms: float, ap: float, time: str, verdict: str) -> None:
    ours = compare_row("lsts", ms, accuracy=entry_accuracy(ap, 5, vehicle=0.75, bird=None))
    theirs = compare_row("yolox-nano", 10.0, accuracy=entry_accuracy(0.5, 1, vehicle=0.5, bird=0.9))
    (row,) = (row for row in check_targets([compare_result("lsts-lite", ours, theirs)]) if "YOLOX" in row.what)
    assert row.verdict == verdict
    assert row.measured == f"{time} time, {ap:.3f} against 0.500"
    assert row.detail == "lsts, onnxruntime fp32, interval 5; vehicle 0.75 against 0.50"


def test_the_peer_is_met_by_paired_segments_of_one_run_and_one_precision() -> None:
    """Means over a run, other runs and the peer in another precision say nothing about the pair."""
    slow = compare_row("yolox-nano", 10.0, accuracy=entry_accuracy(0.5, 1))
    slow = replace(slow, frame_to_boxes=part_times(1000.0, fastest_fp32=6.0))
    fast = compare_row("yolox-nano", 1.0, BF16, accuracy=entry_accuracy(0.5, 1))
    ours = [
        compare_row("lsts", 12.0, accuracy=entry_accuracy(0.6, 3)),
        compare_row("lsts", 2.0, INT8_BF16, accuracy=entry_accuracy(0.6, 3)),
    ]
    elsewhere = compare_result("lsts-lite", compare_row("lsts", 1.0, accuracy=entry_accuracy(0.6, 3)))
    found = verdicts(compare_result("lsts-lite", slow, fast, *ours), elsewhere)
    assert {what.split(", ")[-1]: verdict for what, verdict in found.items() if "YOLOX" in what} == {
        "onnxruntime": "missed: 83 % of it",
        "onnxruntime in bf16": "missed: 50 % of it",
    }


def test_the_op_is_held_to_each_target_at_its_worst_size() -> None:
    def size(taps: float, floor: float) -> OpSizeSummary:
        targets = {"taps_onnxruntime": OpTarget(5.0, taps, taps >= 5), "floor": OpTarget(3.0, floor, floor <= 3)}
        least = Floor(1, 1, 1, 1, None, None, 1.0, 1.0, 1.0, None)
        return OpSizeSummary(40, 256, 1024, 38, 63, taps=30, floor=least, targets=targets)

    library = LibraryFacts("0.1.0", 1, 17, 1, ("avx2",), None)
    settings = OpSettings(2, 31, 5, 3, 0, "float32", library)
    data = OpData((), {"r101": size(20.0, 6.0), "lite": size(14.0, 2.0)})
    result = OpResult(origin=ORIGIN, conditions=CONDITIONS, settings=settings, data=data)
    found = {row.what: (row.measured, row.verdict) for row in check_targets([result])}
    assert found["LSTS op: times faster than the taps graph in ONNX Runtime"][1] == "met"
    floor = found["LSTS op: times the processor's own floor"]
    assert floor == ("6.0 x at r101's size, 2.0 x at lite's size", "missed: 50 % of it")
    assert found["LSTS op: times faster than the fastest other form on any engine"][1] == "not measured"


def test_the_readme_lists_what_is_missed() -> None:
    ours = compare_row("lsts", 12.0, accuracy=entry_accuracy(0.6, 5))
    text = _verdicts(
        [compare_result("lsts-lite", ours, compare_row("yolox-nano", 10.0, accuracy=entry_accuracy(0.5, 1)))]
    )
    assert "1 missed:" in text and "16 not measured" in text
    assert (
        "- lsts-lite against YOLOX-Nano, same input, onnxruntime: 20 % more time, 0.600 against 0.500; wanted faster"
        in text
    )


def test_tables_land_between_their_marks(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    marks = (
        f"{begin}\nyesterday\n{end}\n" for begin, end in ((TARGETS_BEGIN, TARGETS_END), (TABLES_BEGIN, TABLES_END))
    )
    document.write_text(f"before\n{'MIDDLE'.join(marks)}after\n")
    results = [latency(66.0, (360, 640)), compare_result("lsts-lite", compare_row("lsts", 12.0))]
    update_document(document, results)
    text = document.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "yesterday" not in text
    assert "| target | wanted | measured | verdict |" in text.partition("MIDDLE")[0]
    assert "| end to end | clip |" in text.partition("MIDDLE")[2] and "| lsts |" in text.partition("MIDDLE")[2]
    with pytest.raises(BenchmarkResult, match="no comparison"):
        update_document(document, results[:1])
    assert document.read_text() == text


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
