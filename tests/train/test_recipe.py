"""Recipes: data in shares, strict files, and nothing held out is ever trained on, the weights in the tree included."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from toy_data import write_toy_data

from lsts_edge.datasets.render.render_set import LICENCE
from lsts_edge.errors import AnnotationError, OptionError
from lsts_edge.evaluation.annotations import read_annotations
from lsts_edge.model.checkpoint import load_checkpoint
from lsts_edge.presets import FIVE_GROUPS, get_preset
from lsts_edge.train.augment import sample_triplets
from lsts_edge.train.defaults import options_for
from lsts_edge.train.held_out import held_out_names, refuse_held_out
from lsts_edge.train.recipe import read_recipe
from lsts_edge.train.store import ImageStore

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "examples" / "recipes").glob("*.json"))
LIST = ROOT / "benchmarks" / "held_out_clips.txt"


@pytest.fixture
def two_sources(tmp_path: Path) -> tuple[Path, Path]:
    """Labels of people, and a detector's on every third frame, of half trust."""
    labelled, taught = tmp_path / "labelled", tmp_path / "taught"
    for folder in (labelled, taught):
        folder.mkdir()
    first, second = write_toy_data(labelled), write_toy_data(taught)
    content = json.loads(second.read_text())
    for video in content["videos"]:
        video["name"] = f"clip of a {video['name']}.mp4"
    for image in content["images"]:
        image["frame_id"] *= 3
    for row in content["annotations"]:
        row["score"] = 0.5
    second.write_text(json.dumps(content))
    return first, second


def _store(*paths: Path) -> ImageStore:
    return ImageStore.load([read_annotations(p, FIVE_GROUPS) for p in paths], color_order="bgr", max_side_px=96)


def _recipe(folder: Path, **changed: object) -> Path:
    path = folder / "recipe.json"
    sources = [{"data": "labelled/toy.json", "share": 1}, {"data": "taught/toy.json", "share": 3, "licence": "CC0"}]
    content = {"preset": "lsts-tiny", "licence": "research use only", "sources": sources,
               "options": {"steps": 2, "batch": 2, "video_batch": 2, "class_balance": 0.5}}  # fmt: skip
    path.write_text(json.dumps({**content, **changed}))
    return path


def test_sources_get_their_shares(two_sources: tuple[Path, Path]):
    store = _store(*two_sources)
    weights = store.sampling_weights({}, 0.35, shares=[1, 3])
    drawn = [float(weights[store.source == place].sum()) for place in (0, 1)]
    assert drawn == pytest.approx([0.25, 0.75])
    counts = torch.bincount(
        store.source[torch.multinomial(weights, 4000, True, generator=torch.Generator().manual_seed(0))]
    )
    assert 0.72 < counts[1] / 4000 < 0.78


def test_balance_between_even_classes_and_how_often_they_occur(two_sources: tuple[Path, Path]):
    store = _store(two_sources[0])
    bird = ((store.labels == FIVE_GROUPS.index("bird")) & ~store.ignore).any(1)
    store.labels[bird.nonzero()[2:, 0]] = -1  # two pictures with a bird against eight with a vehicle
    bird = (store.labels == FIVE_GROUPS.index("bird")).any(1)
    vehicle = (store.labels == FIVE_GROUPS.index("vehicle")).any(1)
    for balance, ratio in ((1.0, 1.0), (0.5, 0.5), (0.0, 0.25)):  # (2 / 8) ** (1 - balance)
        weights = store.sampling_weights({}, 0.35, balance=balance)
        assert float(weights[bird].sum() / weights[vehicle].sum()) == pytest.approx(ratio)


def test_triplets_count_frames_of_the_video_not_stored_ones(two_sources: tuple[Path, Path]):
    store = _store(*two_sources)
    taught = store.source == 1
    assert store.frame.tolist() == [*range(8)] * 2 + [*range(0, 24, 3)] * 2
    weights = taught.float() / taught.sum()
    _, new, current = sample_triplets(store, weights, 300, 6, torch.Generator().manual_seed(0)).unbind(1)
    assert int((current - new).max()) == 2  # at most 6 frames, 3 apart


