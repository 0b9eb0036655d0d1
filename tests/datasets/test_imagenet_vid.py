"""ImageNet VID and DET from a small tree in their layout: the paper's frames, exact boxes, nothing broken taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imagenet_tree import write_picture, write_vid_tree, write_xml

from lsts_edge.boxes import Boxes
from lsts_edge.datasets.imagenet_classes import DET_NUMBERS, VID_LABELS
from lsts_edge.datasets.imagenet_vid import VidOptions, convert_vid
from lsts_edge.datasets.publish_json import publish_json
from lsts_edge.errors import AnnotationError, FileUnwritable, OptionError
from lsts_edge.evaluation.annotations import AnnotationSet, read_annotations
from lsts_edge.evaluation.motion import motion_ious
from lsts_edge.evaluation.vid import measure_vid
from lsts_edge.presets import IMAGENET_VID_CLASSES
from lsts_edge.train.augment import sample_triplets
from lsts_edge.train.store import ImageStore

FEW = VidOptions(frames_per_video=2)
CAR, DOG = (IMAGENET_VID_CLASSES.index(name) for name in ("car", "dog"))
FIRST = "ILSVRC2015_VID_train_0000/ILSVRC2015_train_00000000"
BOMB = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;&b;">]><annotation><folder>&c;</folder></annotation>'


def converted(tree: Path, output: Path, options: VidOptions) -> AnnotationSet:
    publish_json(convert_vid(tree, output, options), output)
    return read_annotations(output, IMAGENET_VID_CLASSES)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_vid_tree(tmp_path / "ILSVRC2015")


def test_training_frames_are_the_papers_and_those_that_their_triplets_need(tree: Path, tmp_path: Path):
    truth = converted(tree.parent, tmp_path / "made" / "train.json", FEW)
    videos = truth.sequences()
    assert set(videos) == {"ILSVRC2015_train_00000000", "ILSVRC2015_train_1"}
    records = videos["ILSVRC2015_train_00000000"]
    assert [r.frame for r in records if not r.context] == [10, 30]  # the middles of two halves of 40
    assert [r.frame for r in records if r.context] == [0, 5, 15, 20, 25, 35]
    for record in records:
        assert record.path.is_file() and record.labels.tolist() == [CAR] and record.instances.tolist() == [0]
        left = record.frame  # corner pixels left .. left + 9, both inside: edges are left and left + 10
        assert record.boxes_xyxy_px.tolist() == [[left, 10, left + 10, 20]]
    plain = converted(tree, tmp_path / "plain.json", VidOptions(frames_per_video=2, context=False))
    assert [r.frame for r in plain.sequences()["ILSVRC2015_train_1"]] == [10, 30]
    whole = converted(tree, tmp_path / "whole.json", VidOptions(frames_per_video=100))
    assert len(whole.images) == 80 and not any(record.context for record in whole.images)
    fifteen = converted(tree, tmp_path / "15.json", VidOptions(context=False))
    assert [r.frame for r in fifteen.sequences()["ILSVRC2015_train_1"]][:4] == [1, 4, 6, 9]


def test_flags_and_counts_are_carried(tree: Path, tmp_path: Path):
    content = convert_vid(tree, tmp_path / "a.json", FEW)
    dogs = [row for row in content["annotations"] if row["category_id"] == DOG + 1]
    assert all((row["occluded"], row["generated"], row["instance_id"]) == (1, 1, 1) for row in dogs)
    assert content["info"]["left_out"] == [] and "non-commercial" in content["info"]["licence"]
    assert content["info"]["options"]["frames_per_video"] == 2


def test_context_is_looked_back_to_and_never_drawn(tree: Path, tmp_path: Path):
    import torch

    truth = converted(tree, tmp_path / "train.json", FEW)
    store = ImageStore.load([truth], color_order="rgb", max_side_px=64)
    weights = store.sampling_weights({}, 0.5)
    assert (weights > 0).tolist() == [not record.context for record in truth.images]
    assert weights.sum().item() == pytest.approx(1)
    assert store.sampling_weights({}, 0.5, frames_per_video=15).tolist() == weights.tolist()
    once = store.sampling_weights({}, 0.5, frames_per_video=1) > 0
    assert [record.frame for record, drawn in zip(truth.images, once, strict=True) if drawn] == [10, 10]
    number = np.array([record.frame for record in truth.images])

    def frames(sampling: Any) -> np.ndarray:
        generator = torch.Generator().manual_seed(0)
        return number[sample_triplets(store, weights, 200, 10, generator, sampling=sampling).numpy()]

    online, offline = frames("online"), frames("offline")
    late = online[online[:, 2] == 30]
    assert set(late[:, 1]) == {20, 25, 30} and set(late[:, 0]) == {15, 20}
    assert set(online[online[:, 2] == 10][:, 0]) == {0}
    late = offline[offline[:, 2] == 30]
    assert set(late[:, 1]) == {25, 30, 35} and set(late[:, 0]) == {20, 25}


def test_stills_of_det_are_of_vids_classes_and_bounded(tree: Path, tmp_path: Path):
    for number in set(DET_NUMBERS.values()) - {26, 37, 58}:
        (tree / f"ImageSets/DET/train_{number}.txt").write_text("")
    truth = converted(tree, tmp_path / "a.json", VidOptions(frames_per_video=1, det=True))
    stills = [record for record in truth.images if "DET" in record.path.parts]
    assert len(stills) == 7  # the one of three lists once
    assert sorted(len(record.labels) for record in stills) == [1] * 6 + [3]  # persons are no class of VID
    assert all(record.boxes_xyxy_px[0].tolist() == [1, 1, 21, 21] and record.instances[0] == -1 for record in stills)
    fewer = converted(tree, tmp_path / "b.json", VidOptions(frames_per_video=1, det=True, det_per_class=1))
    assert sum("DET" in record.path.parts for record in fewer.images) == 3
    changed = tree / "Annotations/DET/train/ILSVRC2013_train/n02084071/n02084071_0.xml"
    write_xml(changed, [("n01503061", (1, 1, 9, 9), None)])
    content = convert_vid(tree, tmp_path / "c.json", VidOptions(frames_per_video=1, det=True))
    assert content["info"]["left_out"] == [
        {"reason": "DET image without an object of its list's class", "count": 1,
         "first": "DET/train/ILSVRC2013_train/n02084071/n02084071_0"}
    ]  # fmt: skip
    (tree / "ImageSets/DET/train_2.txt").unlink()
    with pytest.raises(AnnotationError, match="train_2"):
        convert_vid(tree, tmp_path / "d.json", VidOptions(det=True))


def test_validation_is_every_frame_and_is_measured_by_motion(tree: Path, tmp_path: Path):
    truth = converted(tree, tmp_path / "val.json", VidOptions(split="val"))
    assert [record.frame for record in truth.images] == list(range(12))
    motion = motion_ious(truth)
    # The car of 20 pixels moves 2 a frame: d frames away its IoU is (20 - 2 d) / (20 + 2 d), nothing from 10 on.
    by_hand = np.mean([(20 - 2 * d) / (20 + 2 * d) for d in range(1, 11)])
    assert motion[0][0] == pytest.approx(by_hand) and motion[0][1] == 1
    found = {r.image_id: Boxes(r.boxes_xyxy_px, np.ones(2, np.float32), r.labels) for r in truth.images}
    accuracy = measure_vid(truth, found)
    assert accuracy.mean_ap == pytest.approx(1)
    assert accuracy.boxes_by_motion == {"slow": 12, "medium": 0, "fast": 12}


def test_broken_frames_are_left_out_and_counted(tree: Path, tmp_path: Path):
    folder = tree / "Annotations/VID/val/ILSVRC2015_val_00000000"
    pictures = tree / "Data/VID/val/ILSVRC2015_val_00000000"
    (folder / "000000.xml").unlink()
    (folder / "000001.xml").write_text("<annotation><size>")
    (folder / "000002.xml").write_text(BOMB)
    (folder / "000003.xml").write_text("<annotation><size><width>60</width><height>x</height></size></annotation>")
    write_picture(pictures / "000004.JPEG", 41, 60)
    (pictures / "000005.JPEG").unlink()
    (pictures / "000006.JPEG").write_bytes(b"no picture")
    write_xml(folder / "000007.xml", [("n02958343", (50, 10, 70, 45), 0), ("n02958343", (61, 1, 70, 9), 1)])
    write_xml(folder / "000008.xml", [("n99999999", (1, 1, 9, 9), 0)])
    wide = '<?xml version="1.0" encoding="UTF-16"?>' + BOMB
    (folder / "000009.xml").write_bytes(wide.encode("utf-16"))
    content = convert_vid(tree, tmp_path / "val.json", VidOptions(split="val"))
    left = {row["reason"]: row["count"] for row in content["info"]["left_out"]}
    assert left == {
        "no annotation": 1,
        "broken XML, or XML with a document type": 3,
        "annotation without size, name or box": 1,
        "picture and annotation of different sizes": 1,
        "no picture": 1,
        "picture: no picture": 1,
        "box without area in the picture": 1,
        "box of class 'n99999999'": 1,
    }
    assert [image["frame_id"] for image in content["images"]] == [7, 8, 10, 11]
    assert content["annotations"][0]["bbox"] == [50, 10, 10, 30]  # cut at the border


def test_a_picture_that_says_its_size_late_or_lies_on_its_side(tree: Path, tmp_path: Path):
    picture = tree / "Data/VID/val/ILSVRC2015_val_00000000/000000.JPEG"
    plain = picture.read_bytes()
    turned = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"  # orientation 6
    picture.write_bytes(plain[:2] + b"\xff\xe1" + (len(turned) + 2).to_bytes(2, "big") + turned + plain[2:])
    content = convert_vid(tree, tmp_path / "val.json", VidOptions(split="val"))
    assert content["info"]["left_out"][0]["reason"] == "picture and annotation of different sizes"
    late = b"\xff\xe2" + (65_000).to_bytes(2, "big") + bytes(64_998)
    picture.write_bytes(plain[:2] + late + late + plain[2:])
    assert convert_vid(tree, tmp_path / "val.json", VidOptions(split="val"))["info"]["left_out"] == []


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("val.txt", "../../../etc/000000 1\n", "name in a list"),
        ("val.txt", "ILSVRC2015_val_00000000 1\n", "val.txt"),
        ("val.txt", "\u00e9\n", "ASCII"),
        ("val.txt", "ILSVRC2015_val_9/000000 1\n", "no annotation"),
        ("val.txt", "", "empty lists"),
        ("val.txt", None, "val.txt"),
    ],
)
def test_lists_that_are_none_are_one_error(tree: Path, tmp_path: Path, file: str, text: str | None, told: str):
    path = tree / "ImageSets/VID" / file
    path.unlink() if text is None else path.write_text(text, encoding="utf-8")
    with pytest.raises(AnnotationError, match=told):
        convert_vid(tree, tmp_path / "val.json", VidOptions(split="val"))


def test_another_layout_is_named(tmp_path: Path):
    with pytest.raises(AnnotationError, match="Data/VID"):
        convert_vid(tmp_path, tmp_path / "a.json")
    for wrong in ({"frames_per_video": 0}, {"det_per_class": 0}, {"split": "val", "det": True}, {"split": "test"}):
        with pytest.raises(OptionError):
            VidOptions(**wrong)


def test_nothing_is_half_written(tree: Path, tmp_path: Path):
    content = convert_vid(tree, tmp_path / "a.json", FEW)
    output = tmp_path / "out" / "a.json"
    publish_json(content, output)
    before = output.read_bytes()
    with pytest.raises(TypeError):
        publish_json(content | {"images": [1, object()]}, output)
    assert output.read_bytes() == before and [path.name for path in output.parent.iterdir()] == ["a.json"]
    link = tmp_path / "link.json"
    link.symlink_to(output)
    publish_json(content | {"info": {}}, link)
    assert link.is_symlink() and json.loads(output.read_text())["info"] == {}
    for wrong in (tmp_path, Path(""), output / "below.json", tmp_path / ("a" * 256)):
        with pytest.raises(FileUnwritable):
            publish_json(content, wrong)


def test_command(lsts_edge_command: Callable, tree: Path, tmp_path: Path):
    output = tmp_path / "vid" / "val.json"
    (tree / "Annotations/VID/val/ILSVRC2015_val_00000000/000003.xml").unlink()
    done = lsts_edge_command("data", "vid", tree, "--split", "val", "--output", output)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"written: {output}: 1 sequences, 11 frames, 22 boxes, 0 ignored\n"
    assert done.stderr == "left out: 1 x no annotation, the first VID/val/ILSVRC2015_val_00000000/000003\n"
    assert len(json.loads(output.read_text())["images"]) == 11
    done = lsts_edge_command("data", "vid", tmp_path / "vid", "--output", tmp_path / "x.json")
    assert done.returncode == 2 and done.stderr.startswith("error[annotations]: ImageNet VID in")
    assert not (tmp_path / "x.json").exists()


def test_tables_are_in_the_order_of_the_labels():
    assert list(VID_LABELS.values()) == list(range(30)) and list(DET_NUMBERS) == list(VID_LABELS)
    assert list(DET_NUMBERS.values()) == sorted(DET_NUMBERS.values())  # both follow the alphabet
    assert VID_LABELS["n02391049"] == IMAGENET_VID_CLASSES.index("zebra") and FIRST.startswith("ILSVRC2015_VID")
