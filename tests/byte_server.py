"""A server of prepared bytes: what it does after them is the fault that a test wants from a live source."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

__all__ = ["Ending", "byte_server"]

Ending = Literal["reset", "silence", "drip", "close"]
_HANG_S = 120.0
_DRIP_S = 0.05


@contextmanager
def byte_server(content: bytes, ending: Ending) -> Iterator[tuple[str, threading.Event]]:
    """Sends ``content`` to one client, then ends; gives the URL, and an event that lets ``reset`` happen.

    Args:
        content: sent as fast as the client takes it.
        ending: ``reset`` resets the connection once the event is set, ``silence`` says nothing more, ``drip`` sends a
            byte now and then that completes no picture, ``close`` ends the stream.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    enough, done = threading.Event(), threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            connection.sendall(content)
            if ending == "reset":
                enough.wait(_HANG_S)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif ending == "silence":
                done.wait(_HANG_S)
            elif ending == "drip":
                while not done.wait(_DRIP_S):
                    connection.sendall(b"\x47")

    thread = threading.Thread(target=serve, name="byte server")
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{listening.getsockname()[1]}", enough
    finally:
        done.set()
        enough.set()
        thread.join()
        listening.close()
