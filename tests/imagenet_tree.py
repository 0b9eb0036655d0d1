"""A small ImageNet VID and DET in the official layout, written where a test wants it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

__all__ = ["Thing", "write_picture", "write_vid_tree", "write_xml"]

HEIGHT, WIDTH = 40, 60
Thing = tuple[str, tuple[int, int, int, int], int | None]  # WordNet id, corner pixels, track


def write_picture(path: Path, height: int = HEIGHT, width: int = WIDTH) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".jpg", np.full((height, width, 3), 90, np.uint8))
    assert done
    path.write_bytes(data.tobytes())


def write_xml(path: Path, things: Sequence[Thing], height: int = HEIGHT, width: int = WIDTH) -> None:
    rows = []
    for name, box, track in things:
        corners = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        vid = "" if track is None else f"<trackid>{track}</trackid><occluded>{track}</occluded><generated>1</generated>"
        rows.append(f"<object><name>{name}</name><bndbox>{corners}</bndbox>{vid}</object>")
    path.parent.mkdir(parents=True, exist_ok=True)
    size = f"<size><width>{width}</width><height>{height}</height></size>"
    path.write_text(f"<annotation><folder>x</folder>{size}{''.join(rows)}</annotation>")


def write_vid_tree(root: Path, *, train_frames: int = 40, val_frames: int = 12) -> Path:
    """Two training videos (a car that moves one pixel a frame; a still dog), one validation video, four DET images."""
    sets = root / "ImageSets"
    for folder in ("VID", "DET"):
        (sets / folder).mkdir(parents=True)
    car, dog, bird, person = "n02958343", "n02084071", "n01503061", "n00007846"

    def frame(name: str, things: Sequence[Thing]) -> None:
        write_picture(root / "Data" / f"{name}.JPEG")
        write_xml(root / "Annotations" / f"{name}.xml", things)

    first, second = (
        "ILSVRC2015_VID_train_0000/ILSVRC2015_train_00000000",
        "ILSVRC2015_VID_train_0001/ILSVRC2015_train_1",
    )
    for number in range(train_frames):
        frame(f"VID/train/{first}/{number:06d}", [(car, (number % 40, 10, number % 40 + 9, 19), 0)])
        frame(f"VID/train/{second}/{number:06d}", [(dog, (5, 5, 24, 14), 1)])
    (sets / "VID" / "train_7.txt").write_text(f"{first} 1\n")
    (sets / "VID" / "train_9.txt").write_text(f"{second} 1\n{first} -1\n")
    lines = []
    for number in range(val_frames):
        name = f"ILSVRC2015_val_00000000/{number:06d}"
        frame(f"VID/val/{name}", [(car, (2 * number, 10, 2 * number + 19, 29), 0), (bird, (30, 2, 39, 11), 1)])
        lines.append(f"{name} {number + 1}\n")
    (sets / "VID" / "val.txt").write_text("".join(lines))
    for key, number in ((car, 37), (dog, 58), (bird, 26)):
        names = [f"ILSVRC2013_train/{key}/{key}_{index}" for index in range(2)] + ["ILSVRC2014_train_0006/both"]
        for name in names[:2]:
            frame(f"DET/train/{name}", [(key, (1, 1, 20, 20), None), (person, (0, 0, 9, 9), None)])
        (sets / "DET" / f"train_{number}.txt").write_text("".join(f"{n} 1\n" for n in names) + "no/image -1\n")
    frame("DET/train/ILSVRC2014_train_0006/both", [(k, (1, 1, 20, 20), None) for k in (car, dog, bird)])
    return root
