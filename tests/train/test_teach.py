"""Clips labelled by detectors: real ones that find squares, so that the right boxes are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from blob_detector import blob_clip, blob_detector

from lsts_edge.boxes import Boxes
from lsts_edge.errors import DetectorRefused, OptionError, StreamUnreadable
from lsts_edge.evaluation.annotations import read_annotations
from lsts_edge.presets import FIVE_GROUPS
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.train.teach import TaughtClip, TeachOptions, teach_clips
from lsts_edge.train.teachers import Teacher
from videos import write_video

FRAMES = 12
SPARSE = TeachOptions(every=6)
ENGINE = EngineOptions(threads=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One that finds a person (red) and a bird (blue), and one that finds nothing."""
    folder = tmp_path_factory.mktemp("teachers")
    return tuple(_named(blob_detector(folder / f"{b}.onnx", blind=b == "blind")) for b in ("seeing", "blind"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[TaughtClip]:
    """The second one has a cut in the middle."""
    folder = tmp_path_factory.mktemp("clips")
    night = [cv2.convertScaleAbs(picture) for picture in blob_clip(FRAMES, 1)]
    day = [np.where(picture < 70, picture + 150, picture).astype(np.uint8)[:, ::-1] for picture in blob_clip(FRAMES, 2)]
    write_video(folder / "one.mp4", blob_clip(FRAMES, 0), gop=1)
    write_video(folder / "two.mp4", [*night, *day], gop=1)
    return [TaughtClip(folder / "one.mp4", "CC BY 4.0", "somewhere"), TaughtClip(folder / "two.mp4")]


def _named(path: Path) -> Path:
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"names": str(["person", "bird"])})
    onnx.save(model, path)
    return path


def boxes(corners: object) -> Boxes:
    return Boxes(np.array([corners], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))


def _teachers(files: tuple[Path, ...]) -> list[Teacher]:
    return [Teacher(path, ENGINE) for path in files]


def test_labels_are_right_and_the_trainer_reads_them(files: tuple[Path, Path], clips: list[TaughtClip], tmp_path: Path):
    output = tmp_path / "labels.json"
    content = teach_clips(clips, _teachers(files[:1]), output, TeachOptions(every=3))
    truth = read_annotations(output, FIVE_GROUPS)
    sequences = truth.sequences()
    assert set(sequences) == {"one.mp4", "two.mp4 shot 1", "two.mp4 shot 2"}
    assert [record.frame for record in sequences["one.mp4"]] == [0, 3, 6, 9]
    assert [record.frame for record in sequences["two.mp4 shot 2"]] == [12, 15, 18, 21]
    for record in sequences["one.mp4"]:
        picture = cv2.imread(str(record.path))
        assert picture.shape == (record.height_px, record.width_px, 3)
        persons = np.flatnonzero((record.labels == FIVE_GROUPS.index("person")) & ~record.ignore)
        person = persons[record.trust[persons].argmax()]  # neighbouring cells may see the square too
        picture = blob_clip(FRAMES, 0)[record.frame].astype(int)
        rows, columns = np.nonzero(picture[..., 2] - picture[..., 0] > 60)
        square = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert boxes(record.boxes_xyxy_px[person]).iou(boxes(square))[0, 0] > 0.4  # its boxes lie on a grid of 8 pixels
        assert 0.4 <= record.trust[person] <= 1
    assert content["videos"][0] == {"id": 1, "name": "one.mp4", "licence": "CC BY 4.0", "source": "somewhere"}
    assert content["videos"][1]["licence"] == "not stated"
    assert content["info"]["licences"] == ["CC BY 4.0", "not stated"]
    assert json.loads(output.read_text()) == json.loads(json.dumps(content))
    assert not output.with_name("labels.json.parts").exists()


def test_a_box_that_one_of_two_sees_is_doubtful(files: tuple[Path, Path], clips: list[TaughtClip], tmp_path: Path):
    alone = teach_clips(clips[:1], _teachers(files[:1]), tmp_path / "a.json", TeachOptions(every=4))
    both = teach_clips(clips[:1], _teachers(files), tmp_path / "b.json", TeachOptions(every=4, object_score=0.6))
    seen = [row["score"] for row in [*alone["annotations"], *alone["ignore"]] if row["score"] >= 0.51]
    doubtful = [row["score"] for row in both["ignore"] if row["score"] >= 0.255]
    assert seen and not both["annotations"]
    np.testing.assert_allclose(sorted(score / 2 for score in seen), sorted(doubtful), atol=1e-4)
    assert read_annotations(tmp_path / "b.json", FIVE_GROUPS).images[0].ignore.all()


