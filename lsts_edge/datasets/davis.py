"""DAVIS 2016 in its official layout as COCO-VID style annotations: a box around each mask, in five groups."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from lsts_edge.datasets.coco_video import CocoVideo
from lsts_edge.datasets.mask_box import mask_box
from lsts_edge.datasets.picture_size import picture_size
from lsts_edge.errors import AnnotationError
from lsts_edge.presets import FIVE_GROUPS
from lsts_edge.progress import Progress, silent
from lsts_edge.read_file import read_file
from lsts_edge.runtime.sources.picture import read_picture

__all__ = ["DAVIS_GROUPS", "convert_davis"]

_SEQUENCES = {
    "person": "breakdance breakdance-flare dance-jump dance-twirl hike hockey kite-walk lucia parkour rollerblade "
    "stroller swing tennis",
    "rider": "bmx-bumps bmx-trees horsejump-high horsejump-low kite-surf motocross-bumps motocross-jump motorbike "
    "paragliding paragliding-launch scooter-black scooter-gray soapbox surf",
    "vehicle": "boat bus car-roundabout car-shadow car-turn drift-chicane drift-straight drift-turn train",
    "bird": "blackswan flamingo mallard-fly mallard-water",
    "quadruped": "bear camel cows dog dog-agility elephant goat libby rhino",
    "": "soccerball",
}  # fmt: skip
DAVIS_GROUPS: Mapping[str, str] = MappingProxyType(
    {name: group for group, names in _SEQUENCES.items() for name in names.split()}
)
"""Group of the one object of each of the 50 sequences; ``""``: of none, so its frames show nothing."""

_LICENCE = "CC BY 4.0 and CC BY-NC 4.0 are both named for DAVIS: non-commercial, to be safe"
_MAX_LIST_BYTES = 1 << 24
_FRAME = re.compile(r"/?JPEGImages/(1080p|480p)/([A-Za-z0-9-]+)/(\d{1,9})\.jpg")


def convert_davis(
    root: Path,
    output: Path,
    *,
    split: Literal["train", "val"] = "train",
    resolution: Literal["480p", "1080p"] = "480p",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Read the official folders; the pictures stay where they are.

    A frame whose mask is empty shows nothing. One without a mask, or whose mask is of another size, is left out and
    counted by reason in ``info``.

    Args:
        root: the folder that holds ``JPEGImages``, ``Annotations`` and ``ImageSets``.
        output: the JSON file to be, which the paths of the pictures are relative to.
        split: the official one, by sequence.
        resolution: of pictures and masks.
        progress: told of sequences done and sequences in all.

    Returns:
        The annotations; nothing is written.

    Raises:
        AnnotationError: if there is no such layout, or nothing is left.
    """
    made = CocoVideo(FIVE_GROUPS)
    relative = os.path.relpath(os.path.realpath(root), os.path.realpath(output.parent))
    sequences = _sequences(root / "ImageSets" / resolution / f"{split}.txt")
    for done, (name, frames) in enumerate(sequences.items()):
        progress(name, done, len(sequences))
        group = DAVIS_GROUPS.get(name)
        if group is None:
            made.leave_out("sequence that DAVIS 2016 does not have", name)
            continue
        read = []
        for number, stem in sorted(frames.items()):
            picture = f"JPEGImages/{resolution}/{name}/{stem}.jpg"
            try:
                size = picture_size(root / picture)
                read.append((number, picture, size, _box(root / f"Annotations/{resolution}/{name}/{stem}.png", size)))
            except AnnotationError as error:
                made.leave_out(str(error.got), picture)
        if not read:
            continue
        video = made.add_video(name, split=split, **{"class": group or None})
        for number, picture, size, box in read:
            image = made.add_image(f"{relative}/{picture}", size, video_id=video, frame_id=number)
            if box is not None and group:
                made.add_box(image, FIVE_GROUPS.index(group), box, instance_id=1)
    progress("sequences", len(sequences), len(sequences))
    content = made.content(
        description=f"DAVIS 2016 {split}, one box a frame around the mask of its main object, in five groups",
        licence=_LICENCE,
    )
    if not content["images"]:
        why = content["info"]["left_out"][:3] or "an empty list"
        raise AnnotationError(f"DAVIS in {root}", got=why, expected="frames with masks", fix="Unpack it in full.")
    return content


def _sequences(path: Path) -> dict[str, dict[int, str]]:
    """Frames by number, with their names, of each sequence in a list."""
    frames: dict[str, dict[int, str]] = {}
    for line in _lines(path):
        match = _FRAME.fullmatch(line.split()[0])
        if match is None:
            raise _no_list(path, f"line {ascii(line)[:60]}")
        frames.setdefault(match[2], {})[int(match[3])] = match[3]
    return frames


def _lines(path: Path) -> Iterator[str]:
    try:
        lines = read_file(path, _MAX_LIST_BYTES).decode("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _no_list(path, getattr(error, "strerror", None) or "other characters than ASCII") from error
    yield from (line for line in lines if line.strip())


def _box(path: Path, size_hw: tuple[int, int]) -> tuple[float, float, float, float] | None:
    """``x, y, w, h`` around what is not black in a mask, edges; None where all is."""
    image, why = read_picture(path)
    if image is None:
        raise AnnotationError(f"mask {path}", got=f"mask: {why}", expected="a picture", fix="Restore the file.")
    if image.shape[:2] != size_hw:
        got = "picture and mask of different sizes"
        raise AnnotationError(f"mask {path}", got=got, expected=size_hw, fix="Restore the file.")
    return mask_box(image.max(axis=2) > 0)


def _no_list(path: Path, got: str) -> AnnotationError:
    return AnnotationError(f"list {path}", got=got, expected="lines as /JPEGImages/480p/bear/00000.jpg ...",
                           fix="Name the folder that DAVIS-2016 unpacks to.")  # fmt: skip
