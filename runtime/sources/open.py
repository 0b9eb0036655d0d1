"""Opens a source by its path, number or URL: video files, streams, cameras, pipes, image folders."""

from __future__ import annotations

import os
import socket
import urllib.parse
from pathlib import Path

from lsts_edge.errors import StreamLost, StreamUnreadable
from lsts_edge.kinds import check_kind
from lsts_edge.runtime.sources.address import Address, find_address
from lsts_edge.runtime.sources.animation import AnimatedWebP
from lsts_edge.runtime.sources.drop_oldest import DropOldest
from lsts_edge.runtime.sources.images import ImageFolder
from lsts_edge.runtime.sources.interface import Source
from lsts_edge.runtime.sources.options import SourceOptions
from lsts_edge.runtime.sources.raw_pipe import RawPipe, csi_command
from lsts_edge.runtime.sources.read_ahead import ReadAhead
from lsts_edge.runtime.sources.reconnecting import Reconnecting
from lsts_edge.runtime.sources.stride import EveryNth

__all__ = ["open_source"]

_OPEN_S = 10.0
_READ_S = 5.0
# Of an attempt to find a lost source again: one that hangs because the cable came back in the middle of it is given
# up soon, and a camera that needs longer gets longer every third time.
_AGAIN_S = (3.0, 5.0, 10.0)
_KNOCK_S = 1.0
_KNOWN = {"analyzeduration": "500000"}  # microseconds: its rate is known, and FFmpeg would watch it longer for that
_PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "http": 80, "https": 443}
_CSI_SIZE, _CSI_RATE_FPS = "1280x720", 30.0


def open_source(source: str | os.PathLike[str], options: SourceOptions | None = None) -> Source:
    """Open a source by its path, number or URL.

    Args:
        source: a video file, a picture or a folder of them, a FIFO, ``-`` for standard input, a camera (a V4L2 device
            or its number, ``csi://0``), or a URL (``rtsp://``, ``http://``, ``udp://``, ``file://``, ...).
        options: None takes the defaults: every frame of a file, the newest of a live source, which is found again
            after it was lost.
    Raises:
        StreamUnreadable: if it cannot be opened or is no video.
        StreamEmpty: if a folder has no pictures.
        OptionError: if an option does not concern this source.
    """
    check_kind("source", source, str | os.PathLike)
    check_kind("source options", options, SourceOptions | None)
    options = options or SourceOptions()
    address = find_address(os.fspath(source), options)
    opened = _live(address, options) if address.live else _open(address, options, 0)
    if options.every > 1:
        opened = EveryNth(opened, options.every)
    policy = options.policy or ("latest" if address.live else "every")
    if policy == "latest":
        return DropOldest(opened)
    return ReadAhead(opened, options.read_ahead) if options.read_ahead else opened


def _live(address: Address, options: SourceOptions) -> Source:
    seconds = options.reconnect
    give_up_s = 0.0 if seconds == "never" else None if seconds in (None, "forever") else float(seconds)
    return Reconnecting(
        lambda tries: _open(address, options, tries),
        name=address.name,
        give_up_s=give_up_s,
        stall_s=options.stall_s,
        wait_for_first=options.reconnect not in (None, "never"),
    )


def _open(address: Address, options: SourceOptions, tries: int) -> Source:
    if address.kind in ("folder", "picture"):
        return ImageFolder(Path(address.target))
    if address.kind == "webp":
        return AnimatedWebP(Path(address.target))
    if address.kind == "pipe":
        from lsts_edge.runtime.sources.pipe import PipeSource

        return PipeSource(
            address.target, name=address.name, stream=options.stream, decoder_threads=options.decoder_threads
        )
    if address.kind == "csi":
        return _csi(address, options)
    from lsts_edge.runtime.sources.video import VideoSource  # who gives arrays does not wait for PyAV's import

    timeouts_s: tuple[float, float] | None = None
    reader = address.reader_options
    if address.live:
        timeouts_s = (_AGAIN_S[(tries - 1) % len(_AGAIN_S)] if tries else _OPEN_S, options.stall_s)
        if tries:
            _knock(address, options)
            reader = {**reader, **_KNOWN}
    elif address.kind == "http":
        timeouts_s = (_OPEN_S, _READ_S)
    return VideoSource(
        address.target,
        name=address.name,
        container_format=address.container_format,
        reader_options=reader,
        timeouts_s=timeouts_s,
        stream=options.stream,
        decoder_threads=options.decoder_threads,
        live=address.live,
    )


def _knock(address: Address, options: SourceOptions) -> None:
    """Ask whether the machine answers before FFmpeg does, which waits through the network's own long pauses.

    Raises:
        StreamUnreadable: if it does not.
        StreamLost: if it says that the stream is over.
    """
    if address.playlist:
        from lsts_edge.runtime.sources.http_probe import ask_http  # who reads files does not wait for HTTP and TLS

        if not ask_http(address.target, check_certificates=options.check_certificates, ca_file=options.ca_file).live:
            got, expected = "a playlist that says it is complete", "a live stream"
            raise StreamLost(f"{address.name} is over", got=got, expected=expected, fix="Nothing more will come.")
        return
    parts = urllib.parse.urlsplit(address.target)
    port = _port(parts)
    if port is None or parts.hostname is None or parts.scheme not in _PORTS:
        return
    try:
        socket.create_connection((parts.hostname, port), _KNOCK_S).close()
    except OSError as error:
        raise StreamUnreadable(
            f"cannot reach {address.name}",
            got=error.strerror or str(error) or "no answer",
            expected="a connection",
            fix="Check that the camera is on, its cable and network.",
        ) from error


def _port(parts: urllib.parse.SplitResult) -> int | None:
    try:
        return parts.port or _PORTS.get(parts.scheme)
    except ValueError:  # a password with a slash in it: FFmpeg knows better where the host is
        return None


def _csi(address: Address, options: SourceOptions) -> Source:
    width_px, height_px = map(int, (options.camera_size or _CSI_SIZE).split("x"))
    rate_fps = options.camera_rate or _CSI_RATE_FPS
    command = csi_command(int(address.target), height_px=height_px, width_px=width_px, rate_fps=rate_fps)
    return RawPipe(
        command,
        name=address.name,
        height_px=height_px,
        width_px=width_px,
        rate_fps=rate_fps,
        stall_s=options.stall_s,
    )
