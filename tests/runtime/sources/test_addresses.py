"""What a source's name stands for, and which options concern it."""

from __future__ import annotations

import http.server
import os
import shutil
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from lsts_edge.errors import OptionError, StreamUnreadable
from lsts_edge.runtime import open_source
from lsts_edge.runtime.sources.address import find_address
from lsts_edge.runtime.sources.options import SourceOptions
from lsts_edge.runtime.sources.raw_pipe import RawPipe, csi_command
from videos import small_clip, write_video

ENDED = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\na.ts\n#EXT-X-ENDLIST\n"
ANSWERS: dict[str, tuple[str, str, bool]] = {  # path: content type, content, whether its length is told
    "/clip.mp4": ("video/mp4", "0123", True),
    "/endless": ("video/mp2t", "0123", False),
    "/camera": ("multipart/x-mixed-replace; boundary=x", "--x", False),
    "/ended.m3u8": ("application/vnd.apple.mpegurl", ENDED, True),
    "/live.m3u8": ("application/vnd.apple.mpegurl", ENDED.replace("#EXT-X-ENDLIST\n", ""), True),
    "/master.m3u8": ("application/x-mpegurl", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlive.m3u8\n", True),
}


@contextmanager
def _server() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            kind, content, told = ANSWERS[self.path]
            self.send_response(200)
            self.send_header("Content-Type", kind)
            if told:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content.encode())

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_servers_answer_says_whether_it_is_live() -> None:
    with _server() as host:
        found = {path: find_address(f"HTTP://{host}{path}", SourceOptions()).live for path in ANSWERS}
    live = {"/endless", "/camera", "/live.m3u8", "/master.m3u8"}
    assert found == {path: path in live for path in ANSWERS}


@pytest.mark.parametrize("name", ["RTSP://camera/x", "rtsps://camera/x", "rtmp://camera/x", "srt://c:9", "udp://@:99"])
def test_streams_are_live_in_any_spelling(name: str) -> None:
    assert find_address(name, SourceOptions()).live


def test_a_camera_is_known_by_its_number_not_its_name(tmp_path: Path) -> None:
    camera, other, link = tmp_path / "front-door", tmp_path / "video0", tmp_path / "usb-Cam_1234-video-index0"
    try:
        os.mknod(camera, stat.S_IFCHR | 0o600, os.makedev(81, 63))
        os.mknod(other, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("this user may not make devices")
    link.symlink_to(camera)
    options = SourceOptions(camera_size="640x480", camera_rate=15)
    for path in (camera, link):
        address = find_address(str(path), options)
        assert (address.kind, address.live, address.container_format) == ("v4l2", True, "v4l2")
        assert address.reader_options == {"video_size": "640x480", "framerate": "15"}
        with pytest.raises(StreamUnreadable, match="cannot open"):
            open_source(path)
    with pytest.raises(StreamUnreadable, match=r"1:3, expected 81:N"):
        find_address(str(other), SourceOptions())


def test_a_file_url_is_the_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a b.mp4", small_clip(3))
    with open_source(f"file://{tmp_path}/a%20b.mp4") as source:
        assert len(list(source)) == 3 and not source.live
    with pytest.raises(StreamUnreadable, match=r"file://elsewhere.*a file on another machine"):
        open_source(f"file://elsewhere{path}")
    with pytest.raises(StreamUnreadable, match="the scheme foo"):
        open_source("foo://x")


def test_unknown_options_are_refused_with_the_list() -> None:
    with pytest.raises(OptionError, match=r"rtsp_transport=\.\.\.") as caught:
        SourceOptions().with_pairs(["pasword=hunter2"])
    assert "hunter2" not in str(caught.value)
    for wrong in ("every=0", "every=x", "stall_s=nan", "camera_size=big", "rtsp_transport=smoke", "reconnect=soon"):
        with pytest.raises(OptionError):
            SourceOptions().with_pairs([wrong])
    found = SourceOptions().with_pairs(["reconnect=never", "check_certificates=false", "stream=1", "stall_s=2"])
    assert found == SourceOptions(reconnect="never", check_certificates=False, stream=1, stall_s=2.0)


@pytest.mark.parametrize("pair", ["rtsp_transport=udp", "reconnect=5", "camera_size=10x10", "ca_file=x"])
def test_options_that_do_not_concern_the_source_are_refused(tmp_path: Path, pair: str) -> None:
    path = write_video(tmp_path / "clip.mp4", small_clip(2))
    with pytest.raises(OptionError, match=r"not live \(file\)"):
        open_source(path, SourceOptions().with_pairs([pair]))


def test_a_stream_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", small_clip(2))
    with open_source(path, SourceOptions(stream=0, decoder_threads=1)) as source:
        assert len(list(source)) == 2
    with pytest.raises(OptionError, match="0 to 0"):
        open_source(path, SourceOptions(stream=1))


def test_every_third_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", small_clip(10))
    with open_source(path, SourceOptions(every=3)) as source:
        frames = list(source)
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.12, 0.24, 0.36])


def test_raw_pictures_come_whole_from_a_program() -> None:
    code = (
        "import sys\n[sys.stdout.buffer.write(bytes([n]) * 4 * 6 * 3) for n in range(5)]; sys.stdout.buffer.write(b'x')"
    )
    source = RawPipe([sys.executable, "-c", code], name="p", height_px=4, width_px=6, rate_fps=5, stall_s=60)
    with source:
        assert [int(frame.image[3, 5, 2]) for frame in source] == [0, 1, 2, 3, 4]
    with pytest.raises(StreamUnreadable, match="no program"):
        RawPipe(["no-such-program"], name="p", height_px=4, width_px=6, rate_fps=5, stall_s=1)
    words = csi_command(1, height_px=480, width_px=640, rate_fps=30)
    assert words[0] == "gst-launch-1.0" and "sensor-id=1" in words
    assert words[-3:] == ["fdsink", "fd=1", "sync=false"]


def test_certificates_are_checked_unless_told_otherwise(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run([*words.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    content = write_video(tmp_path / "clip.mkv", small_clip(4)).read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(content)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"https://localhost:{server.server_port}/clip.mkv"
    try:
        with pytest.raises(StreamUnreadable, match="certificate"):
            open_source(url)
        for options in (SourceOptions(check_certificates=False), SourceOptions(ca_file=str(certificate))):
            with open_source(url, options) as source:
                assert len(list(source)) == 4
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_best_stream_is_taken_unless_another_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w", options={"default_mode": "passthrough"}) as container:
        streams = [container.add_stream("mpeg4", rate=25) for _ in range(2)]
        for stream, (height_px, width_px) in zip(streams, ((32, 48), (96, 128)), strict=True):
            stream.height, stream.width, stream.pix_fmt = height_px, width_px, "yuv420p"
        streams[0].disposition = 0
        streams[1].disposition = av.stream.Disposition.default  # what FFmpeg takes for the best
        for index in range(4):
            for stream in streams:
                picture = np.zeros((stream.height, stream.width, 3), np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format="yuv420p")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    for number, shape in ((None, (96, 128, 3)), (0, (32, 48, 3)), (1, (96, 128, 3))):
        with open_source(path, SourceOptions(stream=number)) as source:
            assert {frame.image.shape for frame in source} == {shape}
