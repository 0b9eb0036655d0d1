"""Rows into sockets: each as it comes; a reader that is missing, leaves or stands still is told."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from lsts_edge.errors import FileUnwritable, OptionError
from lsts_edge.runtime import Detector, Frame
from lsts_edge.runtime.loop import run_stream
from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from lsts_edge.runtime.sinks.outputs import Outputs
from lsts_edge.runtime.sinks.patient_writer import PatientWriter
from lsts_edge.runtime.sinks.socket_address import SocketAddress
from lsts_edge.runtime.sources.arrays import ArraySource
from videos import small_clip


def listen(kind: str, folder: Path) -> tuple[socket.socket, str]:
    if kind == "unix":
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(folder / "rows"))
        address = f"unix:{folder / 'rows'}"
    else:
        server = socket.create_server(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    server.listen()
    return server, address


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_each_row_arrives_as_it_comes(hand_made_bundle: Path, tmp_path: Path, kind: str) -> None:
    server, address = listen(kind, tmp_path)
    seen: list[int] = []
    reader: list[socket.socket] = []

    def read_one(frame: Frame, detections: object) -> None:
        if not reader:
            reader.append(server.accept()[0])
            reader[0].settimeout(60)
        line = b""
        while not line.endswith(b"\n"):
            line += reader[0].recv(1)
        seen.append(json.loads(line)["frame"])
        assert seen[-1] == frame.index

    with server:
        sinks = Outputs(rows=address).open(["x"])
        run_stream(Detector(hand_made_bundle), ArraySource(small_clip(5)), sinks, on_result=read_one)
        assert seen == [0, 1, 2, 3, 4]
        assert reader[0].recv(1) == b""  # closed at the end
        reader[0].close()


def test_nobody_listens(tmp_path: Path) -> None:
    """Told before there is a frame, and the output that was opened before it is let go."""
    server, address = listen("tcp", tmp_path)
    server.close()
    there, other = listen("unix", tmp_path)
    with there:
        with pytest.raises(FileUnwritable, match=r"cannot write to tcp://127\.0\.0\.1:\d+: got Connection refused"):
            Outputs(rows=other, csv=address).open(["x"])
        reader = there.accept()[0]
        assert reader.recv(1) == b""
        reader.close()


def test_a_reader_that_leaves_ends_the_run(hand_made_bundle: Path, tmp_path: Path) -> None:
    server, address = listen("tcp", tmp_path)
    with server, pytest.raises(FileUnwritable, match="Start the reader first"):

        def leave(frame: Frame, detections: object) -> None:
            if frame.index == 0:
                connection = server.accept()[0]
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # a reset
                connection.close()

        run_stream(
            Detector(hand_made_bundle),
            ArraySource(small_clip(50)),
            Outputs(rows=address).open(["x"]),
            on_result=leave,
        )


def test_a_reader_that_stands_still_does_not_hold_up_the_end(hand_made_bundle: Path, tmp_path: Path) -> None:
    """It never reads: rows fill the socket, the run waits; asked to end, it ends."""
    server, address = listen("unix", tmp_path)
    with server:
        source = ArraySource(small_clip(10) * 2000)
        (sink,) = Outputs(rows=address).open(["x"])
        timer = threading.Timer(3.0, source.stop)
        timer.start()
        summary = run_stream(Detector(hand_made_bundle), source, [sink])
        timer.join()
    assert summary.stopped


def test_a_reader_that_takes_nothing_is_gone_in_the_end(tmp_path: Path) -> None:
    server, address = listen("unix", tmp_path)
    socket_address = SocketAddress.parse(address)
    assert socket_address is not None
    with server:
        writer = PatientWriter(socket_address, lambda: False, patience_s=0.3)
        with pytest.raises(TimeoutError, match=r"took nothing for 0\.3 s"):
            for _ in range(1000):  # far more than any buffer takes
                writer.write("x" * (1 << 20))
        writer.close()


def test_an_address_is_understood_by_the_sink(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="tcp://HOST:PORT or unix:PATH"):
        JsonLinesSink("tcp://nowhere")


@pytest.mark.parametrize("text", ["tcp://", "tcp://host", "tcp://host:0", "tcp://host:99999", "tcp://:1", "unix:"])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(OptionError, match="tcp://HOST:PORT or unix:PATH"):
        SocketAddress.parse(text)


def test_a_password_has_no_place_and_is_not_shown() -> None:
    with pytest.raises(OptionError, match="unix:PATH") as told:
        SocketAddress.parse("tcp://camera:s3cret@host:9000")
    assert "s3cret" not in str(told.value)


def test_addresses() -> None:
    assert SocketAddress.parse("tcp://[::1]:80") == SocketAddress("tcp://[::1]:80", host="::1", port=80)
    assert SocketAddress.parse("out.jsonl") is None
