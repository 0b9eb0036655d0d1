"""Read detections that somebody wrote: rows of ``lsts-edge run --output-json``, or a result file of COCO."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.errors import AnnotationError
from lsts_edge.evaluation.annotations import COCO_GROUPS, AnnotationSet, ImageRecord, category_ids

__all__ = ["DetectionFile", "read_detections"]


@dataclass(frozen=True)
class DetectionFile:
    """Boxes by image id.

    Attributes:
        boxes: corners as edges; an image without an entry has none.
        distances: frames since the last keyframe by image id; empty where the file does not say.
    """

    boxes: Mapping[int, Boxes]
    distances: Mapping[int, int]


def read_detections(path: Path, annotations: AnnotationSet) -> DetectionFile:
    """Read a file of detections, or a folder with a ``.jsonl`` file for each sequence, named after it.

    ``.json``: COCO's result rows (``image_id``, ``category_id``, ``bbox`` as x, y, width, height, ``score``), with the
    ids of the annotations. ``.jsonl``: what ``lsts-edge run`` writes for one video; its n-th frame is the sequence's
    n-th. Labels are matched by name, COCO's 80 with a group where the annotations have groups; a class that the
    annotations do not have is left out.

    Args:
        path: the file or folder.
        annotations: what the detections are of.
    Raises:
        AnnotationError: if it cannot be read, does not fit the annotations, or names none of their classes.
    """
    try:
        if path.is_dir():
            return _folder(path, annotations)
        if path.suffix == ".jsonl":
            sequences = annotations.sequences()
            if len(sequences) != 1:
                raise _refused(
                    path,
                    got=f"one video for {len(sequences)} sequences",
                    expected="a folder with SEQUENCE.jsonl for each",
                    fix="Give the folder, or one name to --sequences.",
                )
            return _of_videos({path: next(iter(sequences.values()))}, annotations.classes)
        return _coco(path, annotations)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _refused(path, got=str(error), expected="a readable file", fix="Check the path.") from error
    except (KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, AnnotationError):
            raise
        got = f"{type(error).__name__}: {error}"
        expected = "rows of lsts-edge run --output-json, or COCO's result rows"
        raise _refused(path, got=got, expected=expected, fix="Check the file.") from error


def _folder(path: Path, annotations: AnnotationSet) -> DetectionFile:
    sequences = annotations.sequences()
    missing = [name for name in sequences if not (path / f"{name}.jsonl").is_file()]
    if missing:
        raise _refused(
            path,
            got=f"no {missing[0]}.jsonl ({len(missing)} missing)",
            expected="a .jsonl file for each sequence",
            fix="Run the others too, or name those that are there with --sequences.",
        )
    files = {path / f"{name}.jsonl": records for name, records in sequences.items()}
    return _of_videos(files, annotations.classes)


def _of_videos(files: Mapping[Path, list[ImageRecord]], classes: tuple[str, ...]) -> DetectionFile:
    boxes: dict[int, Boxes] = {}
    distances: dict[int, int] = {}
    names = _Names(classes)
    for path, records in files.items():
        for row in _lines(path):
            frame = int(row["frame"])
            if not 0 <= frame < len(records):
                expected = f"0..{len(records) - 1}, the frames of {records[0].video}"
                raise _refused(path, got=f"frame {frame}", expected=expected, fix="Run the sequence's own frames.")
            key = records[frame].image_id
            distances[key] = int(row["feature_age"])
            found = ((one["box_xyxy_px"], one["score"], names.label(one["label"])) for one in row["detections"])
            boxes[key] = _boxes(path, found)
    names.check(next(iter(files)))
    complete = len(distances) == sum(len(records) for records in files.values())
    return DetectionFile(boxes, distances if complete else {})


def _coco(path: Path, annotations: AnnotationSet) -> DetectionFile:
    data = json.loads(path.read_text(encoding="utf-8"))
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


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            if line.strip():
                yield json.loads(line)


def _refused(path: Path, *, got: str, expected: str, fix: str) -> AnnotationError:
    return AnnotationError(f"detections {path}", got=got, expected=expected, fix=fix)
