"""No spelling of a source shows its password."""

from __future__ import annotations

import pytest

from lsts_edge.redact import redact

SECRET = [
    "rtsp://admin:hunter2@127.0.0.1:9/s",
    "RTSP://admin:hunter2@127.0.0.1:9/s",
    "rtspt://admin:hunter2@127.0.0.1:9/s",
    "HtTpS://admin:hunter2@camera/s",
    "rtsp://admin:hun/ter2/hunter2@127.0.0.1:9/s",
    "rtsp://admin:12/hunter2@127.0.0.1/s",
    "rtsp://admin:hunter2?x#y@127.0.0.1/s",
    "rtsp://admin:hunter2%40127.0.0.1/s",
    "rtsp://admin:a@hunter2@127.0.0.1/s",
    "rtsp:/admin:hunter2@127.0.0.1/s",
    "admin:hunter2@127.0.0.1/s",
    "http://camera/flv?user=admin&password=hunter2",
    "http://camera/flv?channel=1;PassWord=hunter2",
    "http://camera/flv?channel=1#pwd=hunter2",
    "http://camera/flv?%70assword=hunter2",
    "http://camera/flv?%2570assword=hunter2",
    "http://camera/flv?loginuse=hunter2&loginpas=hunter2&auth_token=hunter2&api_key=hunter2",
    "srt://127.0.0.1:9?passphrase=hunter2hunter2",
    "rtmp://server/app playpath=x pubUser=hunter2 pubPasswd=hunter2",
]


@pytest.mark.parametrize("source", SECRET)
def test_the_password_is_hidden(source: str) -> None:
    assert "hunter2" not in redact(source)
    assert "***" in redact(source)


@pytest.mark.parametrize(
    "source",
    ["rtsp://camera:554/stream?channel=1&rate=25", "/videos/me@home.mp4", "0", "clip=1.mp4", "file:///a/b.mp4", "-"],
)
def test_what_is_not_secret_stays(source: str) -> None:
    assert redact(source) == source


def test_the_host_stays_readable() -> None:
    assert redact("rtsp://admin:hunter2@camera:554/s?token=1&x=2") == "rtsp://***@camera:554/s?token=***&x=2"
