"""Fifty faults of an RTSP camera, one after the other, on one source: how soon each is seen, how soon it is over."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cameras import free_port
from resources import growth, used

from lsts_edge.errors import StreamUnauthorized
from lsts_edge.runtime import open_source
from lsts_edge.runtime.sources import SourceOptions

_PYTHON = "/usr/bin/python3"  # Debian's, whose packages have GStreamer
_PROBE = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
_FAULTS = ("freeze", "refuse", "restart", "password", "freeze-udp")
_CYCLES = int(os.environ.get("LSTS_FAULT_CYCLES", "50"))
_HANG_S = 60.0


def _has_server() -> bool:
    with suppress(OSError):
        return subprocess.run([_PYTHON, "-c", _PROBE], capture_output=True).returncode == 0
    return False


needs_server = pytest.mark.skipif(
    not _has_server(),
    reason="no RTSP server: apt install gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly",
)


class _Server:
    def __init__(self, transport: str) -> None:
        self.transport, self.port = transport, free_port()
        self.url = f"rtsp://admin:opensesame@127.0.0.1:{self.port}/cam"

    def start(self, password: str = "opensesame") -> float:
        script = str(Path(__file__).parents[1] / "rtsp_server.py")
        self.process = subprocess.Popen([_PYTHON, script, str(self.port), self.transport, password])
        end_s = time.monotonic() + _HANG_S
        while time.monotonic() < end_s:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return time.monotonic()
            time.sleep(0.01)
        raise AssertionError("the RTSP server does not answer")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def _rtsp(transport: str) -> Iterator[_Server]:
    server = _Server(transport)
    server.start()
    try:
        yield server
    finally:
        server.kill()


class _Losses(logging.Handler):
    """When the source said that it is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.at_s: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        if " is lost: " in record.getMessage():
            self.at_s.append(time.monotonic())


def _fail_and_return(server: _Server, fault: str) -> tuple[float, float]:
    """Make it fail and be well again; monotonic seconds of both."""
    begin_s = time.monotonic()
    if fault.startswith("freeze"):
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(6.0)
        server.process.send_signal(signal.SIGCONT)
        return begin_s, time.monotonic()
    server.kill()
    if fault == "refuse":
        time.sleep(3.0)
    elif fault == "password":
        server.start("another")
        time.sleep(2.0)
        server.kill()
    return begin_s, server.start()


def _cycle(server: _Server, fault: str, frames: Iterator[object], losses: _Losses, source: object) -> dict[str, object]:
    before = source.reconnects  # type: ignore[attr-defined]
    times: list[tuple[float, float]] = []
    worker = threading.Thread(target=lambda: times.append(_fail_and_return(server, fault)))
    told = len(losses.at_s)
    worker.start()
    end_s = time.monotonic() + _HANG_S
    for frame in frames:
        assert time.monotonic() < end_s, fault
        if not worker.is_alive() and frame.reconnects > before:  # type: ignore[attr-defined]
            first_s = frame.arrived_s  # type: ignore[attr-defined]
            break
    worker.join()
    failed_s, back_s = times[0]
    return {
        "fault": fault,
        "seen_s": round(losses.at_s[told] - failed_s, 2),
        "first_frame_s": round(first_s - back_s, 2),
        "reconnects": source.reconnects - before,  # type: ignore[attr-defined]
        **used(),
    }


@needs_server
@pytest.mark.slow
def test_fifty_faults_of_an_rtsp_camera() -> None:
    losses = _Losses()
    logger = logging.getLogger("lsts_edge.runtime.sources.reconnecting")
    logger.addHandler(losses)
    rows: list[dict[str, object]] = []
    try:
        for transport, faults in (("tcp", _FAULTS[:4]), ("udp", _FAULTS[4:])):
            share = _CYCLES * len(faults) // len(_FAULTS)
            with _rtsp(transport) as server, open_source(server.url) as source:
                frames = iter(source)
                next(frames)
                for number in range(share):
                    rows.append(_cycle(server, faults[number % len(faults)], frames, losses, source))
    finally:
        logger.removeHandler(losses)
        if log := os.environ.get("LSTS_FAULTS_LOG"):
            text = ",\n".join(json.dumps(row) for row in rows)
            Path(log).write_text(f'{{"what": "faults of a GStreamer RTSP server", "cycles": [\n{text}\n]}}\n')
    assert len(rows) == _CYCLES
    for udp in (False, True):  # whose streams have sockets of their own
        part = [row for row in rows if (row["fault"] == "freeze-udp") == udp]
        assert len(part) < 8 or growth(part) == {}  # type: ignore[arg-type]


@needs_server
def test_an_rtsp_camera_by_either_transport_and_with_a_wrong_password() -> None:
    with _rtsp("udp") as server:
        for transport in ("auto", "udp"):
            options = SourceOptions(rtsp_transport=transport)  # type: ignore[arg-type]
            with open_source(server.url, options) as source:
                assert next(iter(source)).image.shape == (240, 320, 3)
        with pytest.raises(StreamUnauthorized, match="401") as caught:
            open_source(server.url.replace("opensesame", "hunter2"))
        assert "hunter2" not in str(caught.value)


@needs_server
def test_an_rtsp_server_that_ends_is_no_success(
    lsts_edge_command: Callable[..., subprocess.CompletedProcess[str]], hand_made_bundle: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "out.jsonl"

    def kill_when_it_runs(server: _Server) -> None:
        end_s = time.monotonic() + _HANG_S
        while not any(tmp_path.glob(".out.jsonl.partial-*")) and time.monotonic() < end_s:
            time.sleep(0.05)
        time.sleep(0.5)
        server.kill()

    with _rtsp("tcp") as server:
        worker = threading.Thread(target=kill_when_it_runs, args=(server,))
        worker.start()
        done = lsts_edge_command("run", hand_made_bundle, server.url, "--reconnect", "never", "--output-json", rows)
        worker.join()
    assert done.returncode == 8 and "error[stream-lost]" in done.stderr
    assert "opensesame" not in done.stderr
    assert 0 < len(rows.read_text().splitlines()) == int(done.stdout.splitlines()[-1].split()[0])
