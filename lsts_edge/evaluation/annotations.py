"""Read COCO-style video annotations: frames in order, boxes with labels, and ignore boxes that nobody counts."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lsts_edge.errors import AnnotationError
from lsts_edge.read_file import read_file

__all__ = [
    "COCO_GROUPS",
    "MALFORMED",
    "AnnotationSet",
    "ImageRecord",
    "category_ids",
    "category_names",
    "load_coco",
    "read_annotations",
]

# What a reader meets that takes its way through JSON of other shapes than it expects.
MALFORMED = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError)

# The usual 80 COCO names that have a place among the five groups.
COCO_GROUPS: Mapping[str, str] = {
    "person": "person",
    **dict.fromkeys(("bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"), "vehicle"),
    "bird": "bird",
    **dict.fromkeys(("cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"), "quadruped"),
}
_RIDDEN = ("bicycle", "motorcycle", "horse")
_RIDER_OVERLAP = 0.3

_Row = tuple[list[float], int, bool, str, float, int]  # corners, label, hidden, category, trust, instance


@dataclass(frozen=True)
class ImageRecord:
    """One frame or still image with its boxes.

    Attributes:
        image_id: the file's own id.
        path: the image.
        video: name of the sequence; a still image is a sequence of its own.
        frame: position in the sequence.
        height_px: height.
        width_px: width.
        boxes_xyxy_px: ``(M, 4)`` float32, corners as edges: ``x2 = x + w``.
        labels: ``(M,)`` int64, index into the classes.
        ignore: ``(M,)`` bool: neither object nor background.
        trust: ``(M,)`` float32, 0..1: how sure the labeller was; None where it did not say.
        instances: ``(M,)`` int64, the same number for the same object in every frame of the sequence; -1: unknown.
        context: there for the triplets of other frames; none is drawn for it.
        licence: of the image, else of its video, else of the file; empty where nothing is stated.
    """

    image_id: int
    path: Path
    video: str
    frame: int
    height_px: int
    width_px: int
    boxes_xyxy_px: np.ndarray
    labels: np.ndarray
    ignore: np.ndarray
    trust: np.ndarray | None = None
    instances: np.ndarray = None  # type: ignore[assignment]  # all -1, which needs M
    context: bool = False
    licence: str = ""

    def __post_init__(self) -> None:
        if self.instances is None:
            object.__setattr__(self, "instances", np.full(len(self.labels), -1, np.int64))


@dataclass(frozen=True)
class AnnotationSet:
    """Images sorted by sequence and frame, and the classes their labels index.

    Attributes:
        path: the file.
        classes: names that the labels index.
        images: the records.
        named: sequences that the file names, whether or not it has images of them.
    """

    path: Path
    classes: tuple[str, ...]
    images: tuple[ImageRecord, ...]
    named: frozenset[str] = frozenset()

    def sequences(self) -> dict[str, list[ImageRecord]]:
        """The images of each sequence, in order."""
        groups: dict[str, list[ImageRecord]] = defaultdict(list)
        for record in self.images:
            groups[record.video].append(record)
        return dict(groups)

    def without(self, videos: set[str]) -> AnnotationSet:
        """The same set less some sequences."""
        return replace(self, images=tuple(r for r in self.images if r.video not in videos))

    def only(self, videos: set[str]) -> AnnotationSet:
        """The same set with some sequences alone."""
        return replace(self, images=tuple(r for r in self.images if r.video in videos))

    def licensed(self, licences: Sequence[str]) -> AnnotationSet:
        """The same set with the images alone whose licence is one of these, word for word; all of them for none.

        Raises:
            AnnotationError: if no image has one of them.
        """
        found = {record.licence for record in self.images}
        if missing := sorted(set(licences) - found):
            fix = "Write them as the file does."
            raise AnnotationError(f"{self.path}: licences {missing}", got=sorted(found)[:8], expected="these", fix=fix)
        if not licences:
            return self
        return replace(self, images=tuple(r for r in self.images if r.licence in licences))

    def as_one_class(self) -> AnnotationSet:
        """The same boxes, all of one class."""
        images = tuple(replace(record, labels=np.zeros_like(record.labels)) for record in self.images)
        return replace(self, classes=("object",), images=images)


def read_annotations(path: Path, classes: tuple[str, ...], groups: Mapping[str, str] | None = None) -> AnnotationSet:
    """Read a COCO or COCO-VID style file; image paths are relative to it.

    Categories are matched by name. A file with the 80 COCO names is mapped to the five groups: other categories
    are dropped, and a person who overlaps a bicycle, motorcycle or horse (a rider, perhaps) becomes an ignore
    box. Entries of the key ``ignore`` and annotations with ``iscrowd`` or ``ignore`` set become ignore boxes. The
    ``score`` of an annotation, which a detector gave, is its trust.

    Args:
        path: the JSON file.
        classes: names that the labels index.
        groups: class of category names beyond COCO's, as ``{"llama": "quadruped"}``; ``""`` makes their boxes ignore
            boxes.

    Raises:
        AnnotationError: if the file is missing, is not such a file, or shares no category with ``classes``.
    """
    data = load_coco(path)
    try:
        return _build(path, data, classes, groups or {})
    except MALFORMED as error:
        if isinstance(error, AnnotationError):
            raise
        raise AnnotationError(
            f"{path}: not COCO-style annotations",
            got=f"{type(error).__name__}: {error}"[:300],
            expected="images, annotations with bbox [x, y, w, h], categories",
            fix="Check the file.",
        ) from error


def category_ids(path: Path) -> dict[int, str]:
    """Names of the categories in a COCO-style file by their ids.

    Raises:
        AnnotationError: if the file is missing or is not such a file.
    """
    categories = load_coco(path).get("categories", [])
    try:
        return {int(category["id"]): str(category["name"]) for category in categories}
    except MALFORMED as error:
        raise AnnotationError(
            f"{path}: categories",
            got=f"{type(error).__name__}: {error}"[:300],
            expected="ids and names",
            fix="Check the file.",
        ) from error


def category_names(path: Path) -> tuple[str, ...]:
    """Names of the categories in a COCO-style file, each once.

    Raises:
        AnnotationError: if the file is missing or is not such a file.
    """
    return tuple(dict.fromkeys(category_ids(path).values()))


def load_coco(path: Path) -> dict[str, Any]:
    """The JSON itself: an object with images, nothing else of it is looked at.

    Raises:
        AnnotationError: if the file is missing or is no such object.
    """
    try:
        data = json.loads(read_file(path))
    except (OSError, ValueError, RecursionError) as error:
        raise AnnotationError(
            f"annotations {path}", got=str(error)[:300], expected="a readable JSON file", fix="Check the path."
        ) from error
    if not isinstance(data, dict) or not data.get("images"):
        raise AnnotationError(
            f"annotations {path}", got="no images", expected="an object with images", fix="Check the file."
        )
    return data


def _build(path: Path, data: dict[str, Any], classes: tuple[str, ...], more: Mapping[str, str]) -> AnnotationSet:
    names = {int(category["id"]): str(category["name"]) for category in data["categories"]}
    if set(names.values()) & set(classes) == set(classes):
        label_of = {key: classes.index(name) for key, name in names.items() if name in classes}
        riders = False
    else:
        known = {**COCO_GROUPS, **more}
        groups = {key: known[name] for key, name in names.items() if name in known}
        label_of = {key: classes.index(group) for key, group in groups.items() if group in classes}
        riders = True
    if not label_of:
        raise AnnotationError(
            f"{path}: categories", got=sorted(set(names.values()))[:8], expected=classes, fix="Use other annotations."
        )
    unnamed = {key for key, name in names.items() if more.get(name) == ""}
    rows: dict[int, list[_Row]] = defaultdict(list)
    for entry in data.get("annotations", []):
        hidden = bool(entry.get("iscrowd", 0) or entry.get("ignore", 0))
        if int(entry["category_id"]) in unnamed:
            entry, hidden = entry | {"category_id": next(iter(label_of))}, True
        _add(rows, entry, names, label_of, hidden, riders)
    for entry in data.get("ignore", []):
        _add(rows, entry, names, label_of, True, False)
    videos = {int(video["id"]): video for video in data.get("videos", [])}
    info = data.get("info")
    licence = info.get("licence", "") if isinstance(info, dict) else ""
    records = []
    for image in data["images"]:
        key = int(image["id"])
        found = rows[key]
        boxes = np.array([row[0] for row in found], np.float32).reshape(-1, 4)
        ignore = np.array([row[2] for row in found], bool)
        if riders:
            ignore |= _rider_candidates(boxes, [row[3] for row in found])
        labels = np.array([row[1] for row in found], np.int64)
        trust = np.array([row[4] for row in found], np.float32)
        keep = labels >= 0
        video = videos[int(image["video_id"])] if "video_id" in image else {"name": image["file_name"]}
        records.append(
            ImageRecord(
                image_id=key,
                path=path.parent / str(image["file_name"]),
                video=str(video["name"]),
                frame=int(image.get("frame_id", 0)),
                height_px=int(image["height"]),
                width_px=int(image["width"]),
                boxes_xyxy_px=boxes[keep],
                labels=labels[keep],
                ignore=ignore[keep],
                trust=trust[keep],
                instances=np.array([row[5] for row in found], np.int64)[keep],
                context=bool(image.get("context", 0)),
                licence=str(image.get("licence") or video.get("licence") or licence),
            )
        )
    records.sort(key=lambda record: (record.video, record.frame))
    named = frozenset(str(video["name"]) for video in videos.values() if "name" in video)
    return AnnotationSet(path, tuple(classes), tuple(records), named)


def _add(
    rows: dict[int, list[_Row]],
    entry: dict[str, Any],
    names: dict[int, str],
    label_of: dict[int, int],
    hidden: bool,
    keep_others: bool,
) -> None:
    category = int(entry["category_id"])
    if category not in names:
        raise AnnotationError("annotation category", got=category, expected=sorted(names)[:8], fix="Check the file.")
    label = label_of.get(category, -1)
    if label < 0 and not keep_others:
        return
    x, y, width, height = (float(value) for value in entry["bbox"])
    if not np.isfinite((x, y, width, height)).all():
        raise AnnotationError("annotation bbox", got=entry["bbox"], expected="four finite numbers", fix="Check it.")
    if width > 0 and height > 0:
        trust, instance = float(entry.get("score", 1.0)), int(entry.get("instance_id", -1))
        row = ([x, y, x + width, y + height], label, hidden, names[category], trust, instance)
        rows[int(entry["image_id"])].append(row)


def _rider_candidates(boxes: np.ndarray, names: list[str]) -> np.ndarray:
    """Which boxes are persons covering, or covered by, more than 0.3 of something that can be ridden."""
    person = np.array([name == "person" for name in names], bool)
    ridden = np.array([name in _RIDDEN for name in names], bool)
    if not person.any() or not ridden.any():
        return np.zeros(len(names), bool)
    low = np.maximum(boxes[:, None, :2], boxes[None, ridden, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, ridden, 2:])
    inter = np.clip(high - low, 0, None).prod(-1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    share = inter / np.minimum(area[:, None], area[None, ridden])
    covers: np.ndarray = person & (share > _RIDER_OVERLAP).any(axis=1)
    return covers
