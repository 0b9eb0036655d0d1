"""Clips without labels become training data: detectors as teachers, shot by shot, with every licence written down."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.datasets.publish_json import check_output, publish_json
from lsts_edge.errors import AnnotationError, FileUnwritable, LstsEdgeError, OptionError, StreamUnreadable
from lsts_edge.evaluation.grouped import KINDS, group_boxes, kind_boxes
from lsts_edge.evaluation.scenes import find_shots
from lsts_edge.kinds import check_fields
from lsts_edge.presets import FIVE_GROUPS
from lsts_edge.progress import Progress, silent
from lsts_edge.runtime.sources.open import open_source
from lsts_edge.train.fusion import fuse_boxes
from lsts_edge.train.teachers import Teacher

__all__ = ["TaughtClip", "TeachOptions", "teach_clips"]

NOT_STATED = "not stated"

_JPEG_QUALITY = 92
_ENDS_BYTES = 1 << 20


@dataclass(frozen=True)
class TaughtClip:
    """A video to label, and what its users must know.

    Attributes:
        path: the file.
        licence: of the footage.
        source: where it is from.
    """

    path: Path
    licence: str = NOT_STATED
    source: str = NOT_STATED


@dataclass(frozen=True)
class TeachOptions:
    """How clips are labelled.

    Attributes:
        every: of how many frames one is labelled and kept.
        object_score: fused boxes of this score or more are objects.
        doubtful_score: those below that, down to this score, are neither object nor background (``ignore``).
        fusion_iou: overlap from which boxes of two teachers are one.
        max_side_px: larger frames are reduced to this longer side.
        min_side_px: objects with a smaller side are doubtful.
        groups: classes of the labels.
    """

    every: int = 3
    object_score: float = 0.4
    doubtful_score: float = 0.25
    fusion_iou: float = 0.55
    max_side_px: int = 448
    min_side_px: float = 6.0
    groups: tuple[str, ...] = FIVE_GROUPS

    def __post_init__(self) -> None:
        check_fields(self)
        if not 1 <= self.every <= 1000 or self.max_side_px < 32:
            raise OptionError("frames to label", got=f"1 of {self.every}, {self.max_side_px} px",
                              expected="1 of 1..1000, 32 px or more", fix="Correct them.")  # fmt: skip
        if not 0 < self.doubtful_score <= self.object_score <= 1:
            got = f"{self.doubtful_score} and {self.object_score}"
            raise OptionError("scores", got=got, expected="0 < doubtful <= object <= 1", fix="Correct them.")


def teach_clips(
    clips: Sequence[TaughtClip],
    teachers: Sequence[Teacher],
    output: Path,
    options: TeachOptions | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Label clips and write a COCO-VID style file, its frames in the folder ``OUTPUT.frames`` beside it.

    Each shot is a sequence of its own. What each clip gave is kept in ``OUTPUT.parts`` until all is done, so that an
    interrupted run goes on where it was. A clip that cannot be read is left out, and the file says why.

    Args:
        clips: what to label.
        teachers: detectors of COCO's classes; their boxes are fused.
        output: the JSON file.
        options: None takes the usual ones.
        progress: told of clips done and clips in all.

    Returns:
        What was written.

    Raises:
        OptionError: if there is no teacher, or teachers know different classes.
        StreamUnreadable: if no clip can be read.
        FileUnwritable: if file or frames cannot be written.
    """
    options = options or TeachOptions()
    if not teachers or any(teacher.classes != teachers[0].classes for teacher in teachers):
        got = [f"{teacher.file}: {len(teacher.classes)} classes" for teacher in teachers]
        raise OptionError("teachers", got=got, expected="one or more of the same classes", fix="Choose others.")
    check_output(output)
    folder, parts = (output.with_name(output.name + ending) for ending in (".frames", ".parts"))
    made: list[dict[str, Any]] = []
    left_out: list[dict[str, str]] = []
    try:
        parts.mkdir(parents=True, exist_ok=True)
        for done, clip in enumerate(clips):
            progress(clip.path.name, done, len(clips))
            try:
                made.append(_part(clip, teachers, folder, parts, options))
            except (AnnotationError, LstsEdgeError) as error:
                left_out.append({"clip": clip.path.name, "reason": f"{error.problem}: {error.got}"})
        progress("clips", len(clips), len(clips))
        if not made:
            why = left_out[0]["reason"] if left_out else "no clip"
            raise StreamUnreadable("clips to label", got=why, expected="videos", fix="Check the paths.")
        content = _joined(made, left_out, teachers, options)
        publish_json(content, output)
        shutil.rmtree(parts)
    except OSError as error:
        if isinstance(error, LstsEdgeError):
            raise
        raise FileUnwritable(f"output {output}", got=str(error), expected="a folder with room", fix="Choose another.",
                             ) from error  # fmt: skip
    return content


