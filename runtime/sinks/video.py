"""Results drawn into an H.264 video, complete at its path or not there at all."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import cv2
import numpy as np
from av.video.frame import PictureType

from lsts_edge.errors import OptionError
from lsts_edge.kinds import check_kind
from lsts_edge.runtime.detections import Detections
from lsts_edge.runtime.sinks.drawing import annotate
from lsts_edge.runtime.sinks.interface import Sink
from lsts_edge.runtime.sinks.partial_file import PartialFile
from lsts_edge.runtime.sinks.patient_writer import PatientWriter
from lsts_edge.runtime.sources.interface import Frame
from lsts_edge.runtime.video_clock import VideoClock

__all__ = ["VideoSink"]

logger = logging.getLogger(__name__)

_CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
_TICKS_PER_S = 90_000
_FRAGMENT_S = 2.0  # of a video that must be playable whatever ends it


class VideoSink(Sink):
    """H.264 by libx264 with the boxes drawn on; sizes are made even by repeating the last row or column.

    The first frame sets the size; a later frame of another size is scaled to fit and padded black. Times are the
    source's as ``VideoClock`` reads them. A pipe whose reader stands still is waited for, unless the run is to end.
    """

    def __init__(
        self, path: Path | str, *, rate_fps: float | None = None, tag: bool = True, recoverable: bool = False
    ) -> None:
        """Check the path; the file is opened at the first frame, whose size it takes.

        Args:
            path: ends in .mp4, .m4v, .mov or .mkv.
            rate_fps: frames per second where the time stamps do not say; None means 25.
            tag: write each frame's kind on it.
            recoverable: write fragments of two seconds, so that a kill loses no more; the next run in the folder
                publishes them.
        Raises:
            OptionError: if the suffix is another, or the rate is not above 0.
            FileUnwritable: if nothing can be written there.
        """
        super().__init__()
        for name, value, kind in (("video", path, str | Path), ("frame rate", rate_fps, float | None)):
            check_kind(name, value, kind)
        if rate_fps is not None and not 0 < rate_fps < math.inf:
            raise OptionError("frame rate", got=rate_fps, expected="above 0", fix="Leave it out to take 25.")
        path = Path(path)
        if path.suffix.lower() not in _CONTAINERS:
            raise OptionError(
                "video file name",
                got=path.name,
                expected=f"a name ending in {', '.join(_CONTAINERS)}",
                fix="Rename it.",
            )
        self._target = PartialFile(path, recoverable=recoverable)
        self._recoverable = recoverable
        self._format = _CONTAINERS[path.suffix.lower()]
        self._rate = Fraction(rate_fps or 25.0).limit_denominator(1001)
        self._clock = VideoClock(1.0 / (rate_fps or 25.0))
        self._tag = tag
        self._pipe: _Pipe | None = None
        self._container: Any = None
        self._stream: Any = None
        self._size = (0, 0)
        self._keyframe_s = 0.0  # of the encoder; a fragment begins there

    def write(self, frame: Frame, detections: Detections) -> None:
        """Draw, encode and write one frame.

        Raises:
            FileUnwritable: if the file cannot be written.
        """
        begin = time.perf_counter_ns()
        picture = annotate(frame.image, detections, tag=self._tag)
        drawn = time.perf_counter_ns()
        try:
            if self._container is None:
                self._open(*picture.shape[:2])
            self._encode(self._fit(picture), self._clock.advance(frame.time_s))
        except (av.error.FFmpegError, OSError) as error:
            raise self._target.unwritable(error.strerror or str(error)) from error
        done = time.perf_counter_ns()
        self.stage_ms = {"draw": (drawn - begin) / 1e6, "encode": (done - drawn) / 1e6}

    def finish(self) -> None:
        """Flush the encoder and close the file; without a frame nothing is written.

        Raises:
            FileUnwritable: if the file cannot be written.
        """
        if self._container is None:
            return
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            if self._pipe is not None:
                self._pipe.writer.close()
        except (av.error.FFmpegError, OSError) as error:
            raise self._target.unwritable(error.strerror or str(error)) from error
        if self._pipe is not None and self._pipe.left_out_bytes:
            told = "%s: nobody read on; the end of the video is left out: %d bytes"
            logger.warning(told, self._target.path, self._pipe.left_out_bytes)

    def publish(self) -> None:
        """Give the file its name.

        Raises:
            FileUnwritable: if that fails.
        """
        if self._container is None:
            return
        self._target.publish()

    def settle(self) -> None:
        """Let an older file go."""
        self._target.settle()

    def abandon(self) -> None:
        """Close and remove the file; an older one stays."""
        with contextlib.suppress(av.error.FFmpegError, OSError):
            if self._pipe is not None:  # nobody is waited for any more
                self._pipe.writer.close()
            if self._container is not None:
                self._container.close()
        self._target.discard()

    def _open(self, height_px: int, width_px: int) -> None:
        self._size = (height_px + height_px % 2, width_px + width_px % 2)
        # A pipe cannot be gone back in to write an index, nor can a killed run: pieces that each have their own, then.
        pieces = self._target.direct or self._recoverable
        options = {"flush_packets": "1"} if self._recoverable else {}
        if pieces and self._format in ("mp4", "mov"):
            options["movflags"] = "frag_keyframe+empty_moov+default_base_moof"
        if self._recoverable and self._format == "matroska":
            options["cluster_time_limit"] = str(round(1000 * _FRAGMENT_S))
        path = self._target.create()
        if path.exists() and not path.is_file():
            self._pipe = _Pipe(PatientWriter(path, self.stopping))
        self._container = av.open(self._pipe or str(path), "w", format=self._format, options=options)
        encoder = {"preset": "veryfast", "crf": "23"}
        if self._recoverable:  # frames do not wait in the encoder
            encoder["tune"] = "zerolatency"
        stream = self._container.add_stream("libx264", rate=self._rate, options=encoder)
        stream.height, stream.width = self._size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, _TICKS_PER_S)
        stream.codec_context.color_range = 1  # limited range and BT.601: what cv2's conversion gives
        stream.codec_context.colorspace = 6
        self._stream = stream

    def _fit(self, picture: np.ndarray) -> np.ndarray:
        height_px, width_px = self._size
        if abs(picture.shape[0] - height_px) > 1 or abs(picture.shape[1] - width_px) > 1:
            scale = min(height_px / picture.shape[0], width_px / picture.shape[1])
            size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
            small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            picture = np.zeros((height_px, width_px, 3), np.uint8)
            top, left = (height_px - size[1]) // 2, (width_px - size[0]) // 2
            picture[top : top + size[1], left : left + size[0]] = small
        elif picture.shape[:2] != self._size:
            picture = picture[:height_px, :width_px]
            missing_h, missing_w = height_px - picture.shape[0], width_px - picture.shape[1]
            picture = cv2.copyMakeBorder(picture, 0, missing_h, 0, missing_w, cv2.BORDER_REPLICATE)
        return picture

    def _encode(self, picture: np.ndarray, time_s: float) -> None:
        planes: Any = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = round(time_s * _TICKS_PER_S)
        frame.time_base = Fraction(1, _TICKS_PER_S)
        frame.color_range, frame.colorspace = 1, 6
        if self._recoverable and time_s - self._keyframe_s >= _FRAGMENT_S:  # by time: a slow detector gives few frames
            frame.pict_type, self._keyframe_s = PictureType.I, time_s
        self._container.mux(self._stream.encode(frame))


class _Pipe:
    """What PyAV writes into; nothing follows what its reader has not taken, for that would be torn."""

    def __init__(self, writer: PatientWriter) -> None:
        self.writer = writer
        self.left_out_bytes = 0

    def write(self, content: bytes) -> int:
        if self.left_out_bytes or not self.writer.write(content):
            self.left_out_bytes += len(content)
        return len(content)
