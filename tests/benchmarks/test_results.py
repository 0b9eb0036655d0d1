"""Result files: written in one step, read with checks, and never compared across devices."""

from __future__ import annotations

import copy
import json
import stat
from pathlib import Path

import pytest

from lsts_edge.benchmarks.machine import describe_device, device_key
from lsts_edge.benchmarks.results import new_result, precision_label, read_result, require_one_device, write_result
from lsts_edge.errors import BenchmarkDevice, BenchmarkResult, FileUnwritable


def result(**data: object) -> dict[str, object]:
    return new_result("latency", settings={"runs": 3}, data=data)


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
    assert precision_label(graphs, engine) == label


def test_round_trip_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "latency.json"
    written = result(p50_ms=1.25)
    write_result(path, written)
    assert read_result(path) == written
    assert [item.name for item in path.parent.iterdir()] == ["latency.json"], "no staged file stays"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert {"commit", "device", "versions", "created_utc", "settings"} <= set(written)


def test_no_host_name_and_no_path_in_a_result(tmp_path: Path) -> None:
    import getpass
    import platform

    text = json.dumps(result())
    for private in (platform.node(), str(Path.home()), str(Path.cwd()), getpass.getuser()):
        assert len(private) < 4 or private not in text, f"{private!r} stands in the result"


@pytest.mark.parametrize(
    ("field", "value", "same"),
    [
        ("cpu_model", "another", False),
        ("logical_cores", 64, False),
        ("memory_gib", 512, False),
        ("gpus", [{"name": "some GPU", "memory_gib": 8, "driver": "1"}], False),
        ("board", "a board", False),
        ("python", "3.99.0", True),
        ("system", "Linux 9.9", True),
    ],
)
def test_device_key_tells_hardware_apart(field: str, value: object, same: bool) -> None:
    device = describe_device()
    assert (device_key({**device, field: value}) == device_key(device)) is same


def test_two_devices_are_refused() -> None:
    here = result()
    assert require_one_device([here, copy.deepcopy(here)]) == here["device_key"]
    other = copy.deepcopy(here)
    other["device"]["cpu_model"] = "another processor"  # type: ignore[index]
    other["device_key"] = device_key(other["device"])  # type: ignore[arg-type]
    with pytest.raises(BenchmarkDevice, match="another processor") as caught:
        require_one_device([here, other])
    assert caught.value.code == "benchmark-device"
    with pytest.raises(BenchmarkDevice):
        require_one_device([])


def test_not_finite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkResult, match="finite") as caught:
        write_result(tmp_path / "a.json", result(p50_ms=float("nan")))
    assert caught.value.code == "benchmark-result"
    assert not list(tmp_path.iterdir())


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileUnwritable, match="result file"):
        write_result(tmp_path / "file" / "a.json", result())


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"schema": 1}', "[" * 100_000],
    ids=["empty", "cut", "list", "number", "fields missing", "deep"],
)
def test_unreadable_results(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(BenchmarkResult, match=r"bad\.json"):
        read_result(path)


def test_other_schema_and_kind(tmp_path: Path) -> None:
    for change in ({"schema": 2}, {"kind": "poem"}):
        path = tmp_path / "a.json"
        path.write_text(json.dumps({**result(), **change}))
        with pytest.raises(BenchmarkResult, match="schema"):
            read_result(path)
    with pytest.raises(BenchmarkResult, match="kind of result"):
        new_result("poem", settings={}, data={})
    with pytest.raises(BenchmarkResult, match=r"none\.json"):
        read_result(tmp_path / "none.json")
