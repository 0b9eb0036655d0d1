"""Reports say what the result files say, in one file that needs no other, and never mix devices."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from made_results import (
    CONDITIONS,
    DEVICE,
    ORIGIN,
    bundle_facts,
    compare_result,
    compare_row,
    entry_accuracy,
    entry_facts,
    latency_result,
)

pytest.importorskip("matplotlib")

from committed_results import BENCHMARKS
from lsts_edge.benchmarks.accuracy.result import AccuracyData, AccuracyResult, AccuracyRow, AccuracySettings
from lsts_edge.benchmarks.compare import Entry, RunSettings, SegmentTimes, summarize_entry
from lsts_edge.benchmarks.compare_result import CompareResult, Difference
from lsts_edge.benchmarks.envelope import Precision
from lsts_edge.benchmarks.frame_times import FrameTime
from lsts_edge.benchmarks.harness import PairedRatio
from lsts_edge.benchmarks.headline import find_headline
from lsts_edge.benchmarks.latency_result import LatencyResult
from lsts_edge.benchmarks.op_result import (
    CudaOpCheck,
    CudaOpData,
    CudaOpResult,
    CudaOpRow,
    CudaOpSettings,
    Floor,
    LibraryFacts,
    OpData,
    OpResult,
    OpRow,
    OpSettings,
    OpSizeSummary,
)
from lsts_edge.benchmarks.paper import PAPER_ROWS, paper_table
from lsts_edge.benchmarks.readme import BEGIN, END, readme_block, update_readme
from lsts_edge.benchmarks.report import report_html, report_markdown
from lsts_edge.benchmarks.results import read_result, write_result
from lsts_edge.errors import BenchmarkDevice, BenchmarkResult

BUNDLE = bundle_facts("lsts-r101", random=True)


class Contestant:
    """Enough of a contestant for ``summarize_entry``."""

    def __init__(self, propagates: bool) -> None:
        self.propagates = propagates


def comparison(accurate: bool = False) -> CompareResult:
    """Two segments; per-frame 100 ms, ours 120 + 9 x 20, a peer 30 a frame."""
    times, entries, rows = {}, [], []
    baseline = entry_facts("per-frame").label
    for method, key, rest in (("per-frame", 100.0, 100.0), ("lsts", 120.0, 20.0), ("yolox-nano", 30.0, 30.0)):
        ours, facts = method == "lsts", entry_facts(method)
        segments = [[key, *[rest] * 9] for _ in range(2)]
        kinds = [[index % 10 == 0 for index, _ in enumerate(segment)] for segment in segments]
        later = [[value + 1 for value in segment] for segment in segments]
        times[facts.label] = SegmentTimes(10, segments, later, kinds)
        entries.append(Entry(facts, Contestant(ours), baseline if ours else None))  # type: ignore[arg-type]
    for entry, ap in zip(entries, (0.5, 0.48, 0.4), strict=True):
        accuracy = entry_accuracy(ap, vehicle=ap, bird=None, quadruped=ap) if accurate else None
        rows.append(replace(summarize_entry(entry, times, baseline), accuracy=accuracy))
    differences = {entries[1].name: {entries[2].name: Difference(0.08, 0.01, 0.2)}} if accurate else {}
    left_out = {"lsts custom": "no library"}
    return compare_result(BUNDLE, *rows, left_out=left_out, accuracy_differences=differences)


def accuracy() -> AccuracyResult:
    rows = [
        AccuracyRow(
            ap50=0.5,
            ap=0.25,
            ap50_interval=(0.4, 0.6),
            ap50_per_class={"bird": 0.125, "person": None},
            ap_per_class={"bird": 0.1, "person": None},
            images=10,
            sequences=1,
            class_agnostic=False,
            model="lsts-lite",
            engine="onnxruntime",
            provider="cpu",
            precision=Precision(("int8",)),
            keyframe_interval=interval,
            annotations="val.json",
        )
        for interval in (None, 10)
    ]
    return AccuracyResult(origin=ORIGIN, settings=AccuracySettings(("swan",)), data=AccuracyData(tuple(rows)))


def test_accuracy_has_a_table() -> None:
    text = report_markdown([accuracy()])
    assert "## Accuracy on val.json, 1 sequences" in text
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "onnxruntime" in line]
    assert [line[0] for line in lines] == [
        "lsts-lite, onnxruntime int8, per frame",
        "lsts-lite, onnxruntime int8, interval 10",
    ]
    assert lines[0][1:] == ["0.500", "0.400..0.600", "0.250", "0.125", "-"]


def test_the_committed_results_make_one_report() -> None:
    text = report_markdown([read_result(path) for path in BENCHMARKS])
    for title in ("## Targets", "## Accuracy on val.json, 20 sequences", "## Beside the paper"):
        assert title in text


def latency() -> LatencyResult:
    frames = [
        FrameTime(i, "keyframe" if i % 10 == 0 else "propagated", 12.5, 10.25, {"model": 10.25}, {"heavy": 10.25})
        for i in range(20)
    ]
    return latency_result(frames, BUNDLE)


def test_memory_of_gpus_is_shown_where_it_was_told() -> None:
    found = latency()
    assert "memory in use on GPU" not in report_markdown([found]), "on a machine without one, and in older files"
    memory = ((300.0, None), (812.5, None))
    text = report_markdown([replace(found, conditions=replace(CONDITIONS, gpu_memory_used_mib=memory))])
    assert "GPU 0 before and after, MiB" in text and "300 -> 812" in text
    assert "GPU 1 before and after, MiB" in text and "not told -> not told" in text


LIBRARY = LibraryFacts("0.1.0", 1, 17, 1, ("avx2",), None)


def op() -> OpResult:
    floor = Floor(92_000_000, 24_000_000, 60_000_000_000, 12_000_000_000, None, None, 1.5, 2.0, 2.0, None)
    size = OpSizeSummary(40, 256, 1024, 38, 63, taps=30, floor=floor, targets={})

    def row(form: str, engine: str, ms: float) -> OpRow:
        times = PairedRatio(ms / 6, None, None, 31)
        return OpRow(form, engine, "1.0", "r101", 2, 31, ms, ms, ms, times, 2**20, "counted", 1e-6)

    shown = (("custom", "onnxruntime", 6.0), ("taps", "onnxruntime", 92.0), ("taps", "openvino", 50.0))
    rows = tuple(row(*one) for one in shown)
    settings = OpSettings(2, 31, 5, 3, 0, "float32", LIBRARY)
    return OpResult(origin=ORIGIN, conditions=CONDITIONS, settings=settings, data=OpData(rows, {"r101": size}))


def test_the_op_on_cuda_has_a_table() -> None:
    row = CudaOpRow(
        size="r101",
        n=8,
        dtype="float16",
        taps=33,
        moved_bytes=1,
        launches={"custom": 100},
        time_us={"copy": 20.0, "custom": 30.0, "taps": 300.0, "sample_then_weight": None},
        times_the_copy=1.5,
        times_the_op={"taps": 10.0, "sample_then_weight": None},
        difference_to_the_op={"taps": 0.01},
    )
    checked = CudaOpCheck(60, 0, {"float16": 0.25})
    data = CudaOpData((row,), checked, {"memcheck": "0 reports"}, ("one was missed",))
    result = CudaOpResult(origin=ORIGIN, settings=CudaOpSettings(7, "a GPU", LIBRARY), data=data)
    text = report_markdown([result])
    assert "## The LSTS op on a GPU" in text and "Target missed: one was missed" in text
    assert "| r101, N 8, float16 | 30.0 | 1.50 | 10.0 | - |" in text


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
    assert text.count('<figure class="paper">') == 5, "bars, distribution, timeline, stages, roofline"
    assert text.count('class="plot"') == 4, "the front at the top and in its section, each for wide and narrow screens"


def test_page_opens_with_the_answer_and_folds_the_rest() -> None:
    text = report_html([latency(), comparison(accurate=True), op()])
    opening, _, rest = text.partition("<details>")
    for told in ("run lsts, onnxruntime fp32, a keyframe every 10 frames: 31.0 ms", "at best 101 ms", "AP50 0.480"):
        assert told in Page(opening).text, told
    assert "yolox-nano, onnxruntime fp32 is as fast and less accurate" in opening
    assert opening.count("<table") == 1 and opening.count("<svg") == 2
    assert opening.count("Random weights: latency only") == 1, "what makes a reader doubt stands at the top"
    assert text.count("<details>") == rest.count("</details>") > 5
    assert Page(report_html([latency()])).text.count("end to end."), "without accuracy the runs speak"


def test_the_headline_runs_ours_where_it_is_on_the_front() -> None:
    found = find_headline([latency(), comparison(), comparison(accurate=True)])
    assert found is not None and find_headline([comparison()]) is None
    assert [row.entry.method for row in found.rows] == ["lsts", "yolox-nano", "per-frame"], "of equal times the better"
    assert [row.entry.method for row in found.front] == ["lsts", "per-frame"] and found.best is found.front[0]
    assert [line[0] for line in found.table().rows] == ["1 lsts", "2 yolox-nano", "3 per-frame"]
    assert [line[5] for line in found.table().rows] == ["yes", "no", "yes"]
    better = compare_row("yolox-nano", 5.0, accuracy=entry_accuracy(0.9, 1))
    beaten = find_headline([compare_result(BUNDLE, *found.rows, better)])
    assert beaten is not None and beaten.best is better, "a peer that beats all of ours is what to run"


def test_the_headline_is_of_the_comparison_with_most_alternatives() -> None:
    many = [compare_row("lsts", 5.0 + i, form=str(i), accuracy=entry_accuracy(0.5)) for i in range(3)]
    held = [compare_row(method, 4.0, accuracy=entry_accuracy(0.4)) for method in ("lsts", "hold")]
    found = find_headline([compare_result(BUNDLE, *many), compare_result(BUNDLE, *held)])
    assert found is not None and len(found.rows) == 2


def test_the_headline_shows_eight_at_most() -> None:
    rows = [compare_row("lsts", 5.0 + i, form=str(i), accuracy=entry_accuracy(0.3 + i / 50)) for i in range(20)]
    rival = compare_row("hold", 30.0, accuracy=entry_accuracy(0.2))
    found = find_headline([compare_result(BUNDLE, *rows, rival)])
    assert found is not None and len(found.front) == 20
    shown = [line[0] for line in found.table().rows]
    assert len(shown) == 8 and {"1 lsts 0", "20 lsts 19", "21 hold"} < set(shown), "fastest, best and every method"


def test_the_committed_headline_can_be_read() -> None:
    found = find_headline([read_result(path) for path in BENCHMARKS])
    assert found is not None and 2 <= len(found.table().rows) <= 8
    for width_px in (1100, 860, 370):
        labels = found.plot().labels(width_px)
        assert len(labels) == len(found.front), "each of the front is labelled"
        assert not [
            pair for pair in itertools.combinations([place for _, _, place in labels], 2) if pair[0].meets(pair[1])
        ]


def test_markdown_has_the_same_numbers() -> None:
    text = report_markdown([comparison(), latency(), op()])
    assert "| lsts, onnxruntime fp32 | 120 | 20.0 |" in text
    assert re.search(r"\| taps, onnxruntime \| 92\.0 \| 15\.3 \| 46\.0 \|", text)
    assert "## Beside the paper" in text


def test_a_busy_machine_is_told() -> None:
    busy = replace(comparison(), conditions=replace(CONDITIONS, busy_by_others=0.42, throttle_events=3))
    text = report_markdown([busy])
    assert "Other programs took 42 % of the processor" in text
    assert "throttled 3 times" in text
    assert "Other programs" not in report_markdown([comparison()])


def test_two_devices_never_share_a_page() -> None:
    other = replace(latency(), origin=replace(ORIGIN, device=replace(DEVICE, cpu_model="another")))
    with pytest.raises(BenchmarkDevice):
        report_html([comparison(), other])
    with pytest.raises(BenchmarkResult, match="no result file"):
        report_html([])


def test_text_from_a_result_cannot_become_markup() -> None:
    row = compare_row("<script>alert(1)</script>", 1.0)
    text = report_html([compare_result(bundle_facts("<img src=x>"), row)])
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
    images = tmp_path / "docs" / "images"
    assert written == [readme, images / "bench.svg", images / "bench-narrow.svg"]
    assert all(path.read_text().startswith("<svg") for path in written[1:])
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
