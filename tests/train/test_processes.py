"""Training in two processes is training in one: the same curve, the same weights, one voice, one error."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from toy_data import write_toy_data
from toy_training import RUNS, train_toy

from lsts_edge.errors import OptionError
from lsts_edge.model.checkpoint import load_checkpoint
from lsts_edge.train.processes import Processes

ROOT = Path(__file__).parents[2]


def torchrun(*words: object) -> subprocess.CompletedProcess[str]:
    """Two processes of ``python WORDS``, each with one thread."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *map(str, words)]
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_data(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, toy: Path) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    done = torchrun(ROOT / "tests" / "toy_training.py", toy, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("resumed", [False, True], ids=["whole", "resumed"])
@pytest.mark.parametrize("name", RUNS)
def test_two_processes_train_as_one_with_the_whole_batch(shared: Path, toy: Path, name: str, resumed: bool):
    options = RUNS[name]
    alone, curve = train_toy(toy, options)
    stem = shared / f"{list(RUNS).index(name)}{'-resumed' if resumed else ''}"
    found = json.loads(stem.with_suffix(".json").read_text())
    assert found["name"] == name and len(found["curve"]) == options.steps == len(curve)
    for one, two in zip(curve, found["curve"], strict=True):
        assert two == pytest.approx(one, rel=1e-5, abs=1e-6)
    weights = torch.load(stem.with_suffix(".pth"), weights_only=True)
    for key, value in alone.state_dict().items():
        torch.testing.assert_close(weights[key], value, rtol=1e-3, atol=1e-5)
    other, _ = train_toy(toy, dataclasses.replace(options, seed=1))
    assert any(
        not torch.allclose(weights[key], value, rtol=1e-3, atol=1e-5) for key, value in other.state_dict().items()
    ), "the comparison tells runs apart"


def test_shares_of_a_draw_make_the_whole():
    device = torch.device("cpu")

    def drawn(processes: Processes, rows: int) -> torch.Tensor:
        return processes.uniform(rows, 3, generator=torch.Generator().manual_seed(0), device=device)

    parts = torch.stack([drawn(Processes(rank, 2), 4) for rank in (0, 1)], dim=1)
    assert torch.equal(parts.flatten(0, 1), drawn(Processes(), 8))


def test_a_batch_that_cannot_be_shared_is_refused(toy: Path):
    with pytest.raises(OptionError, match="multiple of the 4 processes"):
        train_toy(toy, next(iter(RUNS.values())), Processes(0, 4))


def test_one_process_speaks_and_writes(toy: Path, tmp_path: Path):
    output = tmp_path / "out" / "tiny.safetensors"
    words = ("-m", "lsts_edge", "train", "--data", toy, "--output", output, "--preset", "lsts-tiny")
    done = torchrun(*words, "--steps", 2, "--batch", 2, "--video-batch", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("written:") == 1 and done.stderr.count("[2/2]") == 1
    assert "in 2 processes" in done.stderr
    assert load_checkpoint(output)[1].metadata["processes"] == "2"
    assert [path.name for path in output.parent.iterdir()] == [output.name]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--data", "TOY", "--steps", "2", "--batch", "3"), "error[option]: training option batch"),
        (("--data", "TOY", "--steps", "two"), "error[usage]"),
        (("--data", "TOY", "--steps", "2", "--batch", "2", "--resume"), "error[training]: nothing to resume"),
        (("--data", "none.json", "--steps", "2"), "error[annotations]"),
    ],
    ids=["in all", "before they meet", "in the first", "in reading"],
)
def test_an_error_is_told_once(toy: Path, tmp_path: Path, words: tuple[str, ...], error: str):
    given = [toy if word == "TOY" else word for word in words]
    output = tmp_path / "tiny.safetensors"
    done = torchrun("-m", "lsts_edge", "train", *given, "--output", output, "--preset", "lsts-tiny")
    assert done.returncode != 0
    assert done.stderr.count("error[") == 1 and error in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())
