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
from lsts_edge.model import VideoNetwork
from lsts_edge.model.checkpoint import load_checkpoint
from lsts_edge.train.processes import Processes

ROOT = Path(__file__).parents[2]


def torchrun(*words: object) -> subprocess.CompletedProcess[str]:
    """Two processes of ``python WORDS``, each with one thread."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *map(str, words)]
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as started:
        try:
            told = started.communicate(timeout=200)
        except subprocess.TimeoutExpired:
            started.terminate()  # by which it ends its processes too
            told = started.communicate()
    return subprocess.CompletedProcess(command, started.returncode, *told)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_data(tmp_path_factory.mktemp("toy"))


def written(folder: Path, name: str, ending: str = "") -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """Losses of each step and weights of a run, as the first of two processes left them."""
    stem = folder / f"{list(RUNS).index(name)}{ending}"
    found = json.loads(stem.with_suffix(".json").read_text())
    assert found["name"] == name
    return found["curve"], torch.load(stem.with_suffix(".pth"), weights_only=True)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, toy: Path) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    done = torchrun(ROOT / "tests" / "toy_training.py", toy, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_train_as_one_with_the_whole_batch(shared: Path, toy: Path, name: str):
    options = RUNS[name]
    alone, curve = train_toy(toy, options)
    found, weights = written(shared, name)
    assert len(found) == options.steps == len(curve)
    coarse = options.precision == "bf16"  # sums over half a batch are rounded each
    for one, two in zip(curve, found, strict=True):
        assert two == pytest.approx(one, rel=5e-2 if coarse else 1e-5, abs=2e-2 if coarse else 1e-6)
    if coarse:
        return

    def same(network: VideoNetwork) -> bool:
        pairs = [(weights[key], value) for key, value in network.state_dict().items()]
        return all(torch.allclose(two, one, rtol=1e-3, atol=1e-5) for two, one in pairs)

    assert same(alone)
    assert not same(train_toy(toy, dataclasses.replace(options, seed=1))[0]), "the comparison tells runs apart"


@pytest.mark.parametrize("name", RUNS)
def test_a_resumed_run_of_two_processes_is_the_whole_one(shared: Path, name: str):
    (whole, weights), (resumed, again) = written(shared, name), written(shared, name, "-resumed")
    assert whole == resumed
    assert all(torch.equal(weights[key], value) for key, value in again.items()) and len(again) > 20


def test_shares_of_a_draw_make_the_whole():
    device = torch.device("cpu")

    def drawn(processes: Processes, rows: int) -> torch.Tensor:
        return processes.uniform(rows, 3, generator=torch.Generator().manual_seed(0), device=device)

    parts = torch.stack([drawn(Processes(rank, 2), 4) for rank in (0, 1)], dim=1)
    assert torch.equal(parts.flatten(0, 1), drawn(Processes(), 8))


def test_a_batch_that_cannot_be_shared_is_refused(toy: Path):
    with pytest.raises(OptionError, match="multiple of the 4 processes"):
        train_toy(toy, next(iter(RUNS.values())), Processes(0, 4))


@pytest.mark.slow
def test_one_process_speaks_and_writes(toy: Path, tmp_path: Path):
    output = tmp_path / "out" / "tiny.safetensors"
    words = ("-m", "lsts_edge", "train", "--data", toy, "--output", output, "--preset", "lsts-tiny")
    done = torchrun(*words, "--steps", 2, "--batch", 2, "--video-batch", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("written:") == 1 and done.stderr.count("[2/2]") == 1
    assert "in 2 processes" in done.stderr and "Warning" not in done.stderr
    assert load_checkpoint(output)[1].metadata["processes"] == "2"
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    output.unlink()
    for told in ("stopped at step 1 of 2", "written:"):
        done = torchrun(*words, "--steps", 2, "--batch", 2, "--video-batch", 2, "--minutes", 1e-6, "--resume")
        assert done.returncode == 0 and done.stdout.startswith(told), done.stderr
    assert [path.name for path in output.parent.iterdir()] == [output.name]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--data", "TOY", "--steps", "2", "--batch", "3"), "error[option]: training option batch"),
        (("--data", "TOY", "--steps", "two"), "error[usage]"),
        (("--data", "TOY", "--steps", "2", "--batch", "2", "--resume"), "error[training]: nothing to resume"),
        (("--data", "none.json", "--steps", "2"), "error[annotations]"),
        pytest.param(
            ("--data", "TOY", "--steps", "2", "--device", "cuda"),
            "error[option]: --device cuda",
            marks=pytest.mark.skipif(torch.cuda.device_count() > 1, reason="there is a GPU for each"),
        ),
        (("--data", "DAMAGED", "--steps", "9", "--batch", "2", "--images", "disk"), "bird_03.png: got"),
    ],
    ids=["in all", "before they meet", "in the first", "in reading", "no GPU", "in one, on the way"],
)
def test_an_error_is_told_once(
    toy: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, words: tuple[str, ...], error: str
):
    damaged = write_toy_data(tmp_path_factory.mktemp("damaged"))
    damaged.with_name("bird_03.png").write_bytes(b"no picture")
    given = [{"TOY": toy, "DAMAGED": damaged}.get(word, word) for word in words]
    output = tmp_path / "tiny.safetensors"
    if "--resume" in words:
        output.touch()
    before = list(tmp_path.iterdir())
    done = torchrun("-m", "lsts_edge", "train", *given, "--output", output, "--preset", "lsts-tiny")
    assert done.returncode != 0
    assert done.stderr.count("error[") == 1 and error in done.stderr, done.stderr
    assert list(tmp_path.iterdir()) == before
