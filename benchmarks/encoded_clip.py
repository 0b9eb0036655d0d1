"""The procedural clip as an H.264 file of any size, so that a benchmark decodes without needing a video."""

from __future__ import annotations

import re
from pathlib import Path

from lsts_edge.boxes import Boxes
from lsts_edge.clips import moving_clip
from lsts_edge.errors import OptionError
from lsts_edge.runtime import Detections, Frame

__all__ = ["clip_name", "encode_clip", "parse_size"]

_FRAMES = 120
_RATE_FPS = 30.0


def parse_size(text: str) -> tuple[int, int]:
    """``(height_px, width_px)`` of a text such as ``640x360``.

    Raises:
        OptionError: if it is not two even numbers from 64 to 4096, the width first.
    """
    found = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text)
    width, height = (int(number) for number in found.groups()) if found else (0, 0)
    if not all(64 <= side <= 4096 and side % 2 == 0 for side in (width, height)):
        expected = "WIDTHxHEIGHT, even, 64 to 4096 pixels"
        raise OptionError("--clip-size", got=repr(text), expected=expected, fix="Give 640x360.")
    return height, width


def clip_name(height_px: int, width_px: int) -> str:
    """File name of the clip at a size."""
    return f"procedural-{width_px}x{height_px}.mp4"


def encode_clip(folder: Path, height_px: int, width_px: int) -> Path:
    """Write 120 frames of the procedural clip into ``folder`` and return the file's path.

    Raises:
        FileUnwritable: if the folder cannot be written to.
    """
    from lsts_edge.runtime.sinks.video import VideoSink

    path = folder / clip_name(height_px, width_px)
    sink = VideoSink(path, rate_fps=_RATE_FPS)
    try:
        for index, image in enumerate(moving_clip(_FRAMES, height_px, width_px)):
            sink.write(Frame(image, index), _nothing_found(index))
        sink.finish()
        sink.publish()
    except BaseException:
        sink.abandon()
        raise
    sink.settle()
    return path


def _nothing_found(frame: int) -> Detections:
    return Detections(
        frame=frame,
        time_s=None,
        kind="propagated",
        feature_age=0,
        boxes=Boxes.empty(),
        label_names=(),
    )
