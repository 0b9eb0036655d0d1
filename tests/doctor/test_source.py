"""A source is opened and told: files, pictures, a live camera's process, silence, damage, and never a password."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from cameras import Camera, free_port
from conftest import ROOT

from lsts_edge.doctor.finding import Finding
from lsts_edge.doctor.source import _holds_udp_socket, check_source
from lsts_edge.runtime.sources.geometry import Orientation
from lsts_edge.runtime.sources.options import SourceOptions

CLIP = ROOT / "examples" / "clips" / "bottle-detection.mp4"


def _codes(found: list[Finding]) -> list[str]:
    return [one.code for one in found]


def test_a_file() -> None:
    found = check_source(str(CLIP))
    facts = found[0].facts
    assert _codes(found) == ["source-ok"]
    assert (facts["kind"], facts["live"], facts["codec"], facts["orientation"]) == ("file", False, "h264", "upright")
    assert (facts["size_px"], facts["frames"], facts["transport"]) == ([448, 252], 50, None)
    assert "not live (file), 448x252, h264 in mov" in found[0].got


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.zeros((40, 60, 3), np.uint8))
    (tmp_path / "notes.txt").touch()
    found = check_source(str(tmp_path))
    assert _codes(found) == ["source-ok"] and found[0].facts["frames"] == 3
    assert "1 files that are no pictures left out" in found[0].got


def test_a_live_camera() -> None:
    with Camera("mjpeg").start() as camera:
        found = check_source(camera.url, frames=12)
    facts = found[0].facts
    assert found[0].code == "source-ok" and found[0].got.startswith("live (http), 128x96, mjpeg in mpjpeg")
    assert (facts["live"], facts["transport"], facts["frames"]) == (True, "http", 12)
    assert facts["age_max_ms"] >= 0 and facts["read_rate_fps"] > 0


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_what_an_rtsp_stream_comes_over(transport: str) -> None:
    """Found out where nothing was asked for: a server that offers one transport only."""
    python = Path("/usr/bin/python3")
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    if not python.exists() or subprocess.run([python, "-c", probe], capture_output=True).returncode:
        pytest.skip("no RTSP server (apt-get install gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-ugly)")
    port = free_port()
    server = subprocess.Popen([python, ROOT / "tests" / "rtsp_server.py", str(port), transport, "hunter2"])
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        found = check_source(f"rtsp://admin:hunter2@127.0.0.1:{port}/cam", frames=10)
    finally:
        server.kill()
        server.wait()
    assert found[0].code == "source-ok" and found[0].facts["transport"] == transport
    assert found[0].got.endswith(f"over {transport}") and "hunter2" not in str(found)


def test_a_damaged_file(tmp_path: Path) -> None:
    content = bytearray(CLIP.read_bytes())
    start = content.index(b"mdat")
    for place in range(start + 4000, start + 40000, 700):
        content[place : place + 40] = bytes(40)
    (tmp_path / "clip.mp4").write_bytes(content)
    found = check_source(str(tmp_path / "clip.mp4"))
    assert _codes(found) == ["source-ok", "source-damaged"] and found[1].level == "warning"


def test_a_writer_that_never_writes(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)
    try:
        found = check_source(str(pipe), limit_s=0.5)
    finally:
        os.close(writer)
    assert _codes(found) == ["source-silent"] and found[0].level == "error"


def test_a_camera_that_falls_silent() -> None:
    """It answers, sends a few pictures, and its process is stopped."""
    with Camera("tcp").start() as camera:
        assert _codes(check_source(camera.url, frames=3))[0] == "source-ok"
        camera.freeze()
        found = check_source(camera.url, limit_s=1.0)
        camera.thaw()
    assert _codes(found) == ["source-silent"] and found[0].facts["kind"] == "network"


@pytest.mark.parametrize("url", ["rtsp://admin:hunter2@127.0.0.1:9/s", "http://127.0.0.1:9/v?user=a&password=hunter2"])
def test_nobody_there_and_no_password_told(url: str) -> None:
    found = check_source(url)
    assert _codes(found) == ["stream-unreadable"] and found[0].fix
    assert "hunter2" not in str([one.to_dict() for one in found]) and "127.0.0.1:9" in found[0].what


def test_what_does_not_exist_and_options_of_another_kind() -> None:
    assert _codes(check_source("no-such.mp4")) == ["stream-unreadable"]
    assert _codes(check_source(str(CLIP), SourceOptions(rtsp_transport="udp"))) == ["option"]


def test_udp_sockets_of_this_process_are_seen(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        assert _holds_udp_socket()
    (tmp_path / "fd").mkdir()
    assert not _holds_udp_socket(tmp_path)


def test_a_mirrored_video(tmp_path: Path) -> None:
    with av.open(tmp_path / "clip.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        one = 1 << 16
        stream.set_display_matrix([-one, 0, 0, 0, one, 0, 0, 0, 1 << 30])
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="bgr24")))
        container.mux(stream.encode())
    found = check_source(str(tmp_path / "clip.mp4"))
    assert found[0].facts["orientation"] == "mirrored" and "mp4,m4a,3gp,3g2,mj2, mirrored" in found[0].got


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("upright", lambda image: image),
        ("turned by 90 degrees to the left", np.rot90),
        ("turned by 180 degrees", lambda image: image[::-1, ::-1]),
        ("turned by 90 degrees to the right", lambda image: np.rot90(image, -1)),
        ("mirrored", lambda image: image[:, ::-1]),
        ("mirrored, top to bottom", lambda image: image[::-1]),
        ("mirrored, along a diagonal", np.transpose),
        ("mirrored, along the other diagonal", lambda image: np.transpose(image)[::-1, ::-1]),
    ],
)
def test_orientations_have_the_right_names(name: str, shown: Callable[[np.ndarray], np.ndarray]) -> None:
    image = np.arange(6, dtype=np.uint8).reshape(2, 3)
    ways = [Orientation(*way) for way in itertools.product((False, True), repeat=3)]
    (named,) = [way for way in ways if way.name == name]
    np.testing.assert_array_equal(named.apply(image), shown(image))
