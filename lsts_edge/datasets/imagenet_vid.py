"""ImageNet VID and DET in their official layout as COCO-VID style annotations, with the paper's choice of frames."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lsts_edge.datasets.coco_video import CocoVideo
from lsts_edge.datasets.imagenet_classes import DET_NUMBERS, VID_LABELS
from lsts_edge.datasets.picture_size import picture_size
from lsts_edge.datasets.voc_xml import VocImage, VocObject, read_voc
from lsts_edge.errors import AnnotationError, OptionError
from lsts_edge.kinds import check_fields
from lsts_edge.presets import IMAGENET_VID_CLASSES
from lsts_edge.progress import Progress, silent
from lsts_edge.read_file import read_file

__all__ = ["VidOptions", "convert_vid"]

CONTEXT_FRAMES = (-15, -10, -5, 5)
"""Where, seen from a training frame, the keyframes of its triplets are: back by 0 to L and L to 1.5 L where they are
drawn online, up to L/2 on either side and L/2 to L back offline, with L = 10."""

_LICENCE = "ImageNet's terms of access: non-commercial research and education"
_MAX_LIST_BYTES = 1 << 28
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_FRAME = re.compile(r"(\d{1,9})\.JPEG")


@dataclass(frozen=True)
class VidOptions:
    """What is taken of ImageNet.

    Attributes:
        split: ``val`` is every frame of the validation videos.
        frames_per_video: of the training videos, spread evenly; the paper, as FGFA before it, takes 15.
        context: take the frames around each of these too that its triplets need; none is drawn for itself.
        det: take the still images of DET with VID's classes as well.
        det_per_class: most of them for a class, spread evenly over its list.
    """

    split: Literal["train", "val"] = "train"
    frames_per_video: int = 15
    context: bool = True
    det: bool = False
    det_per_class: int = 2000

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("frames_per_video", "det_per_class"):
            value = getattr(self, name)
            if not 1 <= value <= 1_000_000:
                raise OptionError(name, got=value, expected="1 to a million", fix="Correct it.")
        if self.det and self.split != "train":
            raise OptionError(
                "DET with --split val", got="both", expected="one", fix="DET is for training: leave it out."
            )


def convert_vid(
    root: Path, output: Path, options: VidOptions | None = None, progress: Progress = silent
) -> dict[str, Any]:
    """Read the official folders; the pictures stay where they are.

    Frames without an annotation, or whose annotation is broken or is of another size than the picture, are left out
    and counted by reason in ``info``.

    Args:
        root: the folder that holds ``Data``, ``Annotations`` and ``ImageSets``, or its parent.
        output: the JSON file to be, which the paths of the pictures are relative to.
        options: None takes the paper's choice of training frames.
        progress: told of videos done and videos in all.

    Returns:
        The annotations; nothing is written.

    Raises:
        AnnotationError: if folders or lists are missing or a list is none, or nothing is left.
    """
    options = options or VidOptions()
    reader = _Reader(_root(root), output)
    snippets = (_train_snippets if options.split == "train" else _val_snippets)(reader.root)
    total = len(snippets)
    for done, (snippet, frames) in enumerate(snippets.items()):
        progress(snippet, done, total)
        if options.split == "train":
            _add_train_video(reader, snippet, options)
        else:
            reader.add_video(f"val/{snippet}", dict.fromkeys(frames, False))
    progress("videos", total, total)
    if options.det:
        for label, (key, number) in enumerate(DET_NUMBERS.items()):
            progress(f"DET {IMAGENET_VID_CLASSES[label]}", label, len(DET_NUMBERS))
            _add_stills(reader, key, number, options.det_per_class)
        progress("DET", len(DET_NUMBERS), len(DET_NUMBERS))
    content = reader.set.content(
        description=f"ImageNet VID {options.split}" + (" and DET" if options.det else ""),
        licence=_LICENCE,
        options=dataclasses.asdict(options),
    )
    if not content["images"]:
        why = content["info"]["left_out"][:3] or "empty lists"
        raise AnnotationError(f"ImageNet VID in {root}", got=why, expected="a frame with its annotation",
                              fix="Check that Data and Annotations are unpacked in full.")  # fmt: skip
    return content


class _Reader:
    """What is read so far, and where from."""

    def __init__(self, root: Path, output: Path) -> None:
        self.root = root
        self.set = CocoVideo(IMAGENET_VID_CLASSES)
        self._relative = os.path.relpath(os.path.realpath(root), os.path.realpath(output.parent))
        self.stills: set[str] = set()
        self._names: set[str] = set()

    def add_video(self, snippet: str, frames: dict[int, bool]) -> None:
        """Add frames by number, with whether each is there for others only."""
        name = snippet.rsplit("/", 1)[-1]
        name = snippet.replace("/", " ") if name in self._names else name
        self._names.add(name)
        read = [(number, *found) for number in frames if (found := self.look(f"VID/{snippet}/{number:06d}"))]
        if not read:
            return
        video = self.set.add_video(name)
        for number, file, image in read:
            facts = {"context": 1} if frames[number] else {}
            size = (image.height_px, image.width_px)
            self.add_boxes(self.set.add_image(file, size, video_id=video, frame_id=number, **facts), image, file)

    def look(self, name: str) -> tuple[str, VocImage] | None:
        """Path and annotation of a picture; None, and counted, where the two are not there or do not agree."""
        picture = self.root / "Data" / f"{name}.JPEG"
        try:
            image = read_voc(self.root / "Annotations" / f"{name}.xml")
            size = picture_size(picture)
        except AnnotationError as error:
            self.set.leave_out(str(error.got), name)
            return None
        if size != (image.height_px, image.width_px):
            self.set.leave_out("picture and annotation of different sizes", name)
            return None
        return f"{self._relative}/Data/{name}.JPEG", image

    def add_boxes(self, key: int, image: VocImage, file: str) -> None:
        """Add the objects of VID's classes."""
        for one in image.objects:
            label = VID_LABELS.get(one.name)
            if label is None:
                if "/VID/" in file:  # DET has 170 other classes
                    self.set.leave_out(f"box of class {ascii(one.name)[:40]}", file)
                continue
            box = _edges(one, image)
            if box is None:
                self.set.leave_out("box without area in the picture", file)
                continue
            facts = {"instance_id": one.track, "occluded": one.occluded, "generated": one.generated}
            stated: dict[str, Any] = {name: int(value) for name, value in facts.items() if value is not None}
            self.set.add_box(key, label, box, **stated)


