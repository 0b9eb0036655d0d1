"""Video files, network streams and cameras through PyAV: the exact end, real sizes, and damage reported."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import av
import av.error
import cv2
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from lsts_edge.errors import StreamEmpty, StreamError, StreamUnreadable
from lsts_edge.runtime.sources.interface import Frame, Source

__all__ = ["VideoSource"]

_OPEN_TIMEOUT_S = 10.0
_READ_TIMEOUT_S = 5.0
_MAX_READ_ERRORS = 100  # in a row: what is left of the file is unreadable
_ROTATIONS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


class VideoSource(Source):
    """The first video stream of a file, URL or device.

    Frames come in their real size, turned upright by the rotation tag. Errors of single packets are survived:
    what they cost is told by ``damaged`` and ``lost_before`` of the next frame.
    """

    def __init__(
        self, url: str, *, name: str, container_format: str | None = None, options: dict[str, str] | None = None
    ) -> None:
        """Open the source and find its first video stream.

        Args:
            url: what PyAV opens.
            name: what messages call it.
            container_format: for devices, such as ``v4l2``.
            options: options of the reader.
        Raises:
            StreamUnreadable: if it does not exist, is no video, or holds no video stream.
        """
        self.name = name
        try:
            self._container = av.open(
                url, "r", format=container_format, options=options, timeout=(_OPEN_TIMEOUT_S, _READ_TIMEOUT_S)
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise StreamUnreadable(
                f"cannot open {name}",
                got=_reason(error),
                expected="a video file, image folder, camera or stream URL",
                fix="Check the path; ffprobe tells what the file is.",
            ) from error
        streams = self._container.streams.video
        if not streams or streams[0].codec_context is None:
            got = "no video stream" if not streams else "a codec that is not known"
            self._container.close()
            raise StreamUnreadable(
                f"{name} has no video", got=got, expected="a stream that FFmpeg decodes", fix="Give another file."
            )
        self._stream = streams[0]
        self._stream.thread_type = "SLICE"  # each packet's frames at once, and the same damage every time
        rate = self._stream.average_rate
        self.rate_fps = float(rate) if rate and 0 < rate <= 1000 else None
        self.frame_count = self._stream.frames or None
        self._reformatter = VideoReformatter()

    def close(self) -> None:
        """Close the file or connection."""
        super().close()
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        """Yield every picture the decoder gives, those it still held at the end included.

        Raises:
            StreamEmpty: if there is none.
            StreamError: if the stream breaks off or stalls.
        """
        index, lost_before = 0, 0
        begin = time.perf_counter_ns()
        for packet in self._packets():
            pictures = self._decode(packet)
            if pictures is None:
                lost_before += 1
                self.lost += 1
                continue
            for picture in pictures:
                damaged = picture.is_corrupt or lost_before > 0 or (packet is not None and packet.is_corrupt)
                image = self._to_bgr(picture)
                decode_ms = (time.perf_counter_ns() - begin) / 1e6
                yield Frame(image, index, _time_s(picture), damaged, lost_before, decode_ms=decode_ms)
                index, lost_before = index + 1, 0
                begin = time.perf_counter_ns()
        if index == 0 and not self.stopping:
            raise StreamEmpty(
                f"{self.name} gave no frame", got=f"0 frames, {self.lost} errors", expected="1 or more", fix="Check it."
            )

    def _packets(self) -> Iterator[Packet[Any] | None]:
        """Every packet, the empty one that flushes the decoder last; None for one that could not be read."""
        demuxer = self._container.demux(self._stream)
        failures = 0
        while not self.stopping:
            try:
                packet = next(demuxer)
            except (StopIteration, EOFError):
                return
            except (av.error.InvalidDataError, IndexError):  # PyAV raises the latter for a stream that appears later
                failures += 1
                if failures > _MAX_READ_ERRORS:
                    return
                demuxer = self._container.demux(self._stream)
                yield None
            except (av.error.FFmpegError, OSError) as error:
                raise StreamError(
                    f"{self.name} broke off",
                    got=_reason(error),
                    expected="frames or the end of the stream",
                    fix=f"Check the camera or network; a read may take {_READ_TIMEOUT_S:.0f} s at most.",
                ) from error
            else:
                failures = 0
                yield packet

    def _decode(self, packet: Packet[Any] | None) -> list[VideoFrame] | None:
        """The pictures a packet completes, None if it is unusable."""
        if packet is None:
            return None
        try:
            return self._stream.decode(packet)
        except EOFError:
            return []
        except av.error.FFmpegError:
            return None

    def _to_bgr(self, picture: VideoFrame) -> np.ndarray:
        image: np.ndarray = self._reformatter.reformat(picture, format="bgr24").to_ndarray()
        turn = _ROTATIONS.get(picture.rotation % 360)
        return image if turn is None else cv2.rotate(image, turn)


def _time_s(picture: VideoFrame) -> float | None:
    if picture.pts is None or picture.time_base is None:
        return None
    return float(picture.pts * picture.time_base)


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
