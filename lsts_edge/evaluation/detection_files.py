"""Read detections that somebody wrote: a video's rows as JSON lines, CSV or MOT text, or a result file of COCO."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.errors import AnnotationError
from lsts_edge.evaluation.annotations import COCO_GROUPS, MALFORMED, AnnotationSet, ImageRecord, category_ids
from lsts_edge.read_file import read_file

__all__ = ["VIDEO_SUFFIXES", "DetectionFile", "read_detections"]


@dataclass(frozen=True)
class DetectionFile:
    """Boxes by image id.

    Attributes:
        boxes: corners as edges; an image without an entry has none.
        distances: frames since the last keyframe by image id; empty where the file does not say.
    """

    boxes: Mapping[int, Boxes]
    distances: Mapping[int, int]


VIDEO_SUFFIXES = (".jsonl", ".csv", ".txt")
"""Of files that hold one video."""


def read_detections(path: Path, annotations: AnnotationSet, *, class_agnostic: bool = False) -> DetectionFile:
    """Read a file of detections, or a folder with a file for each sequence, named after it.

    ``.json``: COCO's result rows (``image_id``, ``category_id``, ``bbox`` as x, y, width, height, ``score``), with the
    ids of the annotations. Of one video, whose n-th frame is the sequence's n-th: ``.jsonl``, the rows of ``lsts-edge
    run``; ``.csv`` with the columns ``frame`` (from 0), ``label``, ``score``, ``x1_px``, ``y1_px``, ``x2_px``,
    ``y2_px``; ``.txt``, MOT Challenge's ``frame`` (from 1), id, left, top, width, height, score, which name no class.
    Labels are matched by name, COCO's 80 with a group where the annotations have groups; a class that the annotations
    do not have is left out.

    Args:
        path: the file or folder.
        annotations: what the detections are of.
        class_agnostic: classes do not count, so that boxes without one can be read.
    Raises:
        AnnotationError: if it cannot be read, does not fit the annotations, or names none of their classes.
    """
    try:
        if path.is_dir():
            return _of_videos(_folder(path, annotations), annotations.classes, class_agnostic)
        if path.suffix in VIDEO_SUFFIXES:
            sequences = annotations.sequences()
            if len(sequences) != 1:
                raise _refused(
                    path,
                    got=f"one video for {len(sequences)} sequences",
                    expected=f"a folder with SEQUENCE{path.suffix} for each",
                    fix="Give the folder, or one name to --sequences.",
                )
            return _of_videos({path: next(iter(sequences.values()))}, annotations.classes, class_agnostic)
        return _coco(path, annotations)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        if isinstance(error, AnnotationError):
            raise
        raise _refused(path, got=str(error)[:300], expected="a readable file", fix="Check the path.") from error
    except MALFORMED as error:
        if isinstance(error, AnnotationError):
            raise
        got = f"{type(error).__name__}: {error}"[:300]
        expected = "rows of lsts-edge run, or COCO's result rows"
        raise _refused(path, got=got, expected=expected, fix="Check the file.") from error


def _folder(path: Path, annotations: AnnotationSet) -> dict[Path, list[ImageRecord]]:
    """The file of each sequence."""
    files: dict[Path, list[ImageRecord]] = {}
    missing = []
    for name, records in annotations.sequences().items():
        there = [file for suffix in VIDEO_SUFFIXES if (file := path / f"{name}{suffix}").is_file()]
        if len(there) == 1:
            files[there[0]] = records
        else:
            missing.append(name)
    if missing:
        raise _refused(
            path,
            got=f"no {missing[0]}.jsonl, or more than one file of it ({len(missing)} such sequences)",
            expected=f"one file for each sequence: {', '.join(VIDEO_SUFFIXES)}",
            fix="Run the others too, or name those that are there with --sequences.",
        )
    return files


_Row = tuple[int, int | None, list[tuple[Any, float, str | None]]]  # frame, feature age, boxes with score and class


def _of_videos(
    files: Mapping[Path, list[ImageRecord]], classes: tuple[str, ...], class_agnostic: bool
) -> DetectionFile:
    found: dict[int, list[Boxes]] = {}
    distances: dict[int, int] = {}
    names = _Names(classes)
    readers = {".jsonl": _json_rows, ".csv": _csv_rows, ".txt": _mot_rows}
    for path, records in files.items():
        for frame, age, rows in readers[path.suffix](path):
            if not 0 <= frame < len(records):
                expected = f"0..{len(records) - 1}, the frames of {records[0].video}"
                raise _refused(path, got=f"frame {frame}", expected=expected, fix="Run the sequence's own frames.")
            if any(label is None for _, _, label in rows) and not class_agnostic and len(classes) > 1:
                fix = "Add --class-agnostic."
                raise _refused(path, got="boxes without a class", expected=f"one of {len(classes)} classes", fix=fix)
            key = records[frame].image_id
            if age is not None:
                distances[key] = age
            labelled = ((box, score, 0 if name is None else names.label(name)) for box, score, name in rows)
            found.setdefault(key, []).append(_boxes(path, labelled))
    names.check(next(iter(files)))
    complete = len(distances) == sum(len(records) for records in files.values())
    return DetectionFile({key: Boxes.join(parts) for key, parts in found.items()}, distances if complete else {})


def _json_rows(path: Path) -> Iterator[_Row]:
    for line in _lines(path):
        if line.strip():
            row = json.loads(line)
            boxes: list[tuple[Any, float, str | None]] = [
                (one["box_xyxy_px"], one["score"], str(one["label"])) for one in row["detections"]
            ]
            yield int(row["frame"]), int(row["feature_age"]), boxes


def _csv_rows(path: Path) -> Iterator[_Row]:
    for row in csv.DictReader(_lines(path)):
        box = [float(row[side]) for side in ("x1_px", "y1_px", "x2_px", "y2_px")]
        yield int(row["frame"]), None, [(box, float(row["score"]), row["label"])]


def _mot_rows(path: Path) -> Iterator[_Row]:
    for row in csv.reader(_lines(path)):
        x, y, width, height, score = (float(value) for value in row[2:7])
        yield int(row[0]) - 1, None, [((x, y, x + width, y + height), score, None)]


def _lines(path: Path) -> io.StringIO:
    return io.StringIO(read_file(path).decode("utf-8"), newline="")


def _coco(path: Path, annotations: AnnotationSet) -> DetectionFile:
    data = json.loads(read_file(path))
    rows = data["annotations"] if isinstance(data, dict) else data
    ids = category_ids(annotations.path)
    names = _Names(annotations.classes)
    wanted = {record.image_id for record in annotations.images}
    grouped: dict[int, list[tuple[Any, float, int]]] = {}
    for row in rows:
        category, image = int(row["category_id"]), int(row["image_id"])
        if category not in ids:
            expected = f"ids of the annotations: {sorted(ids)[:8]}"
            raise _refused(path, got=f"category_id {category}", expected=expected, fix="Use their ids.")
        x, y, width, height = row["bbox"]
        grouped.setdefault(image, []).append(((x, y, x + width, y + height), row["score"], names.label(ids[category])))
    if rows and not wanted & set(grouped):
        expected = f"ids of the annotations, such as {min(wanted)}"
        raise _refused(path, got=f"image_id {min(grouped)} ...", expected=expected, fix="Use their ids.")
    names.check(path)
    return DetectionFile({key: _boxes(path, found) for key, found in grouped.items() if key in wanted}, {})


class _Names:
    """Labels by class name; remembers whether any was known."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self._label_of = {name: label for label, name in enumerate(classes)}
        self._seen: set[str] = set()

    def label(self, name: str) -> int:
        """-1 for a class that the annotations do not have."""
        self._seen.add(str(name))
        return self._label_of.get(name, self._label_of.get(COCO_GROUPS.get(name, ""), -1))

    def check(self, path: Path) -> None:
        if self._seen and all(self.label(name) < 0 for name in sorted(self._seen)):
            expected = f"some of {', '.join(self._label_of)}"
            raise _refused(path, got=f"classes {sorted(self._seen)[:5]}", expected=expected, fix="Match the names.")


def _boxes(path: Path, found: Iterable[tuple[Any, float, int]]) -> Boxes:
    rows = [row for row in found if row[2] >= 0]
    xyxy = np.array([row[0] for row in rows], np.float64).reshape(-1, 4)
    scores = np.array([row[1] for row in rows], np.float64)
    if not (np.isfinite(xyxy).all() and ((scores >= 0) & (scores <= 1)).all()):
        expected = "finite boxes and scores of 0 to 1"
        raise _refused(path, got="a box or score out of range", expected=expected, fix="Check the file.")
    return Boxes(xyxy.astype(np.float32), scores.astype(np.float32), np.array([row[2] for row in rows], np.int64))


def _refused(path: Path, *, got: str, expected: str, fix: str) -> AnnotationError:
    return AnnotationError(f"detections {path}", got=got, expected=expected, fix=fix)