def test_trust_goes_with_the_boxes(two_sources: tuple[Path, Path]):
    store = _store(*two_sources)
    real = (store.labels >= 0) & ~store.ignore
    assert store.trust[real & (store.source == 0)[:, None]].eq(1).all()
    assert store.trust[real & (store.source == 1)[:, None]].eq(0.5).all()


def test_more_names_go_into_the_groups(tmp_path: Path):
    path = tmp_path / "zoo.json"
    names = ["dog", "llama", "giant panda"]
    boxes = [{"image_id": 1, "category_id": n, "bbox": [10 * n, 0, 9, 9]} for n in range(3)]
    content = {"images": [{"id": 1, "file_name": "a.jpg", "height": 32, "width": 32}], "annotations": boxes,
               "categories": [{"id": n, "name": name} for n, name in enumerate(names)]}  # fmt: skip
    path.write_text(json.dumps(content))
    groups = {"llama": "quadruped", "giant panda": ""}
    (record,) = read_annotations(path, FIVE_GROUPS, groups).images
    assert record.labels[~record.ignore].tolist() == [FIVE_GROUPS.index("quadruped")] * 2
    assert record.boxes_xyxy_px[record.ignore].tolist() == [[20, 0, 29, 9]]


def test_trained_by_a_recipe(lsts_edge_command: Callable, two_sources: tuple[Path, Path], tmp_path: Path):
    output = tmp_path / "tiny.safetensors"
    words = ["train", "--recipe", str(_recipe(tmp_path)), "--root", str(tmp_path), "--output", str(output)]
    done = lsts_edge_command(*words, "--seed", "3", "--threads", "1")
    assert done.returncode == 0, done.stderr
    _, info = load_checkpoint(output)
    assert info.licence == "research use only" and info.metadata["seed"] == "3"
    assert "taught/toy.json: 16 images, 2 sequences, share 3, CC0" in info.metadata["data"]
    names = ["bird", "clip of a bird.mp4", "clip of a vehicle.mp4", "vehicle"]
    assert json.loads(info.metadata["sequences"]) == names


def test_a_recipe_may_choose_a_variant(lsts_edge_command: Callable, two_sources: tuple[Path, Path], tmp_path: Path):
    recipe = _recipe(tmp_path, choices={"row": "c", "alignment": "match-trans"})
    assert read_recipe(recipe).choices == {"row": "c", "alignment": "match-trans"}
    output = tmp_path / "w.safetensors"
    words = ("--recipe", recipe, "--root", tmp_path, "--output", output, "--variant", "srfu=mean", "--threads", 1)
    done = lsts_edge_command("train", *words)
    assert done.returncode == 0, done.stderr
    preset = load_checkpoint(output)[1].preset
    assert (preset.alignment, preset.srfu, preset.dfa, preset.transform) == ("match-trans", "mean", "off", ())


@pytest.mark.parametrize("name", ["clip of a bird.mp4", "taught"], ids=["a clip", "a folder"])
def test_what_is_held_out_stops_the_run(
    lsts_edge_command: Callable, two_sources: tuple[Path, Path], tmp_path: Path, name: str
):
    (tmp_path / "held.txt").write_text(f"# not these\n[clips]\n{name}\n")
    recipe = _recipe(tmp_path, must_not_see="held.txt")
    output = tmp_path / "tiny.safetensors"
    done = lsts_edge_command("train", "--recipe", str(recipe), "--root", str(tmp_path), "--output", str(output))
    assert done.returncode == 2 and done.stderr.startswith("error[option]: training data that is held out")
    assert name in done.stderr and not output.exists()


def test_shots_of_a_held_out_clip_are_held_out():
    with pytest.raises(OptionError, match="held out"):
        refuse_held_out({"a.mp4"}, ["b.mp4", "a.mp4 shot 2"], [])
    refuse_held_out({"a.mp4"}, ["b.mp4 shot 1", "aa.mp4"], [Path("x/labels.json")])


@pytest.mark.parametrize(
    "changed",
    [{"sources": []}, {"surprise": 1}, {"sources": [{"data": "a"}, {"data": "b", "share": 1}]},
     {"sources": [{"data": "a", "share": -1}]}, {"options": {"augmentation": {"none": 1}}}, {"sources": [{"file": 1}]}],
    ids=["no source", "unknown field", "half of the shares", "negative", "unknown option", "unknown field of a source"],
)  # fmt: skip
def test_wrong_recipe_is_refused(tmp_path: Path, changed: dict[str, object]):
    with pytest.raises(OptionError, match="recipe"):
        read_recipe(_recipe(tmp_path, **changed))


