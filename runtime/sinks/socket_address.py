"""Sockets as outputs: ``tcp://HOST:PORT`` and ``unix:PATH``, on which somebody listens."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from lsts_edge.errors import OptionError
from lsts_edge.redact import redact

__all__ = ["SocketAddress"]

_PATIENCE_S = 10.0


@dataclass(frozen=True)
class SocketAddress:
    """Where to connect to: ``host`` and ``port``, or ``path`` alone."""

    text: str
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        return self.text

    @classmethod
    def parse(cls, text: str) -> SocketAddress | None:
        """The address that a text names; None if it is none of a socket.

        Raises:
            OptionError: if it begins like one and is not.
        """
        if text.startswith("unix:"):
            if text[5:]:
                return cls(text, path=text[5:])
        elif text.startswith("tcp://"):
            host, _, port = text[6:].rpartition(":")
            if host and "@" not in host and port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16:
                return cls(text, host=host.strip("[]"), port=int(port))
        else:
            return None
        raise OptionError("socket", got=repr(redact(text)), expected="tcp://HOST:PORT or unix:PATH", fix="Correct it.")

    def connect(self) -> int:
        """A descriptor of a connection that does not block.

        Raises:
            OSError: if nobody listens there.
        """
        if self.path:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.settimeout(_PATIENCE_S)
                connection.connect(self.path)
            except OSError:
                connection.close()
                raise
        else:
            connection = socket.create_connection((self.host, self.port), timeout=_PATIENCE_S)
        connection.setblocking(False)
        return connection.detach()
