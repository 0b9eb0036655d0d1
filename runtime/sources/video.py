"""Video files, network streams and cameras through PyAV: the exact end, real sizes, and damage reported."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

import av
import av.error
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from lsts_edge.errors import OptionError, StreamEmpty, StreamUnreadable
from lsts_edge.redact import redact_error
from lsts_edge.runtime.sources.causes import broke_off, cannot_open, silent
from lsts_edge.runtime.sources.geometry import Orientation, display_size
from lsts_edge.runtime.sources.interface import Frame, Source

__all__ = ["VideoSource"]

logger = logging.getLogger(__name__)

_MAX_READ_ERRORS = 100  # in a row: what is left of the file is unreadable
_TEXT = ("ansi", "bintext", "idf", "xbin")  # FFmpeg draws texts, letter by letter
_NO_TIMESTAMPS = 0x80  # AVFMT_NOTIMESTAMPS: times are counted from a nominal rate


class VideoSource(Source):
    """One video stream of a file, URL or device.

    Frames come as a player shows them: turned and mirrored by the display matrix, pixels square. Errors of single
    packets are survived: what they cost is told by ``damaged`` and ``lost_before`` of the next frame.
    """

    def __init__(
        self,
        target: str | BinaryIO,
        *,
        name: str,
        container_format: str | None = None,
        reader_options: dict[str, str] | None = None,
        timeouts_s: tuple[float, float] | None = None,
        stream: int | None = None,
        decoder_threads: int | None = None,
        live: bool = False,
    ) -> None:
        """Open the source and find its video stream.

        Args:
            target: what PyAV opens: a path, URL or binary file.
            name: what messages call it.
            container_format: for devices, such as ``v4l2``.
            reader_options: FFmpeg's options for the reader.
            timeouts_s: seconds to open (twice: connection, first packets) and for each read; None waits for ever.
            stream: number among the video streams; None takes the best.
            decoder_threads: of the decoder; None leaves it to FFmpeg.
            live: when a picture came is told, and time stamps that the reader only counts are left out: they say
                nothing of when it was taken.
        Raises:
            StreamUnreadable: if it does not exist, is no video, or holds no video stream.
            OptionError: if there is no stream of this number.
        """
        self.name = name
        self._timeouts_s = timeouts_s or (None, None)
        try:
            self._container = av.open(
                target,
                "r",
                format=container_format,
                options=reader_options,
                timeout=self._timeouts_s,
                metadata_errors="replace",  # titles are in any encoding
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise cannot_open(name, error, self._timeouts_s[0]) from redact_error(error)
        try:
            self._stream = self._chosen(stream)
        except BaseException:
            self._container.close()
            raise
        self._stream.thread_type = "SLICE"  # each packet's frames at once, and the same damage every time
        if decoder_threads is not None:
            self._stream.codec_context.thread_count = decoder_threads
        rate = self._stream.average_rate
        self.rate_fps = float(rate) if rate and 0 < rate <= 1000 else None
        self.frame_count = self._stream.frames or None
        told = self._container.format
        self._timed = not live or not (told.flags & _NO_TIMESTAMPS or told.name in ("mpjpeg", "image2pipe"))
        self._live = live
        self._reformatter = VideoReformatter()
        self._sizes: dict[tuple[int, int], tuple[int, int]] = {}
        self._orientations: dict[tuple[int, int, int], Orientation] = {}
        codec = self._stream.codec_context
        self.facts = self._facts = dict[str, Any](
            container=told.name,
            codec=codec.name,
            pixel_format=codec.pix_fmt,
            coded_size_px=[codec.width, codec.height],
        )

    def _chosen(self, number: int | None) -> VideoStream:
        streams = self._container.streams.video
        if number is not None and streams and number >= len(streams):
            raise OptionError(
                "video stream",
                got=number,
                expected=f"0 to {len(streams) - 1}, those that {self.name} has",
                fix="Leave it out to take the best.",
            )
        best = self._container.streams.best("video") if number is None else streams[number]
        chosen = best if isinstance(best, VideoStream) else streams[0] if streams else None
        if chosen is None or chosen.codec_context is None:
            got = "no video stream" if chosen is None else "a codec that is not known"
            expected = "a stream that FFmpeg decodes"
            raise StreamUnreadable(f"{self.name} has no video", got=got, expected=expected, fix="Give another file.")
        if chosen.codec_context.name in _TEXT:
            raise StreamUnreadable(
                f"cannot open {self.name}", got="a text", expected="a video or picture", fix="Give another file."
            )
        return chosen

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
                yield Frame(
                    image,
                    index,
                    _time_s(picture) if self._timed else None,
                    damaged,
                    lost_before,
                    decode_ms=decode_ms,
                    arrived_s=time.monotonic() if self._live else None,  # a file's pictures have always been there
                    coding=self._coding(picture),
                )
                index, lost_before = index + 1, 0
                begin = time.perf_counter_ns()
        if index == 0 and not self.stopping:
            raise StreamEmpty(
                f"{self.name} gave no frame",
                got=f"0 frames, {self.lost} errors",
                expected="1 or more",
                fix="See whether a player shows it.",
            )

    def _packets(self) -> Iterator[Packet[Any] | None]:
        """Every packet, the empty one that flushes the decoder last; None for one that could not be read."""
        demuxer = self._container.demux(self._stream)
        failures = 0
        while not self.stopping:
            begin_s = time.monotonic()
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
                if self.stopping:  # asked to end while it waited: what has come is all there is
                    return
                raise broke_off(self.name, error, self._timeouts_s[1]) from redact_error(error)
            else:
                # An interrupted read hands out the picture that the parser still held, as if nothing were wrong.
                limit_s = self._timeouts_s[1]
                if limit_s is not None and time.monotonic() - begin_s >= limit_s:
                    if self.stopping:
                        return
                    raise silent(self.name, limit_s)
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
        height_px, width_px = self._display_size(picture.height, picture.width)
        image: np.ndarray = self._reformatter.reformat(
            picture, width=width_px, height=height_px, format="bgr24"
        ).to_ndarray()
        return self._orientation(picture).apply(image)

    def _coding(self, picture: VideoFrame) -> str:
        """Pixel format and turn, kept as facts too."""
        pixel_format, turn = picture.format.name, self._orientation(picture).name
        self._facts |= {"pixel_format": pixel_format, "orientation": turn}
        return f"{pixel_format}, {turn}"

    def _orientation(self, picture: VideoFrame) -> Orientation:
        """How the picture lies; its matrix is read once for each turn and size that the stream has.

        PyAV's list of a picture's side data holds the picture, which holds the list: each one that is asked stays until
        the garbage collector comes, so a copy of a few pixels is asked, and seldom.
        """
        key = picture.rotation, picture.height, picture.width
        found = self._orientations.get(key)
        if found is None:
            found = self._orientations[key] = _read_orientation(picture.reformat(width=2, height=2, format="gray"))
        return found

    def _display_size(self, height_px: int, width_px: int) -> tuple[int, int]:
        """In square pixels; looked up once for each size that the stream has."""
        found = self._sizes.get((height_px, width_px))
        if found is None:
            aspect = self._stream.sample_aspect_ratio
            found = display_size(height_px, width_px, aspect)
            if found is None:
                told = f"{width_px} x {height_px} samples of aspect {aspect}"
                logger.warning("%s: %s: shown as coded, the tag cannot be meant", self.name, told)
                found = height_px, width_px
            self._sizes[height_px, width_px] = found
        return found


def _read_orientation(picture: VideoFrame) -> Orientation:
    try:
        matrix: Any = picture.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV lists none where it does not know the kind of one (EXIF): the turn is all there is
        return Orientation.of_turn(picture.rotation)
    return Orientation() if matrix is None else Orientation.of_matrix(bytes(matrix))


def _time_s(picture: VideoFrame) -> float | None:
    if picture.pts is None or picture.time_base is None:
        return None
    return float(picture.pts * picture.time_base)
