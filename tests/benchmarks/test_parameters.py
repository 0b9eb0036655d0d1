"""``bench params``: figures of presets and bundles, beside the paper's table."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lsts_edge.benchmarks.parameters import PAPER_TABLE, size_of_bundle, size_of_preset
from lsts_edge.bundle import Bundle
from lsts_edge.cli.bench.params import command
from lsts_edge.errors import BundleError, OptionError
from lsts_edge.presets import get_preset


def test_the_paper_s_network_beside_the_paper_s_table() -> None:
    report = size_of_preset(get_preset("lsts-r101"))
    text = report.to_text()
    assert "67,244,927 (67.24 million, 64.13 x 2^20)" in text
    row = next(line for line in text.splitlines() if line.startswith("LSTS, full"))
    assert row.split()[-2:] == ["64.5", "67,244,927"]
    assert "2^20 = 1,048,576" in text
    assert report.keyframe_ratio == pytest.approx(3.8, abs=0.05)
    assert "R-FCN per frame" in text and "60.0" in text


def test_paths_add_up() -> None:
    report = size_of_preset(get_preset("lsts-lite"))
    counted = report.multiply_adds
    propagated = ("light", "embed_current", "lsts_current", "aggregate_current", "head")
    assert report.path_multiply_adds("propagated") == sum(counted[graph] for graph in propagated)
    assert report.path_multiply_adds("first") == counted["heavy"] + counted["embed_memory"] + counted["head"]
    assert report.keyframe_ratio is not None and report.keyframe_ratio >= 4


def test_a_per_frame_detector_has_one_path() -> None:
    report = size_of_preset(get_preset("rfcn-r101").resized(160, 192))
    assert list(report.paths) == ["first"]
    assert report.keyframe_ratio is None and report.path_multiply_adds("propagated") is None
    assert "62,383,597" in report.to_text()


def test_a_bundle_tells_its_own_figures(hand_made_bundle: Path) -> None:
    manifest = Bundle.open(hand_made_bundle).manifest
    report = size_of_bundle(manifest)
    for path, steps in manifest.programs.items():
        expected = sum(manifest.graphs[step.graph].multiply_adds for step in steps)
        assert report.path_multiply_adds(path) == expected
    assert report.total_parameters is None and "count in both" in report.to_text()


def run(*words: object) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


def test_the_command(hand_made_bundle: Path) -> None:
    data = json.loads(run("--preset", "lsts-tiny", "--json").stdout)
    assert data["total_parameters"] == size_of_preset(get_preset("lsts-tiny")).total_parameters
    assert len(data["paper"]) == len(PAPER_TABLE)
    wider = json.loads(run("--preset", "lsts-tiny", "--width", 192, "--json").stdout)
    assert wider["graphs"]["heavy"]["multiply_adds"] == 2 * data["graphs"]["heavy"]["multiply_adds"]
    assert "subgraph" in run("--bundle", hand_made_bundle).stdout


def test_the_command_s_errors(lsts_edge_command: Any, hand_made_bundle: Path) -> None:
    assert isinstance(run("--preset", "resnet-9000").exception, OptionError)
    assert isinstance(run("--bundle", "nowhere").exception, BundleError)
    assert run("--height", 7).exit_code == 2
    done = lsts_edge_command("bench", "params", "--bundle", hand_made_bundle, "--preset", "lsts-tiny")
    assert (done.returncode, done.stderr.startswith("error[usage]")) == (2, True)
    assert len(done.stderr.splitlines()) == 1


def test_a_bundle_is_counted_without_torch(hand_made_bundle: Path, tmp_path: Path) -> None:
    probe = (
        "import sys; sys.modules['torch'] = None; sys.modules['onnx'] = None\n"
        "from lsts_edge.cli import main\n"
        f"main(['bench', 'params', '--bundle', {str(hand_made_bundle)!r}])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=root, timeout=250)
    assert done.returncode == 0, done.stderr
