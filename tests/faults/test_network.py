"""A network stream that breaks off or falls silent: its frames come, then one error, soon."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from threads import left_running

from lsts_edge.errors import StreamLost
from lsts_edge.runtime import Detector, open_source
from lsts_edge.runtime.sources import SourceOptions
from videos import small_clip, write_video


@contextmanager
def server(content: bytes, *, reset: bool) -> Iterator[tuple[str, threading.Event]]:
    """Sends ``content`` to one client; resets the connection once the event is set, or says nothing more."""
    listening = socket.create_server(("127.0.0.1", 0))
    enough, done = threading.Event(), threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(content)
            if reset:
                enough.wait(60)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                done.wait(120)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{listening.getsockname()[1]}", enough
    finally:
        done.set()
        thread.join()
        listening.close()


@pytest.mark.parametrize("reset", [True, False])
def test_frames_come_and_then_one_error(hand_made_bundle: Path, tmp_path: Path, reset: bool) -> None:
    content = write_video(tmp_path / "clip.ts", small_clip(300)).read_bytes()
    frames, options = 0, SourceOptions(policy="every", reconnect="never", stall_s=1.0)
    with server(content, reset=reset) as (url, enough), pytest.raises(StreamLost, match="broke off"):
        for _ in Detector(hand_made_bundle).run(open_source(url, options)):
            frames += 1
            if frames > 200:
                enough.set()
    assert 200 < frames <= 300
    assert left_running("connection of") == []