def test_neither_or_both_of_data_and_recipe_are_refused(lsts_edge_command: Callable, tmp_path: Path):
    for words in ([], ["--data", "a.json", "--recipe", "b.json"]):
        done = lsts_edge_command("train", "--output", str(tmp_path / "a.safetensors"), *words)
        assert done.returncode == 2 and done.stderr.startswith("error[option]: --data, --recipe")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_in_the_tree_can_be_read_and_name_what_is_held_out(path: Path):
    recipe = read_recipe(path)
    options_for(get_preset(recipe.preset), recipe.options)
    assert recipe.must_not_see is not None
    assert (path.parent / recipe.must_not_see).resolve() == LIST
    if path.stem != "lsts-lite-open":
        assert "research use" in recipe.licence


def test_the_open_recipe_takes_what_it_may_and_nothing_else():
    recipe = read_recipe(ROOT / "examples" / "recipes" / "lsts-lite-open.json")
    assert all(source.licences for source in recipe.sources)
    stated = " ".join([recipe.licence, *(text for source in recipe.sources for text in source.licences)])
    assert not re.search(r"research|non-commercial|NC|uploader|not stated", stated)
    assert recipe.sources[0].licences == (LICENCE,)


def test_only_images_under_the_licences_asked_for(tmp_path: Path):
    path = write_toy_data(tmp_path)
    content = json.loads(path.read_text()) | {"info": {"licence": "of the file"}}
    content["videos"][0]["licence"] = "of the video"
    content["images"][0]["licence"] = "of the image"
    path.write_text(json.dumps(content))
    truth = read_annotations(path, FIVE_GROUPS)
    assert truth.licensed(()) == truth and len(truth.images) == 16
    counts = {name: len(truth.licensed([f"of the {name}"]).images) for name in ("image", "video", "file")}
    assert counts == {"image": 1, "video": 7, "file": 8}
    assert len(truth.licensed(["of the image", "of the video"]).images) == 8
    with pytest.raises(AnnotationError, match="of nobody"):
        truth.licensed(["of the file", "of nobody"])


def test_the_paper_s_recipe_is_four_epochs_of_eight_at_a_time():
    recipe = read_recipe(ROOT / "examples" / "recipes" / "lsts-r101-imagenet-vid.json")
    options = options_for(get_preset(recipe.preset), recipe.options)
    videos, stills = 3862 * 15, 53639
    assert options.steps == pytest.approx(4 * (videos + stills) / options.video_batch, rel=2e-3)
    assert options.still_fraction == pytest.approx(stills / (videos + stills), abs=2e-3)
    assert options.detector_steps == 0 and options.optimizer == "sgd" and options.bypass and options.images == "disk"


def test_the_list_of_what_is_held_out():
    names = held_out_names(LIST)
    assert len([name for name in names if name.endswith(".mp4")]) == 40 + 4 and "coco256" in names
    assert {"bikes.mp4", "cockatoo.mp4", "bottle-detection.mp4", "vtest.avi"} <= names


def stages_of(stated: dict[str, str]) -> Iterator[dict[str, str]]:
    """Every training run behind a checkpoint, as it was stated: several where a mean was gone on from."""
    yield stated
    earlier = json.loads(stated.get("earlier") or "[]")
    for one in earlier if isinstance(earlier, list) else [earlier]:
        yield from stages_of(one)


def test_the_shipped_weights_have_not_seen_it():
    _, info = load_checkpoint(ROOT / "examples" / "weights" / "lsts-lite.safetensors")
    assert "research use only" in info.licence
    # The first of all, which examples/weights/README.md tells of, states no sequences: it came before the list.
    stages = [stage for stage in stages_of(dict(info.metadata)) if "sequences" in stage]
    assert len(stages) > 1
    for stage in stages:
        trained_on = json.loads(stage["sequences"])
        assert len(trained_on) > 200 and "coco256" not in stage["data"]
        refuse_held_out(held_out_names(LIST), trained_on, [])
        assert not set(info.held_out) & set(trained_on)
