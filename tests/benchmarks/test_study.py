"""The study: its recipes, its intervals, and a whole small one on toy data, interrupted and gone on with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from blob_detector import blob_detector
from click.testing import CliRunner
from toy_data import write_toy_data

pytest.importorskip("torch")
pytest.importorskip("pycocotools")

from lsts_edge.benchmarks.accuracy import study_rows
from lsts_edge.benchmarks.accuracy.detections_store import load_boxes, save_boxes
from lsts_edge.benchmarks.accuracy.recipes import TABLES, read_comparisons, read_recipes, row_choices
from lsts_edge.benchmarks.accuracy.study import PaperStudy, StudyOptions, paired_seeds
from lsts_edge.benchmarks.accuracy.study_result import StudyResult, StudyTableRow
from lsts_edge.benchmarks.accuracy.study_statistics import Draws
from lsts_edge.benchmarks.accuracy.study_tables import same_work, study_markdown, study_text
from lsts_edge.benchmarks.detector_boxes import run_detector
from lsts_edge.benchmarks.results import read_result, write_result
from lsts_edge.boxes import Boxes
from lsts_edge.cli.train import command as train_command
from lsts_edge.errors import OptionError
from lsts_edge.evaluation.annotations import read_annotations
from lsts_edge.evaluation.metrics import Matches, mean_ap
from lsts_edge.model import random_network
from lsts_edge.model.build import bare_network
from lsts_edge.model.checkpoint import load_checkpoint, save_checkpoint
from lsts_edge.presets import get_preset
from lsts_edge.train.frozen_training import FrozenOptions
from lsts_edge.variants import varied


def test_every_row_can_be_built_and_every_claim_names_rows():
    recipes = read_recipes()
    rows = {recipe.row for recipe in recipes}
    assert len(rows) == len(recipes) > 40
    assert {recipe.table for recipe in recipes} == set(TABLES)
    preset = get_preset("lsts-lite")
    for recipe in recipes:
        assert recipe.kind == "not-built" or not recipe.why_not
        if recipe.kind == "trained":
            network = bare_network(recipe.preset(preset))
            assert network.preset.alignment == recipe.variant.get("alignment", "lsts")
    for claim in read_comparisons():
        assert {claim.first, claim.second} <= rows, claim.claim
    with pytest.raises(OptionError, match="rfcn-r101"):
        next(r for r in recipes if r.kind == "trained").preset(get_preset("rfcn-r101"))


def test_every_trained_row_can_be_trained_in_full(tmp_path: Path):
    """One step of ``lsts-tiny`` by a recipe, with the row's choices: the checkpoint is of that network."""
    write_toy_data(tmp_path, frames=3)
    options = {"steps": 1, "batch": 1, "video_batch": 1, "video_fraction": 1.0, "warm_start": False}
    recipe = {"preset": "lsts-tiny", "licence": "CC0", "sources": [{"data": "toy.json"}], "options": options}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    output = tmp_path / "tiny.safetensors"
    words = ["--recipe", f"{tmp_path / 'recipe.json'}", "--root", f"{tmp_path}", "--output", f"{output}"]
    rows = {recipe.row: recipe for recipe in read_recipes()}
    for name in [*(row.row for row in rows.values() if row.kind == "trained"), "table-3-2-match-trans"]:
        done = CliRunner().invoke(train_command, [*words, "--threads", "1", "--study-row", name])
        assert done.exit_code == 0, (name, done.output, done.exception)
        row = rows[rows[name].of or name]
        assert load_checkpoint(output)[1].preset == row.preset(get_preset("lsts-tiny")), name
    alone = CliRunner().invoke(train_command, [*words, "--study-row", "table-2-flow-c", "--alignment", "copy"])
    assert alone.exit_code == 0 and load_checkpoint(output)[1].preset.alignment == "copy", "the command line wins"
    for name in ("table-1-1-rfcn", "ways-hold-10", "teapot"):
        with pytest.raises(OptionError, match="table-3-1-non-local"):
            row_choices(name)
    dcn = varied(get_preset("lsts-r101"), row_choices("table-1-5-ours-dcn"))
    assert dcn.backbone.deformable, "what no weights are at hand for can be trained too"


