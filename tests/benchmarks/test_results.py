"""Result files: written in one step, read strictly, and never compared across devices."""

from __future__ import annotations

import dataclasses
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_results import ORIGIN, bundle_facts, compare_result, compare_row, latency_result

from committed_results import BENCHMARKS, WRAPPED
from lsts_edge.benchmarks.envelope import Origin, Precision
from lsts_edge.benchmarks.frame_times import FrameTime
from lsts_edge.benchmarks.latency_result import LatencyResult
from lsts_edge.benchmarks.machine import Gpu, describe_device
from lsts_edge.benchmarks.results import KINDS, read_result, require_one_device, to_json, write_result
from lsts_edge.benchmarks.wrap_result import read_wrap_result
from lsts_edge.errors import BenchmarkDevice, BenchmarkResult, FileUnwritable


def result(ms: float = 12.5) -> LatencyResult:
    return latency_result([FrameTime(0, "keyframe", ms, ms)], bundle_facts("lsts-tiny"))


@pytest.mark.parametrize(
    ("graphs", "engine", "label"),
    [
        (["fp32", "fp32"], "fp32", "fp32"),
        (["fp32", "int8"], "fp32", "int8"),
        (["fp32"], "bf16", "bf16"),
        (["fp32", "int8", "fp16"], "bf16", "fp16+int8+bf16"),
    ],
)
def test_precisions_of_graphs_and_engine_are_both_told(graphs: list[str], engine: str, label: str) -> None:
    precision = Precision.of(graphs, engine)
    assert precision.label == label
    assert precision.is_fp32 is (label == "fp32")


def test_round_trip_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "latency.json"
    written = dataclasses.replace(result(), origin=Origin.here())
    write_result(path, written)
    assert read_result(path) == written
    assert [item.name for item in path.parent.iterdir()] == ["latency.json"], "no staged file stays"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_what_is_committed_reads_and_keeps_everything(path: Path, tmp_path: Path) -> None:
    found = read_result(path)
    assert type(found) is KINDS[found.kind]
    write_result(tmp_path / path.name, found)
    assert read_result(tmp_path / path.name) == found


@pytest.mark.parametrize("path", WRAPPED, ids=lambda path: path.stem)
def test_what_is_committed_of_wrapped_detectors_reads(path: Path) -> None:
    found = read_wrap_result(path)
    assert found.chosen["chosen"] and {"agreement", "truth_score", "speedup", "bundle_digest"} <= set(found.chosen)


def test_no_host_name_and_no_path_in_a_result() -> None:
    import getpass
    import platform

    text = to_json(dataclasses.replace(result(), origin=Origin.here()))
    for private in (platform.node(), str(Path.home()), str(Path.cwd()), getpass.getuser()):
        assert len(private) < 4 or private not in text, f"{private!r} stands in the result"


@pytest.mark.parametrize(
    ("field", "value", "same"),
    [
        ("cpu_model", "another", False),
        ("logical_cores", 64, False),
        ("memory_gib", 512, False),
        ("gpus", (Gpu("some GPU", 8.0, "1"),), False),
        ("board", "a board", False),
        ("python", "3.99.0", True),
        ("system", "Linux 9.9", True),
    ],
)
def test_device_key_tells_hardware_apart(field: str, value: object, same: bool) -> None:
    device = describe_device()
    assert (dataclasses.replace(device, **{field: value}).key == device.key) is same  # type: ignore[arg-type]


def test_two_devices_are_refused() -> None:
    here = result()
    assert require_one_device([here, result(1.0)]) == ORIGIN.device.key
    device = dataclasses.replace(ORIGIN.device, cpu_model="another processor")
    other = dataclasses.replace(here, origin=dataclasses.replace(ORIGIN, device=device))
    with pytest.raises(BenchmarkDevice, match="another processor") as caught:
        require_one_device([here, other])
    assert caught.value.code == "benchmark-device"
    with pytest.raises(BenchmarkDevice):
        require_one_device([])


def test_not_finite_is_refused(tmp_path: Path) -> None:
    row = dataclasses.replace(compare_row("lsts", 1.0), graphs={"keyframe": {"heavy": float("nan")}})
    with pytest.raises(BenchmarkResult, match="finite") as caught:
        write_result(tmp_path / "a.json", compare_result("lsts-tiny", row))
    assert caught.value.code == "benchmark-result"
    assert not list(tmp_path.iterdir())


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileUnwritable, match="result file"):
        write_result(tmp_path / "file" / "a.json", result())


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"schema": 2}', "[" * 100_000, '{"schema": 2, "schema": 2}', '{"schema": NaN}', "\xff"],
    ids=["empty", "cut", "list", "number", "fields missing", "deep", "twice", "nan", "bytes"],
)
def test_unreadable_results(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(BenchmarkResult, match=r"bad\.json"):
        read_result(path)


def _set(*keys: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for key in keys[:-1]:
            data = data[key]
        data[keys[-1]] = value

    return change


def _drop(*keys: str) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for key in keys[:-1]:
            data = data[key]
        del data[keys[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (_set("schema", value=1), "schema 1"),
        (_set("schema", value=3), "schema 3"),
        (_set("kind", value="poem"), "poem"),
        (_set("kind", value=["latency"]), "kind"),
        (_set("kind", value="compare"), r"\.settings|\.data"),
        (_drop("conditions"), "no conditions"),
        (_set("bundle", value=None), r"\.bundle"),
        (_set("data", "times", "all", "model", "p50_ms", value="fast"), r"data\.times\.all\.model\.p50_ms"),
        (_set("data", "times", "all", "model", "n", value=True), r"model\.n"),
        (_drop("data", "timeline"), "no timeline"),
        (_set("data", "mood", value="good"), "mood"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_place(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], place: str
) -> None:
    path = tmp_path / "a.json"
    data = json.loads(to_json(result()))
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(BenchmarkResult, match=place) as caught:
        read_result(path)
    assert "a.json" in str(caught.value) and "Run the benchmark again" in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkResult, match=r"none\.json"):
        read_result(tmp_path / "none.json")
