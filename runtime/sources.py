"""Opens whatever holds frames: video files, streams, cameras, image folders, arrays."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path

import cv2
import numpy as np

from lsts_edge.errors import OptionError, StreamEmpty, StreamUnreadable
from lsts_edge.runtime.drop_oldest import DropOldest
from lsts_edge.runtime.frames import Frame, Source
from lsts_edge.runtime.video_source import VideoSource

__all__ = ["ArraySource", "ImageFolder", "open_source"]

_LIVE = ("rtsp://", "rtsps://", "rtmp://", "rtmps://", "udp://", "rtp://", "srt://", "tcp://")
_REMOTE = (*_LIVE, "http://", "https://")
_IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


class ArraySource(Source):
    """Frames that are already arrays, evenly spaced in time: procedural clips, tests, somebody's own reader."""

    def __init__(self, frames: Iterable[np.ndarray], *, rate_fps: float = 25.0, name: str = "arrays") -> None:
        """Keep the iterable; it is read once.

        Args:
            frames: ``(H, W, 3)`` uint8 BGR each.
            rate_fps: frames per second, above 0.
            name: for messages.
        Raises:
            OptionError: if the rate is not above 0.
        """
        if not rate_fps > 0:
            raise OptionError("frame rate", got=rate_fps, expected="above 0", fix="Correct it.")
        self.name = name
        self.rate_fps = rate_fps
        self.frame_count = len(frames) if isinstance(frames, Sized) else None
        self._frames = frames
        self._step_s = 1.0 / rate_fps

    def __iter__(self) -> Iterator[Frame]:
        """Yield each array as a frame.

        Raises:
            StreamEmpty: if there is none.
        """
        index = -1
        begin = time.perf_counter_ns()
        for index, image in enumerate(self._frames):
            if self.stopping:
                return
            yield Frame(image, index, index * self._step_s, decode_ms=(time.perf_counter_ns() - begin) / 1e6)
            begin = time.perf_counter_ns()
        if index < 0:
            raise StreamEmpty(f"{self.name} gave no frame", got="0 frames", expected="at least 1", fix="Give frames.")


class ImageFolder(Source):
    """The pictures of a folder in the order of their names; sizes may differ, unreadable ones are counted as lost."""

    def __init__(self, folder: Path, *, rate_fps: float = 25.0) -> None:
        """List the pictures.

        Args:
            folder: holds .jpg, .png, .bmp, .webp, .tif, .ppm or .pgm files; others are ignored.
            rate_fps: the rate their time stamps follow.
        Raises:
            StreamEmpty: if the folder has none.
        """
        self.name = str(folder)
        self.rate_fps = rate_fps
        self._paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _IMAGES and path.is_file())
        self.frame_count = len(self._paths)
        self._step_s = 1.0 / rate_fps
        if not self._paths:
            raise StreamEmpty(
                f"no pictures in {folder}", got="none", expected=", ".join(_IMAGES), fix="Give a folder of pictures."
            )

    def __iter__(self) -> Iterator[Frame]:
        """Yield each readable picture.

        Raises:
            StreamUnreadable: if none of them can be read.
        """
        index, lost_before = 0, 0
        for position, path in enumerate(self._paths):
            if self.stopping:
                return
            begin = time.perf_counter_ns()
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is None:
                lost_before += 1
                self.lost += 1
                continue
            decode_ms = (time.perf_counter_ns() - begin) / 1e6
            yield Frame(image, index, position * self._step_s, lost_before=lost_before, decode_ms=decode_ms)
            index, lost_before = index + 1, 0
        if index == 0:
            raise StreamUnreadable(
                f"pictures in {self.name}", got=f"{self.lost} unreadable", expected="pictures", fix="Check the files."
            )


def open_source(source: str | os.PathLike[str], *, drop_oldest: bool | None = None) -> Source:
    """Open a source by its path, number or URL.

    Args:
        source: a video file, a folder of pictures, a camera (``/dev/video0`` or its number), or a URL
            (``rtsp://``, ``http://``, ...).
        drop_oldest: leave out the oldest waiting frames when the consumer is slower than the source; None does so
            for cameras and live streams, and never for files.
    Raises:
        StreamUnreadable: if it cannot be opened or is no video.
        StreamEmpty: if a folder has no pictures.
    """
    text = os.fspath(source)
    opened, live = _open(text)
    return DropOldest(opened) if (live if drop_oldest is None else drop_oldest) else opened


def _open(text: str) -> tuple[Source, bool]:
    if text.startswith(_REMOTE):
        options = {"rtsp_transport": "tcp"} if text.startswith("rtsp") else None
        return VideoSource(text, name=_without_password(text), options=options), text.startswith(_LIVE)
    path = Path(text)
    if text.startswith("/dev/video") or (text.isdigit() and not path.exists()):
        device = f"/dev/video{text}" if text.isdigit() else text
        return VideoSource(device, name=device, container_format="v4l2"), True
    if not path.exists():
        raise StreamUnreadable(
            f"no such video: {text}",
            got="nothing there",
            expected="a video file, image folder, camera or stream URL",
            fix="Check the path.",
        )
    if path.is_dir():
        return ImageFolder(path), False
    # "file:" keeps a strange file name from being taken for a protocol, and the whitelist keeps a playlist from
    # opening anything but files.
    return VideoSource(f"file:{path.absolute()}", name=text, options={"protocol_whitelist": "file"}), False


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
