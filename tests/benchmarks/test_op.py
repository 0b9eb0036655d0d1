"""``bench op`` on a small problem: every form and engine, equal to the reference, the floor and when it is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from lsts_edge.benchmarks import op
from lsts_edge.benchmarks.op import ENGINES, FORMS, SIZES, OpOptions, OpSize, measure_op
from lsts_edge.benchmarks.results import to_json
from lsts_edge.cli.bench.op import command
from lsts_edge.custom_ops import library_path
from lsts_edge.errors import CheckFailed, OpLibraryMissing, OptionError
from lsts_edge.opspec import lsts_reference

SMALL = OpSize(locations=9, embedding_channels=16, feature_channels=40, height_cells=9, width_cells=11)


@pytest.fixture(autouse=True)
def small_size(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        library_path()
    except OpLibraryMissing as missing:
        pytest.skip(f"no op library in this install: {missing.got}")
    monkeypatch.setitem(SIZES, "small", SMALL)


def test_sizes_are_the_presets() -> None:
    assert SIZES["r101"] == OpSize(40, 256, 1024, 38, 63)
    assert SIZES["lite"].embedding_channels < SIZES["r101"].embedding_channels


def test_every_form_on_every_engine() -> None:
    told: list[str] = []
    result = measure_op(OpOptions(("small",), threads=1, runs=3, slow_runs=1, warmup_runs=1), told.append)
    rows = result.data.rows
    found = [(row.form, row.engine) for row in rows]
    assert found == [(form, engine) for form in FORMS for engine in ENGINES if (form, engine) != ("custom", "torch")]
    for row in rows:
        assert row.p50_ms > 0 and row.max_error < 1e-4 and row.size == "small" and row.threads == 1
    custom = next(row for row in rows if row.form == "custom" and row.engine == "onnxruntime")
    assert custom.times_the_op.median == 1.0 and custom.scratch_source == "counted"
    summary = result.data.sizes["small"]
    assert set(summary.targets) >= {"taps_onnxruntime", "fastest_other"}
    floor = summary.floor
    cells, taps = 9 * 11, summary.taps
    assert floor.multiply_adds == cells * taps * (16 + 40)
    assert floor.moved_bytes == cells * 4 * 2 * (16 + 40)
    assert floor.floor_ms is None or floor.floor_ms == max(floor.compute_ms, floor.move_ms)
    assert any("reference" in text for text in told)
    assert "NaN" not in to_json(result)


@pytest.mark.parametrize(("share", "refused"), [(0.59, True), (0.61, False)])
def test_a_peak_below_the_share_is_refused(monkeypatch: pytest.MonkeyPatch, share: float, refused: bool) -> None:
    lanes = {"avx512": 16, "avx2": 8, "neon": 4, "portable": 4}[op_kernel()]
    monkeypatch.setattr(op, "_clock_hz", lambda: 1e9)
    peak = {"multiply_adds_per_s": share * 1e9 * lanes * 2 * 2, "copied_bytes_per_s": 1e9}
    floor = op._floor(SMALL, 20, 2, [peak] * 5)
    assert (floor.floor_ms is None) == refused
    assert (floor.refused is not None) == refused


def op_kernel() -> str:
    from lsts_edge.custom_ops import cpu_kernels

    return cpu_kernels()[0]


def test_a_form_that_is_wrong_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(*inputs: Any) -> tuple[np.ndarray, np.ndarray]:
        aligned, peak = lsts_reference(*inputs)
        return aligned + 1e-3, peak

    monkeypatch.setattr(op, "lsts_reference", shifted)
    with pytest.raises(CheckFailed, match="form taps on onnxruntime at size small disagrees"):
        measure_op(OpOptions(("small",), threads=1, runs=1))


@pytest.mark.parametrize("options", [{"sizes": ("huge",)}, {"runs": 0}, {"threads": 0}, {"warmup_runs": -1}])
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        OpOptions(**options)


def test_the_command_prints_a_table_and_writes_the_result(tmp_path: Any) -> None:
    path = tmp_path / "op.json"
    words = ["--size", "small", "--threads", "1", "--runs", "2", "--slow-runs", "1", "--output", str(path)]
    done = CliRunner().invoke(command, words, catch_exceptions=False)
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert any(line.startswith("custom, onnxruntime") for line in lines)
    assert any(line.startswith(("floor", "peaks")) for line in lines)
    assert lines[-1].endswith("targets met")
    assert json.loads(path.read_text())["kind"] == "op"
