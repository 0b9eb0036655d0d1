"""Opens a source by its path, number or URL: video files, streams, cameras, image folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lsts_edge.errors import StreamUnreadable
from lsts_edge.runtime.sources.drop_oldest import DropOldest
from lsts_edge.runtime.sources.images import ImageFolder
from lsts_edge.runtime.sources.interface import Source

__all__ = ["open_source"]

_LIVE = ("rtsp://", "rtsps://", "rtmp://", "rtmps://", "udp://", "rtp://", "srt://", "tcp://")
_REMOTE = (*_LIVE, "http://", "https://")


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
        return _video(text, name=_without_password(text), options=options), text.startswith(_LIVE)
    path = Path(text)
    if text.startswith("/dev/video") or (text.isdigit() and not path.exists()):
        device = f"/dev/video{text}" if text.isdigit() else text
        return _video(device, name=device, container_format="v4l2"), True
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
    return _video(f"file:{path.absolute()}", name=text, options={"protocol_whitelist": "file"}), False


def _video(url: str, **options: Any) -> Source:
    from lsts_edge.runtime.sources.video import VideoSource  # who gives arrays does not wait for PyAV's import

    return VideoSource(url, **options)


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