def test_recipes_that_lead_nowhere_are_refused(tmp_path: Path):
    with pytest.raises(OptionError, match="none in"):
        read_recipes(tmp_path)
    recipe = {"row": "a", "table": "table-3", "label": "a", "kind": "same-as", "of": "b"}
    (tmp_path / "a.json").write_text(json.dumps(recipe))
    with pytest.raises(OptionError, match="of b"):
        read_recipes(tmp_path)
    (tmp_path / "a.json").write_text(json.dumps(recipe | {"table": "table-9"}))
    with pytest.raises(OptionError, match="table-9"):
        read_recipes(tmp_path)


def found(scores: list[float], correct: list[bool], positives: int) -> Matches:
    return Matches(np.array(scores), np.array(correct, bool), np.zeros(len(scores), bool), positives)


def test_a_draw_is_the_mean_ap_of_the_drawn_sequences():
    nothing = found([], [], 0)
    sequences = {
        "a": [found([0.9, 0.5], [True, False], 1), nothing],
        "b": [found([0.8, 0.7], [False, True], 2), found([0.6], [True], 1)],
        "c": [nothing, found([0.4], [False], 1)],
    }
    drawn = Draws(3, resamples=40, seed=3).of(sequences)
    which = np.random.RandomState(3).randint(0, 3, (40, 3))
    names = list(sequences)
    expected = [mean_ap([sequences[names[index]] for index in draw]) for draw in which]
    np.testing.assert_allclose(drawn, expected, atol=1e-12)


def test_intervals_hold_sequences_and_seeds():
    draws = Draws(5, resamples=500)
    steady, other = np.linspace(0.4, 0.6, 500), np.linspace(0.4, 0.6, 500) + 0.1
    low, high = draws.interval([steady])
    assert (low, high) == pytest.approx((0.405, 0.595), abs=1e-3)
    assert draws.interval([other - steady]) == pytest.approx((0.1, 0.1))
    low, high = draws.interval([np.full(500, 0.1), np.full(500, 0.3)])
    assert (low, high) == pytest.approx((0.1, 0.3)), "two seeds that disagree widen it"


def test_trained_rows_are_compared_on_the_seeds_that_both_have():
    assert paired_seeds({0, 1, 2}, {0}, both_trained=True) == [(0, 0)], "one seed says nothing of how seeds differ"
    assert paired_seeds({0, 1, 2}, {1, 2, 3}, both_trained=True) == [(1, 1), (2, 2)]
    assert paired_seeds({0, 1, 2}, {0}, both_trained=False) == [(0, 0), (1, 0), (2, 0)], "it has no seed of its own"
    assert paired_seeds({0}, set(), both_trained=False) == []


def test_boxes_come_back(tmp_path: Path):
    boxes = Boxes(np.array([[1, 2, 3, 4], [5, 6, 7, 9]], np.float32), np.array([0.5, 0.25]), np.array([1, 0]))
    save_boxes(tmp_path / "x.npz", {7: boxes, 3: Boxes.empty()})
    again = load_boxes(tmp_path / "x.npz")
    assert again[7] == boxes and len(again[3]) == 0 and sorted(again) == [3, 7]


