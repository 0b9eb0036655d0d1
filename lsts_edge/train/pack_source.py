"""One source of a pack: its annotations at the size that training sees, image by image, and what each image costs."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2

from lsts_edge.errors import AnnotationError
from lsts_edge.evaluation.annotations import MALFORMED, AnnotationSet, ImageRecord, load_coco
from lsts_edge.train.pixels import StoredImage, read_stored, reduction

__all__ = ["PackSource"]

_VIDEO, _IMAGE, _BOX = (
    ("licence", "source"),
    ("frame_id", "context", "licence", "source"),
    ("iscrowd", "ignore", "score", "instance_id"),
)
"""What is kept beside ids, names, sizes and boxes: what training reads, and where a picture is from."""

_BETWEEN_BYTES = 2  # a comma and a line end


@dataclass(frozen=True)
class _Image:
    picture: StoredImage
    row: dict[str, Any]
    annotations: tuple[dict[str, Any], ...]
    ignore: tuple[dict[str, Any], ...]


class PackSource:
    """What is left of an annotation file, ready to be written with fewer and smaller images.

    Args:
        annotations: what may be packed.
        held_out: sequences that were left out; those of this file stay named in it, as recipes name them.
        max_side_px: larger images are reduced to this longer side.
        quality: of the WebP files, 1 to 100.

    Attributes:
        groups: indices of images that are thinned together, in order: each sequence, and the stills; split by licence
            and by whether they are context, so that none of these is lost.
        sequences: the sequence of each image.

    Raises:
        AnnotationError: if the file is not what it was when it was read.
    """

    def __init__(self, annotations: AnnotationSet, held_out: Iterable[str], *, max_side_px: int, quality: int) -> None:
        self._path = annotations.path
        self._quality = quality
        self.sequences = [record.video for record in annotations.images]
        self.groups = _groups(annotations.images)
        raw = load_coco(annotations.path)
        try:
            self._rest: dict[str, Any] = {key: raw[key] for key in ("info", "categories") if key in raw}
            self._videos = _videos(raw)
            self._left_out = [row for row in self._videos.values() if row["name"] in set(held_out)]
            self._images = self._reduced(annotations.images, raw, max_side_px)
        except MALFORMED as error:
            got = f"{type(error).__name__}: {error}"[:300]
            problem = f"{annotations.path}: not COCO-style annotations"
            raise AnnotationError(problem, got=got, expected="what training reads", fix="Check the file.") from error

    def __len__(self) -> int:
        return len(self._images)

    def encoded(self, at: int) -> bytes:
        """An image as it is packed.

        Raises:
            AnnotationError: if it cannot be read or has another size than the annotations say.
        """
        image = read_stored(self._images[at].picture).transpose(1, 2, 0)
        _, data = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, self._quality])
        return bytes(data)

    def file(self, at: int) -> str:
        """Name of an image's file, relative to the annotations."""
        return str(self._images[at].row["file_name"])

    def rows_bytes(self, at: int) -> int:
        """What an image takes of the annotations, with its sequence: a little much where others share that."""
        one = self._images[at]
        rows = (one.row, self._videos[one.row["video_id"]], *one.annotations, *one.ignore)
        return sum(len(json.dumps(row)) + _BETWEEN_BYTES for row in rows)

    def content(self, taken: Sequence[int], **facts: object) -> dict[str, Any]:
        """The annotations of some images; ``facts`` are put beside them."""
        images = [self._images[at] for at in taken]
        used = {one.row["video_id"] for one in images} | {row["id"] for row in self._left_out}
        return {
            **self._rest,
            "pack": facts,
            "videos": [row for key, row in self._videos.items() if key in used],
            "images": [one.row for one in images],
            "annotations": [row for one in images for row in one.annotations],
            "ignore": [row for one in images for row in one.ignore],
        }

    def _reduced(self, records: Sequence[ImageRecord], raw: Mapping[str, Any], max_side_px: int) -> list[_Image]:
        rows = {(int(row["id"]), self._path.parent / str(row["file_name"])): row for row in raw["images"]}
        by_name = {row["name"]: key for key, row in self._videos.items()}
        boxes: dict[str, dict[int, list[dict[str, Any]]]] = {}
        for kind in ("annotations", "ignore"):
            boxes[kind] = defaultdict(list)
            for row in raw.get(kind, []):
                boxes[kind][int(row["image_id"])].append(row)
        images = []
        for number, record in enumerate(records):
            scale, size = reduction((record.height_px, record.width_px), max_side_px)
            row = rows[record.image_id, record.path]
            file = f"{self._path.name}.frames/{number:06d}.webp"
            facts = {name: row[name] for name in _IMAGE if name in row}
            video = int(row["video_id"]) if "video_id" in row else by_name[record.video]
            shape = {"file_name": file, "height": size[0], "width": size[1]}
            found = {
                kind: tuple(_scaled(box, scale) for box in of_image.get(record.image_id, ()))
                for kind, of_image in boxes.items()
            }
            images.append(
                _Image(
                    StoredImage(record.path, (record.height_px, record.width_px), size, "bgr"),
                    {"id": record.image_id, "video_id": video, **facts, **shape},
                    found["annotations"],
                    found["ignore"],
                )
            )
        return images


def _groups(records: Sequence[ImageRecord]) -> list[list[int]]:
    counts = Counter(record.video for record in records)
    groups: dict[tuple[str | None, str, bool], list[int]] = defaultdict(list)
    for at, record in enumerate(records):
        sequence = record.video if counts[record.video] > 1 else None
        groups[sequence, record.licence, record.context].append(at)
    return list(groups.values())


def _videos(raw: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Sequences by their ids; an image that is of none is one by its file's name, which a pack changes."""
    kept = {
        int(row["id"]): {"id": int(row["id"]), "name": str(row["name"])} | {k: row[k] for k in _VIDEO if k in row}
        for row in raw.get("videos", [])
    }
    stills = dict.fromkeys(str(row["file_name"]) for row in raw["images"] if "video_id" not in row)
    first = max(kept, default=0) + 1
    names = {row["name"] for row in kept.values()}
    fresh = (name for name in stills if name not in names)
    return kept | {key: {"id": key, "name": name} for key, name in enumerate(fresh, first)}


def _scaled(row: Mapping[str, Any], scale: float) -> dict[str, Any]:
    box = [float(value) for value in row["bbox"]]
    ids = {name: row[name] for name in ("id", "image_id", "category_id") if name in row}
    scaled = box if scale == 1 else [round(value * scale, 2) for value in box]
    return ids | {"bbox": scaled} | {name: row[name] for name in _BOX if name in row}
