"""Results as MQTT messages, one row a frame, for brokers of smart homes and plants."""

from __future__ import annotations

import json
import threading
import time
from typing import Any
from urllib.parse import unquote, urlsplit

from lsts_edge.errors import FileUnwritable, OptionError, PackageMissing
from lsts_edge.redact import redact
from lsts_edge.runtime.detections import Detections
from lsts_edge.runtime.sinks.interface import Sink
from lsts_edge.runtime.sources.interface import Frame

__all__ = ["MqttSink"]

_PATIENCE_S = 10.0
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_WAITING = 1000  # messages for a broker that is away; older ones go first


class MqttSink(Sink):
    """Publishes each frame's row, as ``Detections.to_row`` gives it, to one topic.

    A broker that goes away is looked for again by the client; what it misses beyond a thousand rows is left out,
    and detection never waits for it.
    """

    def __init__(self, address: str) -> None:
        """Connect.

        Args:
            address: ``mqtt://[USER:PASSWORD@]HOST[:PORT]/TOPIC``, ``mqtts`` with TLS.
        Raises:
            OptionError: if it is no such address.
            PackageMissing: without the extra ``[mqtt]``.
            FileUnwritable: if no broker takes the connection.
        """
        super().__init__()
        self._last: Any = None
        self._name = redact(address)
        try:
            parts = urlsplit(address)
        except ValueError:  # http://[
            parts = urlsplit("")
        self._topic = unquote(parts.path.lstrip("/"))
        try:
            port = parts.port or _PORTS.get(parts.scheme)
        except ValueError:
            port = None
        wildcard = bool(parts.query) or bool(set(unquote(address.rpartition("@")[2])) & set("#+\0"))
        if port is None or not parts.hostname or not self._topic or wildcard:
            expected = "mqtt://HOST/TOPIC or mqtts://, no wildcard in the topic"
            raise OptionError("MQTT address", got=self._name, expected=expected, fix="Correct it.")
        self._client = self._connected(parts.scheme, parts.hostname, port, parts.username, parts.password)

    def write(self, frame: Frame, detections: Detections) -> None:
        """Hand the row to the client, which sends it from a thread of its own."""
        begin = time.perf_counter_ns()
        self._last = self._client.publish(self._topic, json.dumps(detections.to_row(), allow_nan=False))
        self.stage_ms = {"mqtt": (time.perf_counter_ns() - begin) / 1e6}

    def finish(self) -> None:
        """Send what waits, for some seconds at most, and leave."""
        if self._last is not None and self._client.is_connected():
            self._last.wait_for_publish(_PATIENCE_S)
        self._leave()

    def abandon(self) -> None:
        """Leave; what was sent was sent."""
        self._leave()

    def _leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, scheme: str, host: str, port: int, user: str | None, password: str | None) -> Any:
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise PackageMissing(
                "MQTT needs a package that is not installed",
                got="no paho",
                expected="the extra [mqtt]",
                fix='Run: pip install "lsts-edge[mqtt]"',
            ) from error
        answered = threading.Event()
        answers: list[Any] = []

        def on_connect(client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
            answers.append(reason)
            answered.set()

        client = Client(CallbackAPIVersion.VERSION2)
        client.max_queued_messages_set(_WAITING)
        client.on_connect = on_connect
        if user is not None:
            client.username_pw_set(unquote(user), None if password is None else unquote(password))
        if scheme == "mqtts":
            client.tls_set()
        try:
            client.connect(host, port)
        except (OSError, ValueError) as error:
            raise self._unwritable(str(error)) from error
        client.loop_start()
        if not answered.wait(_PATIENCE_S) or answers[0].is_failure:
            client.loop_stop()
            raise self._unwritable(str(answers[0]) if answers else f"no answer within {_PATIENCE_S:g} s")
        return client

    def _unwritable(self, got: str) -> FileUnwritable:
        return FileUnwritable(
            f"cannot publish to {self._name}",
            got=got,
            expected="a broker that takes the connection",
            fix="Check address, user and password.",
        )