def _edges(one: VocObject, image: VocImage) -> tuple[float, float, float, float] | None:
    """Corner pixels, both inside, as ``x, y, w, h``, cut at the picture's border as FGFA cuts them."""
    left, top = max(0.0, one.corners_px[0]), max(0.0, one.corners_px[1])
    right, bottom = min(image.width_px - 1.0, one.corners_px[2]), min(image.height_px - 1.0, one.corners_px[3])
    return (left, top, right - left + 1, bottom - top + 1) if right >= left and bottom >= top else None


def _add_train_video(reader: _Reader, snippet: str, options: VidOptions) -> None:
    folder = reader.root / "Data/VID/train" / snippet
    try:
        found = sorted(int(match[1]) for name in os.listdir(folder) if (match := _FRAME.fullmatch(name)))
    except OSError:
        found = []
    if not found:
        reader.set.leave_out("video without frames", snippet)
        return
    chosen = _spread(len(found), options.frames_per_video)
    frames = dict.fromkeys(chosen, False)
    if options.context:
        around = {place + way for place in chosen for way in CONTEXT_FRAMES if 0 <= place + way < len(found)}
        frames |= dict.fromkeys(around - set(chosen), True)
    reader.add_video(f"train/{snippet}", {found[place]: frames[place] for place in sorted(frames)})


def _add_stills(reader: _Reader, key: str, number: int, most: int) -> None:
    """Positive images of one class; one that several classes chose is added once, with the first."""
    rows = _rows(reader.root / f"ImageSets/DET/train_{number}.txt")
    names = sorted({_path(name) for name, mark in rows if mark == "1"})
    for place in _spread(len(names), most):
        name = f"DET/train/{names[place]}"
        if name in reader.stills:
            continue
        reader.stills.add(name)
        found = reader.look(name)
        if found is None:
            continue
        file, image = found
        if not any(one.name == key for one in image.objects):
            reader.set.leave_out("DET image without an object of its list's class", name)
            continue
        reader.add_boxes(reader.set.add_image(file, (image.height_px, image.width_px)), image, file)


def _spread(count: int, wanted: int) -> list[int]:
    """Places spread evenly, each in the middle of a part: 10, 30 ... 290 are 15 of 300, as in FGFA's list."""
    if count <= wanted:
        return list(range(count))
    return [(2 * part + 1) * count // (2 * wanted) for part in range(wanted)]


def _root(root: Path) -> Path:
    for folder in (root, root / "ILSVRC2015", root / "ILSVRC"):
        if all((folder / name / "VID").is_dir() for name in ("Data", "Annotations", "ImageSets")):
            return folder
    raise AnnotationError(
        f"ImageNet VID in {root}", got="not that layout", expected="Data/VID, Annotations/VID and ImageSets/VID",
        fix="Name the folder ILSVRC2015 that the official archive unpacks to.",
    )  # fmt: skip


def _train_snippets(root: Path) -> dict[str, Sequence[int]]:
    """The videos of ``train.txt`` or, as in the official archive, of ``train_1.txt`` to ``train_30.txt``."""
    folder = root / "ImageSets/VID"
    lists = [folder / "train.txt"] if (folder / "train.txt").is_file() else sorted(folder.glob("train_*.txt"))
    if not lists:
        raise _no_list(folder / "train_1.txt", "no such file")
    names = {_path(name) for path in lists for name, mark in _rows(path) if mark != "-1"}
    return dict.fromkeys(sorted({re.sub(r"/\d{6}$", "", name) for name in names}), ())


def _val_snippets(root: Path) -> dict[str, Sequence[int]]:
    """Videos and frames of ``val.txt``: a line each frame, ``ILSVRC2015_val_00000000/000000 1``."""
    path = root / "ImageSets/VID/val.txt"
    videos: dict[str, list[int]] = {}
    for name, _ in _rows(path):
        snippet, _, frame = _path(name).rpartition("/")
        if not snippet or not frame.isdecimal() or len(frame) > 9:
            raise _no_list(path, f"line {ascii(name)[:60]}")
        videos.setdefault(snippet, []).append(int(frame))
    return {name: sorted(set(frames)) for name, frames in videos.items()}


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    """First and second word of each line."""
    try:
        lines: Iterable[str] = read_file(path, _MAX_LIST_BYTES).decode("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _no_list(path, getattr(error, "strerror", None) or "other characters than ASCII") from error
    for line in lines:
        words = line.split()
        if words:
            yield words[0], words[1] if len(words) > 1 else ""


def _path(name: str) -> str:
    """A name of a list, which may not lead elsewhere."""
    if not all(_NAME.fullmatch(part) for part in name.split("/")):
        raise AnnotationError(
            "name in a list of ImageNet", got=ascii(name)[:60], expected="a path below ROOT", fix="Use official lists."
        )
    return name


def _no_list(path: Path, got: str) -> AnnotationError:
    return AnnotationError(f"list {path}", got=got, expected="a list of ImageNet", fix="Use the official ImageSets.")
