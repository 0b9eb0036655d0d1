"""A pack: the same layout with smaller pictures and scaled boxes, within its budget, and trained from as it is."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from toy_data import write_toy_data

from lsts_edge.cli.data.pack import command
from lsts_edge.errors import AnnotationError, FileUnwritable, OptionError
from lsts_edge.evaluation.annotations import AnnotationSet, read_annotations
from lsts_edge.model.checkpoint import CheckpointInfo, load_checkpoint
from lsts_edge.presets import FIVE_GROUPS, get_preset
from lsts_edge.train.job import TrainJob, run_job
from lsts_edge.train.pack import PackOptions, pack_training
from lsts_edge.train.recipe import located, read_recipe

MIB = 1 << 20
SIDE_PX = max(get_preset("lsts-tiny").input.height_px, get_preset("lsts-tiny").input.width_px)


def write_stills(folder: Path, count: int = 12) -> Path:
    """Twice as large as the preset's pictures, noise, as COCO writes them: no videos, COCO's names and one more."""
    random, size = np.random.default_rng(0), 2 * SIDE_PX
    names = {1: "person", 3: "car", 18: "dog", 99: "llama"}
    content: dict[str, Any] = {"info": {"licence": "CC0-1.0"}, "images": [], "annotations": [],
                               "categories": [{"id": n, "name": name} for n, name in names.items()]}  # fmt: skip
    for number in range(count):
        file, image_id = f"{number:03d}.png", 1000 + number
        cv2.imwrite(str(folder / file), random.integers(0, 255, (size // 2, size, 3), np.uint8))
        content["images"].append({"id": image_id, "file_name": file, "height": size // 2, "width": size})
        box = {"image_id": image_id, "category_id": 99 if number % 2 else 3, "bbox": [20, 10, 41, 21]}
        content["annotations"] += [{**box, "score": 0.5}, {**box, "category_id": 1, "iscrowd": 1}]
    content["images"][0]["licence"] = "CC BY 2.0"
    path = folder / "stills.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("clips", "stills"):
        (tmp_path / "data" / name).mkdir(parents=True)
    write_toy_data(tmp_path / "data" / "clips", frames=12)
    write_stills(tmp_path / "data" / "stills")
    return tmp_path / "data"


def write_recipe(root: Path, share: float = 1, **changed: object) -> Path:
    """Beside the root; the list of what must not be seen lies yet elsewhere."""
    (root.parent / "lists").mkdir(exist_ok=True)
    (root.parent / "lists" / "held.txt").write_text("# not these\nheld-out.mp4\n")
    sources = [{"data": "clips/toy.json", "share": share, "hold_out": ["vehicle"]},
               {"data": "stills/stills.json", "share": 3, "groups": {"llama": "quadruped"},
                "licences": ["CC0-1.0", "CC BY 2.0"]}]  # fmt: skip
    content = {"preset": "lsts-tiny", "licence": "CC0-1.0", "must_not_see": "lists/held.txt", "sources": sources,
               "options": {"steps": 1, "batch": 2, "video_fraction": 0.0}}  # fmt: skip
    path = root.parent / "toy-recipe.json"
    path.write_text(json.dumps({**content, **changed}))
    return path


def size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def read(folder: Path, name: str, groups: dict[str, str] | None = None) -> AnnotationSet:
    return read_annotations(folder / name, FIVE_GROUPS, groups)


def test_a_pack_with_room_holds_everything_in_the_size_of_training(root: Path, tmp_path: Path):
    packed = pack_training(write_recipe(root), root, tmp_path / "pack")
    assert [(one.images, one.of_images, one.sequences, one.of_sequences) for one in packed] == [
        (12, 12, 1, 1),
        (12, 12, 12, 12),
    ]
    groups = {"llama": "quadruped"}
    there = [
        read(root, "clips/toy.json").without({"vehicle"}),
        read(root, "stills/stills.json", groups),
    ]
    here = [read(tmp_path / "pack", "clips/toy.json"), read(tmp_path / "pack", "stills/stills.json", groups)]
    for before, after, scale in zip(there, here, (1.0, 0.5), strict=True):
        for old, new in zip(before.images, after.images, strict=True):
            same = ("image_id", "video", "frame", "context", "licence")
            assert [getattr(old, name) for name in same] == [getattr(new, name) for name in same]
            assert (new.height_px, new.width_px) == (old.height_px * scale, old.width_px * scale)
            np.testing.assert_allclose(new.boxes_xyxy_px, old.boxes_xyxy_px * scale, atol=0.01)
            for name in ("labels", "ignore", "trust", "instances"):
                np.testing.assert_array_equal(getattr(new, name), getattr(old, name))
            assert new.path.read_bytes()[8:12] == b"WEBP"
            assert cv2.imread(str(new.path)).shape[:2] == (new.height_px, new.width_px)
    box = here[0].images[5].boxes_xyxy_px[0].astype(int)
    inside = cv2.imread(str(here[0].images[5].path))[box[1] + 3 : box[3] - 3, box[0] + 3 : box[2] - 3]
    assert inside.reshape(-1, 3).mean(0) == pytest.approx((40, 220, 40), abs=12), "the bird is where its box is"
    assert max(here[1].images[0].height_px, here[1].images[0].width_px) == SIDE_PX


def test_a_small_pack_is_full_even_and_the_same_each_time(root: Path, tmp_path: Path):
    options = PackOptions(mib=size_bytes_of_all(root, tmp_path) / MIB * 0.75)
    for name in ("a", "b"):
        clips, stills = pack_training(write_recipe(root, share=27), root, tmp_path / name, options)
    assert 0.8 * options.mib * MIB < size_bytes(tmp_path / "a") <= options.mib * MIB
    assert clips.images == 12, "it needs less than its nine tenths"
    assert 3 <= stills.images < 12
    kept = [record.image_id - 1000 for record in read(tmp_path / "a", "stills/stills.json").images]
    gaps = np.diff([number for number in kept if number])
    assert gaps.max() - gaps.min() <= 1 and 0 in kept, "the one of another licence is a group of its own"
    digests = [
        {p.relative_to(tmp_path / name): hashlib.sha256(p.read_bytes()).hexdigest()
         for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in ("a", "b")
    ]  # fmt: skip
    assert digests[0] == digests[1] and len(digests[0]) == 4 + clips.images + stills.images


def size_bytes_of_all(root: Path, tmp_path: Path) -> int:
    pack_training(write_recipe(root), root, tmp_path / "all")
    return size_bytes(tmp_path / "all")


def test_it_stands_alone_and_trains(root: Path, tmp_path: Path):
    def train(recipe_file: Path, name: str) -> CheckpointInfo:
        plan = located(read_recipe(recipe_file), recipe_file, moved)
        output = tmp_path / name
        job = TrainJob(
            plan.sources, str(output), plan.preset, must_not_see=plan.must_not_see, options=plan.options
        )  # fmt: skip
        run_job(job)
        return load_checkpoint(output)[1]

    pack, recipe = tmp_path / "pack", write_recipe(root)
    done = CliRunner().invoke(command, ["--recipe", str(recipe), "--root", str(root), "--output", str(pack)])
    assert done.exit_code == 0, done.output
    first, *_, last = done.output.splitlines()
    assert first.startswith("clips/toy.json: 12 of 12 images, 1 of 1 sequences, 0.")
    assert last.startswith(f"written: {pack}: 24 images as WebP of quality 50, ") and last.endswith(" MiB of 28")
    moved = pack.rename(tmp_path / "elsewhere")
    for place, file in enumerate((recipe, moved / "recipe.json")):
        info = train(file, f"{place}.safetensors")
        assert info.held_out == ("vehicle",), "what the pack lacks is still stated"
        assert "clips/toy.json: 12 images, 1 sequences, share 1" in info.metadata["data"]
    (moved / "must_not_see.txt").write_text("bird\n")
    with pytest.raises(OptionError, match="held out"):
        train(moved / "recipe.json", "2.safetensors")


def test_what_must_not_be_seen_is_not_packed(root: Path, tmp_path: Path):
    recipe = write_recipe(root)
    (tmp_path / "lists" / "held.txt").write_text("bird\n")
    with pytest.raises(OptionError, match="held out"):
        pack_training(recipe, root, tmp_path / "pack")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"data", "lists", recipe.name}, "nothing half-written"


@pytest.mark.parametrize(
    "data", ["../data/clips/toy.json", "{root}/clips/toy.json", "recipe.json"], ids=["beside", "absolute", "its own"]
)
def test_data_that_would_lie_outside_is_refused(root: Path, tmp_path: Path, data: str):
    recipe = write_recipe(root, sources=[{"data": data.format(root=root)}])
    with pytest.raises(OptionError, match="a path under --root"):
        pack_training(recipe, root, tmp_path / "pack")


def test_pictures_outside_the_root_come_into_the_pack(root: Path, tmp_path: Path):
    path = root / "clips" / "toy.json"
    content = json.loads(path.read_text())
    for image in content["images"]:
        image["file_name"] = f"../../data/clips/{image['file_name']}"
    path.write_text(json.dumps(content))
    pack_training(write_recipe(root), root, tmp_path / "pack")
    inside = (tmp_path / "pack").resolve()
    assert all(inside in record.path.resolve().parents for record in read(tmp_path / "pack", "clips/toy.json").images)


def test_errors_leave_nothing(root: Path, tmp_path: Path):
    recipe = write_recipe(root)
    with pytest.raises(OptionError, match=r"--mib: got 0\.005, expected 0\.\d+ or more") as small:
        pack_training(recipe, root, tmp_path / "pack", PackOptions(mib=0.005))
    enough = PackOptions(mib=float(str(small.value.expected).split()[0]))
    assert pack_training(recipe, root, tmp_path / "pack", enough)
    shutil.rmtree(tmp_path / "pack")
    with pytest.raises(OptionError, match="each file once"):
        pack_training(write_recipe(root, sources=[{"data": "clips/toy.json"}] * 2), root, tmp_path / "pack")
    recipe = write_recipe(root)
    (root / "stills" / "007.png").write_bytes(b"no picture")
    with pytest.raises(AnnotationError, match=r"007\.png: got no picture"):
        pack_training(recipe, root, tmp_path / "pack")
    assert {path.name for path in tmp_path.iterdir()} == {"data", "lists", recipe.name}
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "mine").touch()
    with pytest.raises(FileUnwritable, match="something in it"):
        pack_training(recipe, root, tmp_path / "pack")


@pytest.mark.parametrize("options", [{"mib": 0.0}, {"mib": float("inf")}, {"quality": 0}, {"quality": 101}], ids=str)
def test_options_out_of_range(options: dict[str, Any]):
    with pytest.raises(OptionError, match="--"):
        PackOptions(**options)
