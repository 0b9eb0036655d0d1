"""``lsts-edge train`` and ``lsts-edge evaluate`` from end to end, and their answers to bad input."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_data import write_toy_data

from lsts_edge.benchmarks.accuracy.result import AccuracyResult
from lsts_edge.benchmarks.results import read_result
from lsts_edge.errors import TrainingError
from lsts_edge.evaluation.annotations import read_annotations
from lsts_edge.evaluation.bundles import read_image
from lsts_edge.model import VideoLoop, random_network
from lsts_edge.model.checkpoint import load_checkpoint, save_checkpoint
from lsts_edge.model.network import Normalize
from lsts_edge.presets import FIVE_GROUPS, get_preset
from lsts_edge.train.inference import run_checkpoint
from lsts_edge.train.job import JobEnd, TrainJob, run_job
from lsts_edge.train.recipe import DataSource


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_data(tmp_path_factory.mktemp("toy"), frames=5)


def test_train_then_evaluate(lsts_edge_command: Callable, toy: Path, tmp_path: Path):
    output = tmp_path / "tiny.safetensors"
    options = ("--data", toy, "--output", output, "--preset", "lsts-tiny", "--batch", 2, "--video-batch", 2)
    done = lsts_edge_command(
        "train", *options, "--steps", 4, "--seed", 3, "--threads", 1, "--licence", "CC0", "--class-weight", "bird=2"
    )
    assert done.returncode == 0, done.stderr
    assert "[4/4] video" in done.stderr and "it/s" in done.stderr and "loss" in done.stderr
    assert done.stdout.splitlines()[-1].startswith("written:")
    assert not list(tmp_path.glob("*.resume"))
    network, info = load_checkpoint(output)
    assert network.preset == get_preset("lsts-tiny")
    assert info.licence == "CC0"
    assert info.metadata["seed"] == "3" and info.metadata["steps"] == "4"
    assert "toy.json: 10 images, 2 sequences" in info.metadata["data"]
    assert str(tmp_path) not in json.dumps(dict(info.metadata)), "a checkpoint tells nobody's folders"

    done = lsts_edge_command("evaluate", output, toy, "--json", "--threads", 1)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row["keyframe_interval"] == 10 and row["images"] == 10 and row["sequences"] == 2
    assert 0.0 <= row["ap50"] <= 1.0
    assert set(row["ap50_per_class"]) == set(FIVE_GROUPS)
    assert row["ap50_per_class"]["person"] is None

    words = ("--per-frame", "--keyframe-interval", 2, "--keyframe-interval", 10, "--output", tmp_path / "rows.json")
    done = lsts_edge_command("evaluate", output, toy, "--threads", 1, *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("all  ") == 3 and "per frame" in done.stdout and "interval 2" in done.stdout
    result = read_result(tmp_path / "rows.json")
    assert isinstance(result, AccuracyResult) and [r.keyframe_interval for r in result.data.rows] == [None, 2, 10]
    assert result.data.rows[2].ap50 == row["ap50"]
    assert result.data.rows[2].label == "lsts-tiny, torch fp32, interval 10"


def test_what_every_stage_held_out_is_stated(toy: Path, tmp_path: Path):
    def held_out(name: str, init: tuple[str, ...], *hold_out: str) -> tuple[str, ...]:
        options = {"steps": 1, "batch": 1, "video_batch": 1, "warm_start": False}
        file = str(tmp_path / name)
        run_job(TrainJob((DataSource(str(toy)),), file, "lsts-tiny", init=init, hold_out=hold_out, options=options))
        return load_checkpoint(file)[1].held_out

    first, free = (str(tmp_path / name) for name in ("a.safetensors", "b.safetensors"))
    assert held_out("a.safetensors", (), "vehicle") == ("vehicle",)
    assert held_out("b.safetensors", ()) == ()
    assert held_out("c.safetensors", (first,), "vehicle") == ("vehicle",)
    assert held_out("d.safetensors", (first,), "bird") == (), "each was seen by one stage"
    assert held_out("e.safetensors", (free,), "vehicle") == ()
    assert held_out("f.safetensors", (first, first), "vehicle") == ("vehicle",)
    assert held_out("g.safetensors", (first, free), "vehicle") == (), "one of the two saw it"


def test_several_checkpoints_to_start_from_are_averaged(toy: Path, tmp_path: Path):
    """A run of no speed keeps what it starts from: the mean of the two, in the float16 that checkpoints are kept in."""
    files = [str(tmp_path / name) for name in ("a.safetensors", "b.safetensors")]
    for seed, file in enumerate(files):
        network = random_network(get_preset("lsts-tiny"), seed)
        save_checkpoint(network, file, {"licence": "none", "description": "random"})
    options = {
        "steps": 1,
        "batch": 1,
        "video_batch": 1,
        "warm_start": False,
        "learning_rate": 1e-30,
        "backbone_rate": 1e-30,
    }
    output = str(tmp_path / "mean.safetensors")
    run_job(TrainJob((DataSource(str(toy)),), output, "lsts-tiny", init=tuple(files), options=options))
    first, second, mean = (load_checkpoint(file)[0].state_dict() for file in (*files, output))
    for name, value in mean.items():
        torch.testing.assert_close(value, (first[name] + second[name]) / 2, rtol=2e-3, atol=1e-3)
    assert "a.safetensors" in load_checkpoint(output)[1].metadata["start"]


def test_the_same_job_again_and_again_until_it_is_done(toy: Path, tmp_path: Path):
    """By a clock that goes on a minute at each look: once at the start and the end, and after each step."""
    minute = itertools.count(0, 60)
    output, told = tmp_path / "a.safetensors", []
    options = {"steps": 5, "batch": 1, "video_batch": 1}
    job = TrainJob(
        (DataSource(str(toy)),), str(output), "lsts-tiny", threads=1, resume=True, minutes=2.0, options=options
    )
    for step in (2, 4):
        end = run_job(job, lambda what, *_: told.append(what), clock_s=lambda: next(minute))
        assert end == JobEnd(None, step, 5, 3.0)
        assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors.resume"]
    end = run_job(job, clock_s=lambda: next(minute))
    assert (end.checkpoint, end.step) == (output, 5) and list(tmp_path.iterdir()) == [output]
    assert told.count("no a.safetensors.resume yet: starts at step 0") == 1

    whole = str(tmp_path / "whole.safetensors")
    run_job(dataclasses.replace(job, output=whole, resume=False, minutes=None))
    ours, theirs = (load_checkpoint(Path(file))[0].state_dict() for file in (output, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)

    before = output.read_bytes()
    with pytest.raises(TrainingError, match="nothing to resume"):
        run_job(job)
    assert output.read_bytes() == before, "what is done is not done again"


def test_a_stopped_command_says_how_to_go_on(lsts_edge_command: Callable, toy: Path, tmp_path: Path):
    words = ("--data", toy, "--output", tmp_path / "a.safetensors", "--preset", "lsts-tiny", "--threads", 1)
    done = lsts_edge_command("train", *words, "--steps", 9, "--batch", 1, "--minutes", 1e-6)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "stopped at step 1 of 9 after 0.0 minutes; the same command with --resume goes on\n"


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (("--data", "none.json", "--output", "x.safetensors", "--steps", "1"), "annotations", 2),
        (("--data", "TOY", "--output", "x.bin", "--steps", "1"), "option", 2),
        (("--data", "TOY", "--output", "x.safetensors", "--steps", "0"), "option", 2),
        (("--data", "TOY", "--output", "x.safetensors", "--steps", "1", "--class-weight", "teapot=2"), "option", 2),
        (("--data", "TOY", "--output", "x.safetensors", "--steps", "1", "--hold-out", "teapot"), "option", 2),
        (("--data", "TOY", "--output", "x.safetensors", "--steps", "1", "--device", "abacus"), "option", 2),
        (("--data", "TOY", "--output", "x.safetensors", "--steps", "1", "--minutes", "0"), "option", 2),
    ],
)
def test_bad_train_command_is_one_line(
    lsts_edge_command: Callable, toy: Path, tmp_path: Path, arguments: tuple[str, ...], code: str, status: int
):
    words = [toy if word == "TOY" else word for word in arguments]
    done = lsts_edge_command("train", "--preset", "lsts-tiny", *words, cwd=tmp_path)
    assert done.returncode == status
    assert done.stderr.strip().splitlines()[-1].startswith(f"error[{code}]")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir()), "nothing half-written"


def test_bad_evaluate_command_is_one_line(lsts_edge_command: Callable, toy: Path, tmp_path: Path):
    done = lsts_edge_command("evaluate", tmp_path / "none.safetensors", toy)
    assert (done.returncode, done.stderr.splitlines()[-1].split(":")[0]) == (7, "error[checkpoint]")
    done = lsts_edge_command("evaluate", tmp_path / "x", toy, "--keyframe-interval", 5, "--keyframe-interval", 0)
    assert (done.returncode, done.stderr.splitlines()[-1].split(":")[0]) == (2, "error[option]")


def test_side_by_side_sequences_equal_the_reference_loop(toy: Path, tmp_path: Path):
    """Two clips of unlike length in one batch give what the loop gives for each alone, and so do single sequences."""
    folder = Path(shutil.copytree(toy.parent, tmp_path / "toy"))
    data = json.loads((folder / "toy.json").read_text())
    data["images"] = [image for image in data["images"] if image["id"] != 10]
    (folder / "toy.json").write_text(json.dumps(data))
    annotations = read_annotations(folder / "toy.json", FIVE_GROUPS)
    preset = get_preset("lsts-tiny")
    together = run_checkpoint(random_network(preset, 0), annotations, keyframe_interval=3, batch=4)
    alone = run_checkpoint(random_network(preset, 0), annotations, keyframe_interval=3, batch=1)
    network, normalize = random_network(preset, 0), Normalize(preset.input)
    assert len(together) == 9
    boxes = 0
    for records in annotations.sequences().values():
        loop = VideoLoop(network)
        for index, record in enumerate(records):
            image = torch.from_numpy(read_image(record))[None]
            wanted = loop.step(normalize(image), index % 3 == 0)
            boxes += len(wanted["scores"])
            for found in (together[record.image_id], alone[record.image_id]):
                np.testing.assert_allclose(found.scores, wanted["scores"].numpy(), atol=1e-5)
                expected = wanted["boxes"].numpy() + np.array([0, 0, 1, 1])
                np.testing.assert_allclose(found.xyxy_px, expected, atol=1e-2)
    assert boxes > 20


def test_per_frame_has_no_memory(toy: Path):
    annotations = read_annotations(toy, FIVE_GROUPS)
    preset = get_preset("lsts-tiny")
    per_frame = run_checkpoint(random_network(preset, 0), annotations, keyframe_interval=None)
    with_memory = run_checkpoint(random_network(preset, 0), annotations, keyframe_interval=1)
    first, *others = annotations.sequences()["bird"]
    np.testing.assert_allclose(per_frame[first.image_id].scores, with_memory[first.image_id].scores, atol=1e-6)
    assert any(
        len(per_frame[r.image_id].scores) != len(with_memory[r.image_id].scores)
        or np.abs(per_frame[r.image_id].scores - with_memory[r.image_id].scores).max() > 1e-3
        for r in others
    )


def test_half_checkpoint_evaluates_like_the_network(tmp_path: Path, toy: Path):
    network = random_network(get_preset("lsts-tiny"), 0)
    save_checkpoint(network, tmp_path / "a.safetensors", {"licence": "CC0", "description": "test"}, half=True)
    loaded, _ = load_checkpoint(tmp_path / "a.safetensors")
    annotations = read_annotations(toy, FIVE_GROUPS)
    a = run_checkpoint(network, annotations, keyframe_interval=None)
    b = run_checkpoint(loaded, annotations, keyframe_interval=None)
    best = [(a[key].scores[0], b[key].scores[0]) for key in a]
    np.testing.assert_allclose([x for x, _ in best], [y for _, y in best], atol=0.02)
