"""The interval sweep: the same frames at each interval, in drawn order, energy counted per interval."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_time import plant_time

from lsts_edge.benchmarks.sweep import SweepOptions, measure_sweep
from lsts_edge.bundle import Bundle
from lsts_edge.errors import OptionError
from lsts_edge.runtime.engines.onnxruntime import _OnnxRuntimeSession
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.preprocess import Geometry, Preprocessor


def test_rows_and_frames(hand_made_bundle: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    options = SweepOptions(intervals=(2, 3), rounds=2, engine=EngineOptions(threads=1))
    result = measure_sweep(Bundle.open(hand_made_bundle), None, options, progress=lambda *told: seen.append(told))
    rows = result.data.rows
    assert [row.keyframe_interval for row in rows] == [2, 3]
    assert all(row.model.n == 12 for row in rows), "two rounds of lcm(2, 3) frames"
    assert rows[0].ratio_to_shortest.median == 1.0
    assert all((row.energy_mj_per_frame is None) == (row.energy_reason is not None) for row in rows)
    assert seen[-1] == ("rounds", 6, 6)


@pytest.mark.parametrize("wrong", [{"intervals": ()}, {"intervals": (0, 2)}, {"intervals": (2, 2)}, {"rounds": 0}])
def test_absurd_options(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        SweepOptions(**wrong)
    with pytest.raises(OptionError, match="frames a round"):
        SweepOptions(intervals=(7, 11, 13, 17))


def test_command(hand_made_bundle: Path, lsts_edge_command: Callable[..., Any]) -> None:
    words = ("bench", "sweep", hand_made_bundle, "--rounds", 1, "--threads", 1)
    done = lsts_edge_command(*words, "--intervals", "1,2", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kind"] == "sweep"
    failed = lsts_edge_command(*words, "--intervals", "one")
    assert failed.returncode == 2


BARE = """
import sys
sys.modules.update(dict.fromkeys(("torch", "onnx", "onnx_graphsurgeon", "pycocotools", "matplotlib", "safetensors")))
from lsts_edge.cli import main
main()
"""


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ("latency {} --frames 4 --warmup-frames 1 --cold-starts 0", None),
        ("sweep {} --intervals 2,3 --rounds 1", None),
        ("sweep {} --intervals 2,3 --rounds 1 --annotations none.json", "[evaluate]"),
    ],
)
def test_what_runs_on_a_device(words: str, missing: str | None, hand_made_bundle: Path) -> None:
    """As ``docs/benchmarks.md`` says; None in ``sys.modules`` is what an import finds where nothing is installed."""
    command = [sys.executable, "-c", BARE, "bench", *words.format(hand_made_bundle).split()]
    done = subprocess.run(command, capture_output=True, text=True)
    if missing is None:
        assert done.returncode == 0, done.stderr
    else:
        assert done.stderr.splitlines()[-1].startswith("error[package-missing]") and missing in done.stderr


def test_model_time_is_the_graphs_alone(hand_made_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pre- and postprocessing are nobody's model time, though a planted second passes in each frame's preprocessing."""
    clock = plant_time(monkeypatch, "lsts_edge.runtime.pipeline", "lsts_edge.runtime.runners.network")
    prepare, run_tensors = Preprocessor.__call__, _OnnxRuntimeSession.run_tensors

    def slow(self: Preprocessor, frame: np.ndarray) -> tuple[np.ndarray, Geometry]:
        clock.sleep(1.0)
        return prepare(self, frame)

    def timed(self: _OnnxRuntimeSession, feeds: dict[str, object]) -> dict[str, object]:
        clock.sleep(0.002)
        return run_tensors(self, feeds)

    monkeypatch.setattr(Preprocessor, "__call__", slow)
    monkeypatch.setattr(_OnnxRuntimeSession, "run_tensors", timed)
    options = SweepOptions(intervals=(2,), rounds=1, engine=EngineOptions(threads=1))
    (row,) = measure_sweep(Bundle.open(hand_made_bundle), None, options).data.rows
    assert (row.model.min_ms, row.model.max_ms) == (4.0, 6.0), "two graphs on a keyframe, three in between"
