"""Cameras for tests: real server processes on this machine, which tests start, stop by signals and kill.

``python cameras.py mjpeg PORT [PASSWORD]`` serves multipart JPEG over HTTP; ``python cameras.py udp PORT`` sends an
MPEG-TS to that port; ``python cameras.py tcp PORT`` serves one to each client. All run at 25 pictures a second, and
each picture carries its number as 16 black or white bars along its top.
"""

from __future__ import annotations

import base64
import http.server
import os
import signal
import socket
import socketserver
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

__all__ = ["RATE_FPS", "Camera", "free_port", "numbered", "read_number"]

RATE_FPS = 25
_HEIGHT_PX, _WIDTH_PX, _BITS = 96, 128, 16
_BAR_PX = _WIDTH_PX // _BITS


def numbered(number: int) -> np.ndarray:
    """``(96, 128, 3)`` uint8 BGR that carries its number, modulo 65536."""
    picture = np.full((_HEIGHT_PX, _WIDTH_PX, 3), 60, np.uint8)
    for bit in range(_BITS):
        picture[:40, _BAR_PX * bit : _BAR_PX * (bit + 1)] = 255 * (number >> bit & 1)
    return picture


def read_number(picture: np.ndarray) -> int:
    """The number that a picture carries."""
    bars = picture[10:30].reshape(20, _BITS, _BAR_PX, 3).mean(axis=(0, 2, 3))
    return sum(int(bright > 128) << bit for bit, bright in enumerate(bars))


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


class Camera:
    """A camera's process: ``start``, ``freeze``, ``thaw``, ``kill``; ended with the ``with``."""

    def __init__(self, kind: str, password: str = "") -> None:
        self.kind, self.port, self.password = kind, free_port(), password
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is, with its first password."""
        return {
            "mjpeg": f"http://127.0.0.1:{self.port}/video",
            "udp": f"udp://127.0.0.1:{self.port}",
            "tcp": f"tcp://127.0.0.1:{self.port}",
        }[self.kind]

    def start(self) -> Camera:
        """Start it and wait until it answers."""
        words = [sys.executable, __file__, self.kind, str(self.port), self.password]
        path = f"{Path(__file__).parent}:{Path(__file__).parents[1]}"
        self._process = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": path})
        for _ in range(600 if self.kind != "udp" else 0):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            assert self._process.poll() is None, "the camera ended"
            time.sleep(0.05)
        return self

    def freeze(self) -> None:
        """Stop sending, sockets open, as a camera whose processor hangs."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a power cut; its port refuses then."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def _ticks() -> Iterator[int]:
    """Numbers of pictures at their times, by the wall clock since the process began."""
    begin, number = time.monotonic(), 0
    while True:
        yield number
        number = max(number + 1, int((time.monotonic() - begin) * RATE_FPS))
        time.sleep(max(0.0, begin + number / RATE_FPS - time.monotonic()))


def _serve_mjpeg(port: int, password: str) -> None:
    expected = "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            if password and self.headers.get("Authorization") != expected:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            with suppress(OSError):
                for number in _ticks():
                    jpeg = cv2.imencode(".jpg", numbered(number), [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
                    self.wfile.write(head + jpeg + b"\r\n")

    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def _send_ts(output: Any) -> None:
    """Encode for ever into a URL or a binary file."""
    with av.open(output, "w", format="mpegts", options={"flush_packets": "1"}) as container:
        options = {"preset": "ultrafast", "tune": "zerolatency", "g": "12"}
        stream = container.add_stream("libx264", rate=RATE_FPS, options=options)
        stream.height, stream.width, stream.pix_fmt = _HEIGHT_PX, _WIDTH_PX, "yuv420p"
        for number in _ticks():
            frame = av.VideoFrame.from_ndarray(numbered(number), format="bgr24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, RATE_FPS)
            container.mux(stream.encode(frame))


def _serve_tcp(port: int) -> None:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                _send_ts(_NotSeekable(self.wfile))

    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer(("127.0.0.1", port), Handler).serve_forever()


class _NotSeekable:
    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, content: bytes) -> int:
        count = self._file.write(content)
        self._file.flush()
        return int(count)


if __name__ == "__main__":
    kind, port, password = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    if kind == "mjpeg":
        _serve_mjpeg(port, password)
    elif kind == "udp":
        _send_ts(f"udp://127.0.0.1:{port}?pkt_size=1316")
    else:
        _serve_tcp(port)