def _part(
    clip: TaughtClip, teachers: Sequence[Teacher], folder: Path, parts: Path, options: TeachOptions
) -> dict[str, Any]:
    """What one clip gave, from an earlier run if it is the same clip, teachers and options."""
    identity = json.dumps([_digest(clip.path), [t.sha256 for t in teachers], dataclasses.asdict(options)])
    key = hashlib.sha256(identity.encode()).hexdigest()
    stored = parts / f"{key}.json"
    if stored.is_file():
        found: dict[str, Any] = json.loads(stored.read_text(encoding="utf-8"))
    else:
        found = _label(clip, teachers, folder / f"{clip.path.stem}-{key[:8]}", options)
        stored.write_text(json.dumps(found), encoding="utf-8")
    return found | {"clip": clip.path.name, "licence": clip.licence, "source": clip.source}


def _label(clip: TaughtClip, teachers: Sequence[Teacher], folder: Path, options: TeachOptions) -> dict[str, Any]:
    with open_source(clip.path) as source:
        shots = find_shots(frame.image for frame in source)
    folder.mkdir(parents=True, exist_ok=True)
    frames: list[dict[str, Any]] = []
    starts = [shot.start for shot in shots]
    with open_source(clip.path) as source:
        for number, frame in enumerate(source):
            shot = int(np.searchsorted(starts, number, side="right")) - 1
            if (number - starts[shot]) % options.every:
                continue
            image = _reduced(frame.image, options.max_side_px)
            found = [kind_boxes(teacher.look(image), teacher.classes) for teacher in teachers]
            boxes = group_boxes(fuse_boxes(found, iou=options.fusion_iou), KINDS, options.groups)
            name = f"{number:06d}.jpg"
            if not cv2.imwrite(str(folder / name), image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]):
                raise OSError(f"{folder / name} cannot be written")
            frames.append(
                {"shot": shot, "frame": number, "file": f"{folder.parent.name}/{folder.name}/{name}",
                 "size": image.shape[:2], **_sorted_out(boxes, options)}
            )  # fmt: skip
    return {"frames": frames}


def _sorted_out(boxes: Boxes, options: TeachOptions) -> dict[str, Any]:
    """Objects and doubtful boxes as rows ``[x, y, w, h, label, score]``."""
    sides = (boxes.xyxy_px[:, 2:] - boxes.xyxy_px[:, :2]).min(axis=1) if len(boxes) else np.zeros(0)
    certain = (boxes.scores >= options.object_score) & (sides >= options.min_side_px)
    doubtful = (boxes.scores >= options.doubtful_score) & ~certain
    return {"objects": _rows(boxes.select(certain)), "ignore": _rows(boxes.select(doubtful))}


def _rows(boxes: Boxes) -> list[list[float]]:
    sizes = np.concatenate((boxes.xyxy_px[:, :2], boxes.xyxy_px[:, 2:] - boxes.xyxy_px[:, :2]), axis=1)
    return [
        [*(round(value, 2) for value in box), label, round(score, 4)]
        for box, label, score in zip(sizes.tolist(), boxes.labels.tolist(), boxes.scores.tolist(), strict=True)
    ]


def _joined(
    made: Sequence[Mapping[str, Any]],
    left_out: list[dict[str, str]],
    teachers: Sequence[Teacher],
    options: TeachOptions,
) -> dict[str, Any]:
    """One COCO-VID style object."""
    videos: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    boxes: dict[str, list[dict[str, Any]]] = {"annotations": [], "ignore": []}
    for part in made:
        shots = sorted({frame["shot"] for frame in part["frames"]})
        ids = {shot: len(videos) + 1 + rank for rank, shot in enumerate(shots)}
        for rank, shot in enumerate(shots):
            name = part["clip"] if len(shots) == 1 else f"{part['clip']} shot {rank + 1}"
            videos.append({"id": ids[shot], "name": name, "licence": part["licence"], "source": part["source"]})
        for frame in part["frames"]:
            height, width = frame["size"]
            images.append({"id": len(images) + 1, "video_id": ids[frame["shot"]], "frame_id": frame["frame"],
                           "file_name": frame["file"], "height": height, "width": width})  # fmt: skip
            for key, rows in (("annotations", frame["objects"]), ("ignore", frame["ignore"])):
                for x, y, w, h, label, score in rows:
                    row = {"image_id": len(images), "category_id": int(label) + 1, "bbox": [x, y, w, h],
                           "area": round(w * h, 1), "score": score}  # fmt: skip
                    extra = {"id": len(boxes[key]) + 1, "iscrowd": 0} if key == "annotations" else {"ignore": 1}
                    boxes[key].append(row | extra)
    info = {
        "description": "labelled by detectors, not by people",
        "teachers": [{"file": teacher.file, "sha256": teacher.sha256} for teacher in teachers],
        "options": dataclasses.asdict(options),
        "licences": sorted({part["licence"] for part in made}),
        "left_out": left_out,
    }
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(options.groups)]
    return {"info": info, "categories": categories, "videos": videos, "images": images, **boxes}


def _reduced(image: np.ndarray, max_side_px: int) -> np.ndarray:
    scale = max_side_px / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _digest(path: Path) -> str:
    """Of the file's ends and size: footage may be long."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_ENDS_BYTES)
            file.seek(max(_ENDS_BYTES, size - _ENDS_BYTES))
            return hashlib.sha256(f"{size}:".encode() + head + file.read(_ENDS_BYTES)).hexdigest()
    except OSError as error:
        reason = error.strerror or str(error)
        raise StreamUnreadable(f"clip {path}", got=reason, expected="a video file", fix="Check the path.") from error
