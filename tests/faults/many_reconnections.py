"""Loses a real connection again and again and tells what the process holds after each time, as JSON.

``python many_reconnections.py COUNT [leak]``; with ``leak``, every source that was lost is kept, as an error's
traceback once did.
"""

from __future__ import annotations

import gc
import itertools
import json
import logging
import multiprocessing
import socket
import struct
import sys
import tempfile
import weakref
from pathlib import Path

from resources import used

from lsts_edge.runtime.sources.interface import Source
from lsts_edge.runtime.sources.reconnecting import Reconnecting
from lsts_edge.runtime.sources.video import VideoSource
from videos import small_clip, write_video


def serve(listening: socket.socket, content: bytes) -> None:
    """Send a second of video to each client and reset its connection, as a camera does that restarts.

    The first one may read to the end: a reset would take from it what it has not read yet, and a source that cannot be
    opened at all is an error.
    """
    for number in itertools.count():
        connection, _ = listening.accept()
        connection.sendall(content)
        if number == 0:
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


def main(count: int, leak: bool) -> None:
    """Reconnect ``count`` times without the garbage collector's help."""
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        content = write_video(Path(folder) / "clip.ts", small_clip(25, 240, 320)).read_bytes()
    listening = socket.create_server(("127.0.0.1", 0))
    server = multiprocessing.get_context("fork").Process(target=serve, args=(listening, content), daemon=True)
    server.start()
    url = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
    listening.close()
    gc.disable()
    opened: weakref.WeakSet[Source] = weakref.WeakSet()
    kept: list[Source] = []

    def connect(tries: int) -> Source:
        source = VideoSource(url, name="camera", timeouts_s=(3.0, 3.0), live=True)
        opened.add(source)
        kept.extend([source] if leak else [])
        return source

    rows: list[dict[str, int]] = []
    with Reconnecting(connect, name="camera", longest_pause_s=0.001) as source:
        for frame in source:
            if frame.reconnects > len(rows):
                rows.append({**used(), "sources": len(opened)})
            if len(rows) == count:
                break
    server.kill()
    print(json.dumps(rows))


if __name__ == "__main__":
    main(int(sys.argv[1]), "leak" in sys.argv)
