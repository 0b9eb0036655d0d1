"""The frames in which the chosen way differs most from the detector, as pictures with both's boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from lsts_edge.boxes import Boxes
from lsts_edge.errors import LstsEdgeError
from lsts_edge.evaluation.frame_boxes import FrameBoxes
from lsts_edge.evaluation.judging import judge
from lsts_edge.page.axes import Rectangle
from lsts_edge.page.document import escaped, picture
from lsts_edge.publish.wrap.study import DrawnBox, WorstFrame
from lsts_edge.runtime.sources.open import open_source

__all__ = ["Picture", "read_pictures", "worst_sheet"]

Picture = npt.NDArray[np.uint8]
"""``(H, W, 3)``, BGR."""

_STILLS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_WIDTH_PX = 520
_QUALITY = 82
_ACROSS = 28  # a picture is so many letters' heights wide
_TRUTH, _FOUND = "#00e676", "#ff5252"  # seen on dark and on light footage, each with a dark edge
_STYLE = (
    "<style>.frame rect { fill: none; stroke-width: 2.5; vector-effect: non-scaling-stroke }"
    " .frame .same { stroke-width: 1.2 } .frame .found { stroke-dasharray: 6 4 }"
    f" .frame rect.truth {{ stroke: {_TRUTH} }} .frame rect.found {{ stroke: {_FOUND} }}"
    f" .frame text.truth {{ fill: {_TRUTH} }} .frame text.found {{ fill: {_FOUND} }} .frame text {{ font-weight: 700;"
    " font-family: system-ui, sans-serif; paint-order: stroke; stroke: #000; stroke-width: .16em }</style>"
)
_LEGEND = (
    f'<p class="note"><b style="color:{_TRUTH};background:#222;padding:0 6px">solid</b> the detector on this frame, '
    f'<b style="color:{_FOUND};background:#222;padding:0 6px">dashed</b> the chosen way. '
    "Thick, and named where there is room, are boxes without a partner: missed or wrong. Point at any box for its name."
    "</p>"
)


def worst_sheet(frames: Sequence[WorstFrame], pictures: Sequence[Picture | None]) -> str:
    """HTML of all frames; one without a picture shows its boxes alone and says so.

    Args:
        frames: of a study.
        pictures: of each, in their own size; None where it could not be read.
    """
    shown = [_framed(frame, found) for frame, found in zip(frames, pictures, strict=True)]
    return f'{_STYLE}{_LEGEND}<div class="sheet">{"".join(shown)}</div>'


def read_pictures(frames: Sequence[WorstFrame]) -> list[Picture | None]:
    """The pictures of frames, each clip read once; None where it cannot be read any more.

    A frame of a labelled sequence is a file of its own.
    """
    wanted: dict[str, dict[int, Picture | None]] = {}
    for frame in frames:
        wanted.setdefault(frame.path, {})[frame.frame] = None
    for path, found in wanted.items():
        last = max(found)
        try:
            if not (Path(path).is_file() or Path(path).is_dir()):  # no address and no camera is asked again
                continue
            with open_source(path) as source:
                first = next(iter(found)) if Path(path).suffix.lower() in _STILLS else 0
                for index, one in enumerate(source, first):
                    if index in found:
                        found[index] = one.image
                    if index >= last:
                        break
        except LstsEdgeError:
            continue  # the sheet says so in the picture's place
    return [wanted[frame.path][frame.frame] for frame in frames]


def _framed(frame: WorstFrame, image: Picture | None) -> str:
    if image is None:
        corners = [(box.x2_px, box.y2_px) for box in (*frame.truth, *frame.found)]
        width, height = (max(32, *(round(corner[axis]) for corner in corners), 0) for axis in (0, 1))
        inside = ""
    else:
        height, width = image.shape[:2]
        scale = min(1.0, _WIDTH_PX / width)
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        content = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
        inside = f'<image width="{width}" height="{height}" href="{picture(content, "jpeg")}"/>'
    truth_alone, found_alone = _without_partner(frame)
    inside += "".join(_rectangle(box, "truth", one) for box, one in truth_alone)
    inside += "".join(_rectangle(box, "found", one) for box, one in found_alone)
    alone = [("truth", box) for box, one in truth_alone if one] + [("found", box) for box, one in found_alone if one]
    inside += "".join(_names(alone, width))
    after = f"{frame.distance} after its keyframe" if frame.distance else "a keyframe"
    gone = "" if image is not None else " (the clip cannot be read here: boxes alone)"
    caption = f"{frame.clip}, frame {frame.frame}, {after}: {frame.missed} missed, {frame.wrong} wrong{gone}"
    svg = f'<svg class="frame" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
    return f"<figure>{svg}{inside}</svg><figcaption>{escaped(caption)}</figcaption></figure>"


def _rectangle(box: DrawnBox, kind: str, alone: bool) -> str:
    """A box, thick where it has no partner."""
    sides = f'width="{max(box.x2_px - box.x1_px, 0):.1f}" height="{max(box.y2_px - box.y1_px, 0):.1f}"'
    place = f'x="{box.x1_px:.1f}" y="{box.y1_px:.1f}"'
    thin = "" if alone else " same"
    return f'<rect class="{kind}{thin}" {place} {sides}><title>{_told(box)}</title></rect>'


def _names(boxes: Sequence[tuple[str, DrawnBox]], width_px: int) -> Iterator[str]:
    """Texts beside boxes, the best scores first, as long as none lies on another: in a crowd the best are read."""
    taken: list[Rectangle] = []
    letter_px = width_px / _ACROSS
    for kind, box in sorted(boxes, key=lambda item: -item[1].score):
        beside = box.y1_px - 0.35 * letter_px if kind == "truth" else box.y2_px + letter_px
        baseline, width = max(beside, letter_px), 0.65 * letter_px * len(_told(box))
        left = max(min(box.x1_px, width_px - width), 0)
        place = Rectangle(left, baseline - letter_px, left + width, baseline + 0.3 * letter_px)
        if not any(map(place.meets, taken)):
            taken.append(place)
            size = f'font-size="{letter_px:.1f}" x="{left:.1f}" y="{baseline:.1f}"'
            yield f'<text class="{kind}" {size}>{_told(box)}</text>'


def _told(box: DrawnBox) -> str:
    return escaped(f"{box.name} {box.score:.2f}")


def _without_partner(frame: WorstFrame) -> tuple[list[tuple[DrawnBox, bool]], list[tuple[DrawnBox, bool]]]:
    """True boxes, and whether nothing found them; found ones, and whether they are wrong, by agreement's own rule."""
    names = list(dict.fromkeys(box.name for box in (*frame.truth, *frame.found)))
    judged = judge(_boxes(frame.truth, names), _boxes(frame.found, names))
    missed, wrong = (judged.taken_by < 0).tolist(), (~judged.correct).tolist()
    return list(zip(frame.truth, missed, strict=True)), list(zip(frame.found, wrong, strict=True))


def _boxes(drawn: Sequence[DrawnBox], names: list[str]) -> FrameBoxes:
    corners = [[box.x1_px, box.y1_px, box.x2_px, box.y2_px] for box in drawn]
    scores = np.array([box.score for box in drawn], np.float32)
    labels = np.array([names.index(box.name) for box in drawn], np.int64)
    return FrameBoxes.join([Boxes(np.array(corners, np.float32).reshape(-1, 4), scores, labels)])
