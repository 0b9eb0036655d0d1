"""Raw pictures from another program's standard output; a Jetson's CSI camera through GStreamer is one."""

from __future__ import annotations

import contextlib
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence

import numpy as np

from lsts_edge.errors import StreamError, StreamUnreadable
from lsts_edge.runtime.sources.interface import Frame, Source

__all__ = ["RawPipe", "csi_command"]

_POLL_S = 0.2
_END_S = 2.0


class RawPipe(Source):
    """Pictures of one size, byte after byte, from a program that is ended with the source."""

    live = True

    def __init__(
        self, command: Sequence[str], *, name: str, height_px: int, width_px: int, rate_fps: float, stall_s: float
    ) -> None:
        """Start the program.

        Args:
            command: its words; it writes ``(height_px, width_px, 3)`` uint8 BGR pictures to its standard output.
            name: for messages.
            height_px: of each picture.
            width_px: of each picture.
            rate_fps: nominal.
            stall_s: seconds without a byte that are a fault.
        Raises:
            StreamUnreadable: if there is no such program.
        """
        self.name, self.rate_fps = name, rate_fps
        self._shape = (height_px, width_px, 3)
        self._stall_s, self._command = stall_s, list(command)
        if shutil.which(command[0]) is None:
            raise StreamUnreadable(
                f"cannot open {name}",
                got=f"no program {command[0]}",
                expected="it on the PATH",
                fix="Install it (GStreamer: apt install gstreamer1.0-tools).",
            )
        self._program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0)

    def __iter__(self) -> Iterator[Frame]:
        """Yield each whole picture.

        Raises:
            StreamError: if nothing comes for too long, or the program ends with an error.
        """
        index = 0
        while not self.stopping:
            begin = time.perf_counter_ns()
            content = self._picture()
            if content is None:
                break
            image = np.frombuffer(content, np.uint8).reshape(self._shape)
            decode_ms = (time.perf_counter_ns() - begin) / 1e6
            yield Frame(image, index, decode_ms=decode_ms, arrived_s=time.monotonic())
            index += 1
        if not self.stopping and (status := self._program.wait(_END_S)) != 0:
            raise StreamError(
                f"{self.name} broke off",
                got=f"{self._command[0]} ended with status {status}",
                expected="pictures",
                fix="Its own message is above.",
            )

    def close(self) -> None:
        """End the program."""
        super().close()
        self._program.terminate()
        try:
            self._program.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._program.kill()
            self._program.wait()
        with contextlib.suppress(OSError):
            assert self._program.stdout is not None
            self._program.stdout.close()

    def _picture(self) -> bytearray | None:
        """The bytes of one picture, None at the end; what is left of a torn one is dropped."""
        assert self._program.stdout is not None
        content = bytearray(int(np.prod(self._shape)))
        view, filled = memoryview(content), 0
        last_s = time.monotonic()
        while filled < len(content):
            if self.stopping:
                return None
            if not select.select([self._program.stdout], [], [], _POLL_S)[0]:
                if time.monotonic() - last_s > self._stall_s:
                    raise StreamError(
                        f"{self.name} broke off",
                        got=f"nothing for {self._stall_s:g} s",
                        expected="pictures",
                        fix="Check the camera's cable and its driver's log.",
                    )
                continue
            count = self._program.stdout.readinto(view[filled:])  # type: ignore[attr-defined]
            if not count:
                return None
            filled, last_s = filled + count, time.monotonic()
        return content


def csi_command(sensor: int, *, height_px: int, width_px: int, rate_fps: float) -> list[str]:
    """GStreamer's words for a Jetson's CSI camera as raw BGR pictures on standard output."""
    size = f"width={width_px},height={height_px}"
    return (
        f"gst-launch-1.0 --quiet nvarguscamerasrc sensor-id={sensor} ! "
        f"video/x-raw(memory:NVMM),{size},framerate={round(rate_fps * 1000)}/1000 ! nvvidconv ! "
        f"video/x-raw,format=BGRx,{size} ! videoconvert ! video/x-raw,format=BGR ! fdsink fd=1 sync=false"
    ).split()