def test_small_boxes_are_doubtful(files: tuple[Path, Path], clips: list[TaughtClip], tmp_path: Path):
    options = TeachOptions(every=6, min_side_px=40)
    content = teach_clips(clips[:1], _teachers(files[:1]), tmp_path / "a.json", options)
    assert not content["annotations"] and content["ignore"]


def test_interrupted_work_goes_on_and_ends_alike(files: tuple[Path, Path], clips: list[TaughtClip], tmp_path: Path):
    options = TeachOptions(every=4)
    whole = teach_clips(clips, _teachers(files[:1]), tmp_path / "whole" / "labels.json", options)

    def stop(what: str, done: int = 0, total: int = 0, /) -> None:
        if done == 1:
            raise KeyboardInterrupt

    output = tmp_path / "labels.json"
    with pytest.raises(KeyboardInterrupt):
        teach_clips(clips, _teachers(files[:1]), output, options, stop)
    assert not output.exists()
    (part,) = output.with_name("labels.json.parts").iterdir()
    kept = json.loads(part.read_text())
    kept["frames"][0]["objects"][0][5] = 0.4321  # a mark: the part is used, not made again
    part.write_text(json.dumps(kept))
    again = teach_clips(clips, _teachers(files[:1]), output, options)
    assert again["annotations"][0]["score"] == 0.4321
    assert again["images"] == whole["images"] and again["annotations"][1:] == whole["annotations"][1:]


def test_a_clip_that_cannot_be_read_is_named(files: tuple[Path, Path], clips: list[TaughtClip], tmp_path: Path):
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    content = teach_clips(
        [TaughtClip(broken), *clips[:1]], _teachers(files[:1]), tmp_path / "labels.json", TeachOptions(6)
    )
    assert [entry["clip"] for entry in content["info"]["left_out"]] == ["broken.mp4"]
    with pytest.raises(StreamUnreadable, match="clips to label"):
        teach_clips([TaughtClip(broken)], _teachers(files[:1]), tmp_path / "none.json")
    assert not (tmp_path / "none.json").exists()


def test_teachers_must_know_the_same_classes(files: tuple[Path, Path], clips: list[TaughtClip], tmp_path: Path):
    other = blob_detector(tmp_path / "colours.onnx")
    with pytest.raises(OptionError, match="same classes"):
        teach_clips(clips, _teachers((*files, other)), tmp_path / "labels.json")
    with pytest.raises(OptionError, match="same classes"):
        teach_clips(clips, [], tmp_path / "labels.json")
    with pytest.raises(DetectorRefused):
        Teacher(tmp_path / "missing.onnx")


@pytest.mark.parametrize(
    "wrong", [{"every": 0}, {"object_score": 0.1}, {"doubtful_score": 0.0}, {"max_side_px": 8}, {"object_score": 1.1}]
)
def test_wrong_options_are_refused(wrong: dict[str, float]):
    with pytest.raises(OptionError):
        TeachOptions(**wrong)


def test_command(lsts_edge_command: Callable, files: tuple[Path, Path], clips: list[TaughtClip], tmp_path: Path):
    index = tmp_path / "index.json"
    index.write_text(json.dumps([{"file": "clips/one.mp4", "licence": "CC0", "repo": "a/b"}]))
    lists = tmp_path / "not.txt"
    lists.write_text("# remark\n[heading]\ntwo.mp4\n")
    folder, output = clips[0].path.parent, tmp_path / "labels.json"
    words = ["data", "teach", str(folder), "--teacher", str(files[0]), "--output", str(output), "--index", str(index)]
    done = lsts_edge_command(*words, "--leave-out", str(lists), "--every", "6", "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"written: {output}: 1 sequences, 2 frames, ")
    content = json.loads(output.read_text())
    assert content["videos"] == [{"id": 1, "name": "one.mp4", "licence": "CC0", "source": "a/b"}]
    lists.write_text("one.mp4\ntwo.mp4\n")
    done = lsts_edge_command(*words, "--leave-out", str(lists))
    assert done.returncode == 2 and done.stderr.startswith("error[option]: clips")