ROWS = {
    "full": {"kind": "trained", "table": "table-4", "interval": 2, "paper_map": 77.2},
    "still": {"kind": "trained", "table": "table-4", "variant": {"alignment": "copy"}, "interval": 2},
    "again": {"kind": "same-as", "table": "table-3", "of": "full", "interval": 2},
    "every-4": {"kind": "schedule", "table": "intervals", "of": "full", "interval": 4},
    "smooth": {"kind": "seq-nms", "table": "table-1", "of": "full", "interval": 2},
    "alone": {"kind": "per-frame", "table": "table-1"},
    "held": {"kind": "hold", "table": "ways", "interval": 2},
    "peer": {"kind": "detections", "table": "peers"},
    "never": {
        "kind": "not-built",
        "table": "table-1",
        "variant": {"deformable": "true"},
        "why_not": "no such network",
    },
}
CLAIMS = [
    {"claim": "moving helps", "first": "again", "second": "still", "paper_points": 1.0},
    {"claim": "a peer is better", "first": "peer", "second": "full"},
    {"claim": "better than alone", "first": "full", "second": "alone"},
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toy data to train and to measure on, whose sequences have other names, a checkpoint, recipes and claims."""
    folder = tmp_path_factory.mktemp("study")
    for name, seed in (("train", 0), ("val", 1)):
        (folder / name).mkdir()
        path = write_toy_data(folder / name, frames=5, seed=seed)
        data = json.loads(path.read_text())
        for video in data["videos"]:
            video["name"] = f"{name}-{video['name']}"
        for entry in data["annotations"]:
            entry["instance_id"] = entry["category_id"]
        path.write_text(json.dumps(data))
    save_checkpoint(
        random_network(get_preset("lsts-tiny"), 0),
        folder / "tiny.safetensors",
        {"licence": "CC0", "description": "toy"},
    )
    (folder / "rows").mkdir()
    for row, recipe in ROWS.items():
        (folder / "rows" / f"{row}.json").write_text(json.dumps({"row": row, "label": f"the row {row}", **recipe}))
    (folder / "claims.json").write_text(json.dumps({"comparisons": CLAIMS}))
    return folder


def options(made: Path, folder: Path, **others: object) -> StudyOptions:
    return StudyOptions(
        checkpoint=made / "tiny.safetensors",
        train=made / "train" / "toy.json",
        validation=made / "val" / "toy.json",
        folder=folder,
        training=FrozenOptions(steps=2, batch=2, segment=2),
        resamples=50,
        recipes=made / "rows",
        comparisons=made / "claims.json",
        note="Rectangles on noise.",
        **{"seeds": (0, 1), **others},  # type: ignore[arg-type]
    )


def test_a_row_of_the_peers_is_run_from_its_onnx_file(made: Path, tmp_path: Path):
    onnx = pytest.importorskip("onnx")
    detector = blob_detector(tmp_path / "peer.onnx")
    model = onnx.load(detector)
    onnx.helper.set_model_props(model, {"names": str(["person", "bird"])})
    onnx.save(model, detector)
    study = PaperStudy(options(made, tmp_path / "runs", rows=("peer",), given={"peer": detector}), "the command")
    study.run()
    row = next(row for row in study.result().data.rows if row.row == "peer")
    truth = read_annotations(made / "val" / "toy.json", get_preset("lsts-tiny").head.classes)
    found = run_detector(detector, truth)[0]
    kept = load_boxes(next((tmp_path / "runs").glob("runs/peer-*/only/*.npz")))
    assert kept == found and sum(map(len, found.values())) > 0
    assert row.ap50 is not None and len(row.runs) == 1


def test_ours_stands_beside_what_the_same_work_buys_otherwise():
    """Every frame costs 100: ours at 10 costs 30, flow at 5 20, holding at 2 50, which is too much."""

    def row(name: str, table: str, interval: int | None, work: int, ap50: float | None) -> StudyTableRow:
        return StudyTableRow(name, table, name, interval, None, 1, work, (), "", ap50, None, None)

    rows = (
        row("alone", "table-1", None, 100, 0.6),
        row("intervals-10", "intervals", 10, 30, 0.4),
        row("intervals-20", "intervals", 20, 20, None),
        row("ways-hold-02", "ways", 2, 50, 0.59),
        row("ways-hold-05", "ways", 5, 20, 0.45),
        row("ways-flow-boxes-05", "ways", 5, 20, 0.5),
    )
    said = same_work(rows)
    # Moving may cost (0.30 - 0.20) of a detector's frame, and is done on 4 of 5 frames: from 8 times its cost on.
    assert "| intervals-10 | 0.30 | 0.400 | ways-flow-boxes-05 | 0.20 | 0.500 | the rival | 8.0 x |" in said
    assert "intervals-20" not in said and "pays on none of them" in said
    better = (*rows[:1], dataclasses.replace(rows[1], ap50=0.55), *rows[2:])
    assert "| ours | 8.0 x |" in same_work(better) and "pays on none" not in same_work(better)
    assert same_work(rows[1:]) == same_work(rows[:3]) == ""


def test_a_small_study_from_end_to_end(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = PaperStudy(options(made, tmp_path, rows=("again",), seeds=(0,)), "the command")
    assert [recipe.row for recipe in first.chosen()] == ["again", "full"]
    first.run()
    part = {row.row: row for row in first.result().data.rows}
    assert part["again"].runs == part["full"].runs and len(part["full"].runs) == 1
    assert part["still"].why_not == "not run yet" and part["still"].ap50 is None

    written = []
    study = PaperStudy(options(made, tmp_path), "the command")
    study.run(lambda: written.append(None))
    assert len(written) == 9, "still, every-4 and smooth with both seeds, full with the second; alone and held once"
    result = study.result()
    rows = {row.row: row for row in result.data.rows}
    assert [run.seed for run in rows["full"].runs] == [0, 1] == [run.seed for run in rows["every-4"].runs]
    assert len(rows["alone"].runs) == 1 and rows["alone"].interval is None
    assert rows["full"].runs[0].ap50_by_distance.keys() == {"0", "1"}
    assert rows["full"].offsets is not None and sum(rows["full"].offsets.learned_x) == pytest.approx(1, abs=1e-2)
    assert rows["still"].offsets is None and rows["still"].parameters < rows["full"].parameters  # type: ignore[operator]
    assert (rows["peer"].why_not, rows["never"].why_not) == ("no detections given", "no such network")
    assert 0 < rows["full"].multiply_adds < rows["alone"].multiply_adds  # type: ignore[operator]
    assert rows["every-4"].multiply_adds < rows["full"].multiply_adds  # type: ignore[operator]
    assert rows["held"].multiply_adds == rows["alone"].multiply_adds // 2  # type: ignore[operator]
    claims = {claim.claim: claim for claim in result.data.claims}
    assert (claims["moving helps"].seeds, claims["better than alone"].seeds) == (2, 2)
    assert claims["a peer is better"].verdict == "not run" and claims["a peer is better"].points is None

    write_result(tmp_path / "study.json", result)
    read = read_result(tmp_path / "study.json")
    assert isinstance(read, StudyResult) and read.data == result.data
    markdown = study_markdown(read, "study-toy.json")
    assert "comparisons on val/toy.json" in markdown and "`benchmarks/results/study-toy.json`" in markdown
    assert "| the row never | not run | - | - | - | - | - | - |" in markdown
    assert "| never | the row never | no such network |" in markdown and "the command --tables table-4" in markdown
    assert "77.2" in markdown and "\n\nRectangles on noise.\n\n" in markdown and str(tmp_path) not in markdown
    assert study_text(read).splitlines()[-1] == "7 of 9 rows run"

    def must_not_run(*arguments: object, **words: object) -> None:
        raise AssertionError("trained again")

    for interrupted in tmp_path.glob("runs/full-*/seed-1/*"):
        if interrupted.name not in ("weights.pt", "trained.json"):
            interrupted.unlink()
    monkeypatch.setattr(study_rows, "train_on_features", must_not_run)
    again = PaperStudy(options(made, tmp_path), "the command")
    ran = []
    again.run(lambda: ran.append(None))
    assert len(ran) == 1, "the run that was interrupted after its training"
    assert again.result().data == result.data


def test_what_cannot_be_asked_for(made: Path, tmp_path: Path):
    with pytest.raises(OptionError, match="teapot"):
        PaperStudy(options(made, tmp_path, rows=("teapot",)), "")
    with pytest.raises(OptionError, match="none in both"):
        both = options(made, tmp_path)
        PaperStudy(StudyOptions(both.checkpoint, both.train, both.train, tmp_path), "")


@pytest.mark.slow
def test_the_command_lists_and_writes(lsts_edge_command: Callable, made: Path, tmp_path: Path):
    words = ("--train", made / "train" / "toy.json", "--validation", made / "val" / "toy.json", "--threads", 1)
    files = ("--checkpoint", made / "tiny.safetensors", "--folder", tmp_path / "study")
    done = lsts_edge_command("bench", "study", *words, *files, "--list")
    assert done.returncode == 0, done.stderr
    assert "table-2-ours-g" in done.stdout and done.stdout.splitlines()[-1].startswith("0 of ")
    run = ("--rows", "ways-hold-02", "--output", tmp_path / "s.json", "--output", tmp_path / "s.md")
    done = lsts_edge_command("bench", "study", *words, *files, *run)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("1 of ")
    assert isinstance(read_result(tmp_path / "s.json"), StudyResult)
    page = (tmp_path / "s.md").read_text()
    assert "## Not run" in page and "`benchmarks/results/s.json`" in page
    assert (
        "bench study --train train/toy.json --validation val/toy.json --checkpoint tiny.safetensors --seeds 3" in page
    )
    done = lsts_edge_command("bench", "study", *words, *files, "--detections", "peers-picodet-s")
    assert (done.returncode, done.stderr.split(":")[0]) == (2, "error[option]")
