"""DAVIS 2016 from a small tree in its layout: boxes around the masks, groups by the table, nothing broken taken."""

from __future__ import annotations

import collections
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from lsts_edge.datasets.davis import DAVIS_GROUPS, convert_davis
from lsts_edge.datasets.publish_json import publish_json
from lsts_edge.errors import AnnotationError
from lsts_edge.evaluation.annotations import read_annotations
from lsts_edge.presets import FIVE_GROUPS

HEIGHT, WIDTH = 48, 86


def write_tree(root: Path) -> Path:
    """A bear whose mask is hidden in its last frame, a ball (of no group) and, for validation, a bird."""
    lines: dict[str, list[str]] = {"train": [], "val": []}
    for split, name in (("train", "bear"), ("train", "soccerball"), ("val", "blackswan")):
        for number in range(3):
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            if name != "bear" or number < 2:
                mask[20:41, 10 * number : 10 * number + 30] = 255
                mask[10, 10 * number + 40] = 255  # a second piece of the same object
            files = [f"{kind}/480p/{name}/{number:05d}{end}" for kind, end in
                     (("JPEGImages", ".jpg"), ("Annotations", ".png"))]  # fmt: skip
            for file, picture in zip(files, (np.full((HEIGHT, WIDTH, 3), 80, np.uint8), mask), strict=True):
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(root / file), picture)
            lines[split].append(f"/{files[0]} /{files[1]} \n")
    (root / "ImageSets/480p").mkdir(parents=True)
    for split, rows in lines.items():
        (root / f"ImageSets/480p/{split}.txt").write_text("".join(rows))
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "DAVIS")


def test_boxes_lie_around_the_masks(tree: Path, tmp_path: Path):
    output = tmp_path / "davis" / "train.json"
    content = convert_davis(tree, output)
    publish_json(content, output)
    videos = read_annotations(output, FIVE_GROUPS).sequences()
    assert set(videos) == {"bear", "soccerball"} and "CC BY-NC" in content["info"]["licence"]
    first, second, hidden = videos["bear"]
    assert first.boxes_xyxy_px.tolist() == [[0, 10, 41, 41]] and second.boxes_xyxy_px.tolist() == [[10, 10, 51, 41]]
    assert first.labels.tolist() == [FIVE_GROUPS.index("quadruped")] and first.instances.tolist() == [1]
    assert [first.frame, second.frame, hidden.frame] == [0, 1, 2] and not len(hidden.labels)
    assert all(record.path.is_file() and not len(record.labels) for record in videos["soccerball"])
    assert (first.height_px, first.width_px) == (HEIGHT, WIDTH)


def test_every_sequence_has_a_group():
    counts = collections.Counter(DAVIS_GROUPS.values())
    assert counts == {"person": 13, "rider": 14, "vehicle": 9, "bird": 4, "quadruped": 9, "": 1}
    assert set(counts) - {""} == set(FIVE_GROUPS) and len(DAVIS_GROUPS) == 50


def test_broken_frames_are_left_out_and_counted(tree: Path, tmp_path: Path):
    (tree / "JPEGImages/480p/bear/00000.jpg").unlink()
    cv2.imwrite(str(tree / "Annotations/480p/bear/00001.png"), np.zeros((HEIGHT, WIDTH + 1), np.uint8))
    (tree / "Annotations/480p/soccerball/00000.png").write_bytes(b"no picture")
    with (tree / "ImageSets/480p/train.txt").open("a") as file:
        file.write("/JPEGImages/480p/unicorn/00000.jpg /Annotations/480p/unicorn/00000.png\n")
    content = convert_davis(tree, tmp_path / "a.json")
    assert {row["reason"]: row["count"] for row in content["info"]["left_out"]} == {
        "no picture": 1,
        "picture and mask of different sizes": 1,
        "mask: no picture": 1,
        "sequence that DAVIS 2016 does not have": 1,
    }
    assert [video["name"] for video in content["videos"]] == ["bear", "soccerball"]


@pytest.mark.parametrize("text", ["bear\n", "/JPEGImages/480p/../x/00000.jpg a\n", "", "\u00e9\n", None])
def test_lists_that_are_none_are_one_error(tree: Path, tmp_path: Path, text: str | None):
    path = tree / "ImageSets/480p/train.txt"
    path.unlink() if text is None else path.write_text(text, encoding="utf-8")
    with pytest.raises(AnnotationError):
        convert_davis(tree, tmp_path / "a.json")


def test_command(lsts_edge_command: Callable, tree: Path, tmp_path: Path):
    output = tmp_path / "val.json"
    done = lsts_edge_command("data", "davis", tree, "--split", "val", "--output", output)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"written: {output}: 1 sequences, 3 frames, 3 boxes, 0 ignored\n"
    assert read_annotations(output, FIVE_GROUPS).images[0].labels.tolist() == [FIVE_GROUPS.index("bird")]
    done = lsts_edge_command("data", "davis", tree, "--resolution", "1080p", "--output", output)
    assert done.returncode == 2 and done.stderr.startswith("error[annotations]: list ")
