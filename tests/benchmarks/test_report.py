"""Reports say what the result files say, in one file that needs no other, and never mix devices."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")

from lsts_edge.benchmarks.compare import Entry, RunSettings, SegmentTimes, summarize_entry
from lsts_edge.benchmarks.frame_times import FrameTime, summarize_frames
from lsts_edge.benchmarks.paper import PAPER_ROWS, paper_table
from lsts_edge.benchmarks.readme import BEGIN, END, readme_block, update_readme
from lsts_edge.benchmarks.report import report_html, report_markdown
from lsts_edge.benchmarks.results import new_result, read_result, write_result
from lsts_edge.errors import BenchmarkDevice, BenchmarkResult

BUNDLE = {"name": "lsts-r101", "digest": "ab" * 32, "weights": "random weights", "random_weights": True}
BUNDLE |= {"input_px": [600, 1000], "precisions": {}, "lsts": None}
CONDITIONS = {"busy_by_others": 0.01, "throttle_events": 0, "governor": "performance", "peak_rss_mib": 123.4}
CONDITIONS |= {"cpu_time_s": 1.0, "energy": {"joules": None, "source": None, "reason": "no meter"}}


class Contestant:
    """Enough of a contestant for ``summarize_entry``."""

    def __init__(self, propagates: bool) -> None:
        self.propagates = propagates


def comparison(accurate: bool = False) -> dict[str, Any]:
    """Two segments; per-frame 100 ms, ours 120 + 9 x 20, a peer 30 a frame."""
    times, entries = {}, []
    for method, key, rest, ap in (
        ("per-frame", 100.0, 100.0, 0.5),
        ("lsts", 120.0, 20.0, 0.48),
        ("yolox-nano", 30.0, 30.0, 0.4),
    ):
        name = f"{method}, onnxruntime fp32"
        segments = [[key, *[rest] * 9] for _ in range(2)]
        times[name] = SegmentTimes(10, segments, [[value + 1 for value in segment] for segment in segments])
        labels = {"method": method, "engine": "onnxruntime", "provider": "cpu", "precision": "fp32", "ap": ap}
        baseline = "per-frame, onnxruntime fp32" if method == "lsts" else None
        entries.append(Entry(name, Contestant(method == "lsts"), labels, baseline))  # type: ignore[arg-type]
    rows = [summarize_entry(entry, times, "per-frame, onnxruntime fp32") for entry in entries]
    for row in rows:
        ap = row.pop("ap")
        if accurate:
            shared = {"vehicle": ap, "bird": None, "quadruped": ap}
            interval = [ap - 0.1, ap + 0.1]
            row["accuracy"] = {
                "ap50_class_agnostic": ap,
                "ap50_class_agnostic_interval": interval,
                "ap50_shared": shared,
            }
    settings = {"segments": 2, "warmup_segments": 1, "keyframe_interval": 10, "threads": 2, "clip": "clip.mp4"}
    settings["methods"] = {"lsts": "ours", "per-frame": "the heavy network on every frame"}
    data = {"rows": rows, "left_out": {"lsts custom": "no library"}, "fastest_per_frame_fp32": None}
    if accurate:
        data["accuracy_differences"] = {
            rows[1]["name"]: {rows[2]["name"]: {"difference": 0.08, "low": 0.01, "high": 0.2}}
        }
    return new_result("compare", settings=settings, data=data, bundle=BUNDLE, conditions=CONDITIONS)


def accuracy() -> dict[str, Any]:
    row = {"model": "lsts-lite", "engine": "torch/cpu", "ap50": 0.5, "ap": 0.25, "ap50_interval": [0.4, 0.6]}
    row |= {"annotations": "val.json", "sequences": 1, "class_agnostic": False}
    rows = [
        row | {"keyframe_interval": interval, "ap50_per_class": {"bird": 0.125, "person": None}}
        for interval in (None, 10)
    ]
    return new_result("accuracy", settings={"only": ["swan"]}, data={"rows": rows})


def test_accuracy_has_a_table() -> None:
    text = report_markdown([accuracy()])
    assert "## Accuracy on val.json, 1 sequences" in text
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "torch/cpu" in line]
    assert [line[0] for line in lines] == ["lsts-lite, torch/cpu, per frame", "lsts-lite, torch/cpu, interval 10"]
    assert lines[0][1:] == ["0.500", "0.400..0.600", "0.250", "0.125", "-"]


def test_the_committed_results_make_one_report() -> None:
    files = sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("*.json"))
    text = report_markdown([read_result(path) for path in files])
    for title in ("## Targets", "## Accuracy on val.json, 20 sequences", "## Beside the paper"):
        assert title in text


def latency() -> dict[str, Any]:
    frames = [
        FrameTime(i, "keyframe" if i % 10 == 0 else "propagated", 12.5, 10.25, {"model": 10.25}, {"heavy": 10.25})
        for i in range(20)
    ]
    timeline = {"kind": [f.kind for f in frames], "model_ms": [10.25] * 20, "end_to_end_ms": [12.5] * 20}
    phases = {key: {"p50_ms": 812.0} for key in ("interpreter", "import", "load", "first_boxes", "total")}
    data = {
        **summarize_frames(frames, 30),
        "paced": None,
        "subgraphs": None,
        "cold_start": {"phases": phases, "repeats": 3, "memory": {"rss_mib": 222.0}},
        "per_frame": {"cpu_time_ms": 20.0, "energy_mj": None, "energy_reason": "no meter"},
        "timeline": timeline,
    }
    settings = {"clip": "clip.mp4", "camera_fps": 30.0, "backend": "onnxruntime", "precision": "fp32"}
    return new_result("latency", settings=settings, data=data, bundle=BUNDLE, conditions=CONDITIONS)


def test_memory_of_gpus_is_shown_where_it_was_told() -> None:
    found = latency()
    assert "memory in use on GPU" not in report_markdown([found]), "on a machine without one, and in older files"
    found["conditions"] = {**CONDITIONS, "gpu_memory_used_mib": [[300.0, None], [812.5, None]]}
    text = report_markdown([found])
    assert "GPU 0 before and after, MiB" in text and "300 -> 812" in text
    assert "GPU 1 before and after, MiB" in text and "not told -> not told" in text


def op() -> dict[str, Any]:
    floor = {"floor_ms": 2.0, "multiply_adds": 92_000_000, "moved_bytes": 24_000_000}
    floor |= {"peak_multiply_adds_per_s": 60_000_000_000, "peak_copied_bytes_per_s": 12_000_000_000}
    size = {"locations": 40, "taps": 30, "embedding_channels": 256, "feature_channels": 1024}
    size |= {"height_cells": 38, "width_cells": 63, "floor": floor, "targets": {}}
    rows = [
        {"form": form, "engine": engine, "size": "r101", "p50_ms": ms, "scratch_bytes": 2**20, "max_error": 1e-6}
        | {"times_the_op": {"median": ms / 6}}
        for form, engine, ms in (
            ("custom", "onnxruntime", 6.0),
            ("taps", "onnxruntime", 92.0),
            ("taps", "openvino", 50.0),
        )
    ]
    return new_result("op", settings={}, data={"rows": rows, "sizes": {"r101": size}}, conditions=CONDITIONS)


class Page(HTMLParser):
    """Collects what a page refers to, its text, and whether its tags are closed in order."""

    VOID = ("meta", "br", "img", "hr", "use", "path", "rect", "line")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.references += [value or "" for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_is_whole_and_says_what_the_results_say(tmp_path: Path) -> None:
    picture = tmp_path / "sheet.png"
    picture.write_bytes(b"\x89PNG not really")
    text = report_html([comparison(accurate=True), latency(), op()], [picture])
    page = Page(text)
    assert page.open == []
    assert all(ref.startswith(("#", "data:")) for ref in page.references), "a page that fetches nothing"
    assert "<script" not in text
    assert "3.33" in page.text, "ours: 1000 ms over 300 ms"
    assert "Random weights: latency only" in page.text
    assert "10.25" in page.text or "10.3" in page.text
    assert "lsts custom: no library" in page.text
    assert "+8.0+1.0+20.0" in page.text
    assert "does not name" in page.text and "77.2" in page.text, "the paper's rows, its hardware named"
    assert text.count("<svg") == 6, "bars, Pareto, distribution, timeline, stages, roofline"


def test_markdown_has_the_same_numbers() -> None:
    text = report_markdown([comparison(), latency(), op()])
    assert "| lsts, onnxruntime fp32 | 120 | 20.0 |" in text
    assert re.search(r"\| taps, onnxruntime \| 92\.0 \| 15\.3 \| 46\.0 \|", text)
    assert "## Beside the paper" in text


def test_a_busy_machine_is_told() -> None:
    busy = comparison()
    busy["conditions"] = {**CONDITIONS, "busy_by_others": 0.42, "throttle_events": 3}
    text = report_markdown([busy])
    assert "Other programs took 42 % of the processor" in text
    assert "throttled 3 times" in text
    assert "Other programs" not in report_markdown([comparison()])


def test_two_devices_never_share_a_page() -> None:
    other = copy.deepcopy(latency())
    other["device_key"] = "0123456789ab"
    with pytest.raises(BenchmarkDevice):
        report_html([comparison(), other])
    with pytest.raises(BenchmarkResult, match="no result file"):
        report_html([])


def test_text_from_a_result_cannot_become_markup() -> None:
    evil = comparison()
    evil["data"]["rows"][0]["name"] = "<script>alert(1)</script>"
    evil["bundle"] = {**BUNDLE, "name": "<img src=x>"}
    text = report_html([evil])
    assert "<script>" not in text
    assert "<img src=x>" not in text


def test_paper_rows_and_ours() -> None:
    assert len([row for row in PAPER_ROWS if row.table == 3]) == 3
    _, rows = paper_table(2, [comparison()])
    full = next(row for row in rows if row[0] == "LSTS (g) full")
    assert full[1:5] == ["77.2", "23", "64.5", "2.28"]
    assert full[5:7] == ["33.33", "3.33"]
    assert next(row for row in rows if row[0].startswith("LSTS (a)"))[5] == "-"


def test_readme_is_generated_between_its_marks(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# title\n\n{BEGIN}\nyesterday\n{END}\n\nend\n")
    results = [comparison(accurate=True), latency()]
    written = update_readme(readme, results)
    text = readme.read_text()
    assert text.startswith(f"# title\n\n{BEGIN}\n") and text.endswith(f"{END}\n\nend\n")
    assert "yesterday" not in text
    assert readme_block(results) in text
    assert written == [readme, tmp_path / "docs/images/bench.svg"]
    assert written[1].read_text().startswith("<svg")
    update_readme(readme, results)
    assert readme.read_text() == text, "a second time changes nothing"


def test_readme_without_marks_is_left_alone(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# title\n")
    with pytest.raises(BenchmarkResult, match="marks in README"):
        update_readme(readme, [comparison()])
    assert readme.read_text() == "# title\n"
    with pytest.raises(BenchmarkResult, match="README table"):
        readme_block([latency()])


def test_command(tmp_path: Path, lsts_edge_command: Callable[..., Any]) -> None:
    write_result(tmp_path / "compare.json", comparison())
    page, table = tmp_path / "out" / "report.html", tmp_path / "report.md"
    done = lsts_edge_command(
        "bench", "report", tmp_path / "compare.json", "--output", page, "--markdown", table, "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"results": 1, "written": [str(page), str(table)]}
    assert page.read_text().startswith("<!doctype html>")
    failed = lsts_edge_command("bench", "report", tmp_path / "compare.json")
    assert failed.returncode == 2
    assert failed.stderr.startswith("error[option]")


def test_settings_are_checked() -> None:
    from lsts_edge.errors import OptionError

    for wrong in ({"segments": 0}, {"warmup_segments": 0}, {"keyframe_interval": 0}):
        with pytest.raises(OptionError, match="compare: "):
            RunSettings(**wrong)
