"""What a source's name stands for: a file, a folder, a pipe, a camera or a stream, and whether it is live."""

from __future__ import annotations

import os
import re
import ssl
import stat
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lsts_edge.errors import OptionError, StreamUnreadable
from lsts_edge.redact import redact, redact_error
from lsts_edge.runtime.sources.animation import animation_kind
from lsts_edge.runtime.sources.options import SourceOptions
from lsts_edge.runtime.sources.picture import PICTURES

__all__ = ["Address", "find_address"]

Kind = Literal["file", "folder", "picture", "webp", "pipe", "v4l2", "csi", "network", "http"]

_V4L2_MAJOR = 81  # Linux Documentation/admin-guide/devices.txt: video4linux
_STREAMS = ("rtsp", "rtsps", "rtmp", "rtmps", "rtmpt", "udp", "rtp", "srt", "tcp", "tls", "mmsh", "mmst")
_WEB = ("http", "https")
_ASKED = (*_WEB, "rtsp", "rtsps", "rtmp", "rtmps", "rtmpt")  # the others may wait for somebody to connect
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_LIVE_ONLY = {"reconnect", "stall_s"}
_CAMERA = {"camera_size", "camera_rate"}
_TLS = {"check_certificates", "ca_file"}
_DECODED = {"stream", "decoder_threads"}
_FOR: dict[Kind, set[str]] = {
    "file": _DECODED,
    "folder": set(),
    "picture": set(),
    "webp": set(),
    "pipe": _DECODED,
    "v4l2": _LIVE_ONLY | _CAMERA | _DECODED | {"camera_format"},
    "csi": _LIVE_ONLY | _CAMERA,
    "network": _LIVE_ONLY | _DECODED,
    "http": _DECODED,
}


@dataclass(frozen=True)
class Address:
    """Where a source is.

    Attributes:
        kind: what it is.
        name: for messages, without a password.
        target: what the reader opens: a path, URL, or the number of a sensor.
        live: it happens now, so that its newest frame counts and a pause is a fault.
        container_format: FFmpeg's name for what is there, None where it is to find out.
        reader_options: FFmpeg's options for it.
        playlist: it is an HLS playlist, which may say that it is complete.
    """

    kind: Kind
    name: str
    target: str
    live: bool = False
    container_format: str | None = None
    reader_options: dict[str, str] = field(default_factory=dict)
    playlist: bool = False


def find_address(source: str, options: SourceOptions) -> Address:
    """Decide what a source is by looking: at the device's number, the file's type, the server's answer.

    Args:
        source: as the user gave it.
        options: those that do not concern this kind of source are refused.
    Raises:
        OptionError: if an option does not concern it.
        StreamUnreadable: if there is nothing, or nothing of a known kind.
    """
    scheme = _SCHEME.match(source)
    address = _local(source, options) if scheme is None else _remote(source, scheme[1].lower(), options)
    allowed = _FOR[address.kind] | {"policy", "every"}
    if address.live:
        allowed = allowed | _LIVE_ONLY
    if not options.read_ahead or not (address.live or options.policy == "latest"):
        allowed = allowed | {"read_ahead"}
    if source.lower().startswith(("https", "rtsps", "rtmps", "tls")):
        allowed = allowed | _TLS
    if source.lower().startswith("rtsp"):
        allowed = allowed | {"rtsp_transport"}
    if stray := sorted(options.changed() - allowed):
        what = f"{address.name}, {'live' if address.live else 'not live'} ({address.kind})"
        got, expected = f"{', '.join(stray)} for {what}", f"options among {', '.join(sorted(allowed))}"
        raise OptionError("source options", got=got, expected=expected, fix="Leave them out for this source.")
    return address


def _remote(source: str, scheme: str, options: SourceOptions) -> Address:
    rest = source[len(scheme) + 3 :]
    url, name = f"{scheme}://{rest}", redact(source)
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:  # its text may hold a piece of the password, and so may the traceback
        raise StreamUnreadable(
            f"cannot open {name}",
            got="an address that cannot be read",
            expected="SCHEME://USER:PASSWORD@HOST:PORT/PATH",
            fix="Percent-encode what is special in the password.",
        ) from None
    if scheme in _ASKED and not parts.hostname:
        fix = "Give the machine's name or number."
        raise StreamUnreadable(
            f"cannot open {name}", got="no machine in it", expected="SCHEME://HOST:PORT/PATH", fix=fix
        )
    if scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise StreamUnreadable(
                f"cannot open {name}", got="a file on another machine", expected="file:///PATH", fix="Give the path."
            )
        return _local(urllib.parse.unquote(parts.path), options)
    if scheme == "csi":
        if not rest.isdigit():
            raise StreamUnreadable(
                f"cannot open {name}", got="no number", expected="csi:// and a sensor's number", fix="Use csi://0."
            )
        return Address("csi", name, rest, live=True)
    tls = _tls_options(options)
    if scheme in _WEB:
        from lsts_edge.runtime.sources.http_probe import ask_http  # who reads files does not wait for HTTP and TLS

        answer = ask_http(url, check_certificates=options.check_certificates, ca_file=options.ca_file)
        reader = tls if scheme == "https" else {}
        return Address("http", name, url, answer.live, answer.container_format, reader, answer.playlist)
    if scheme not in _STREAMS:
        known = ", ".join(("file", "csi", *_WEB, *_STREAMS))
        raise StreamUnreadable(
            f"cannot open {name}", got=f"the scheme {scheme}", expected=f"one of {known}", fix="Correct the URL."
        )
    reader = dict(tls) if scheme in ("rtsps", "rtmps", "tls") else {}
    if scheme.startswith("rtsp"):
        if options.rtsp_transport == "auto":
            reader["rtsp_flags"] = "prefer_tcp"
        else:
            reader["rtsp_transport"] = options.rtsp_transport
    return Address("network", name, url, live=True, reader_options=reader)


def _local(source: str, options: SourceOptions) -> Address:
    name = redact(source)
    if source == "-":
        return _standard_input()
    path = Path(source)
    if source.isascii() and source.isdigit() and not path.exists():
        path = Path(f"/dev/video{source}")
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:  # the latter for a NUL in the name
        if path.parent == Path("/dev"):
            got, fix = (
                getattr(error, "strerror", None),
                "Plug it in; lsts-edge doctor lists the cameras that are there.",
            )
            raise StreamUnreadable(f"no such camera: {path}", got=got, expected="a device", fix=fix) from error
        raise StreamUnreadable(
            f"no such video: {name}",
            got=getattr(error, "strerror", None) or "a name that no file can have",
            expected="a video file, image folder, camera or stream URL",
            fix="Check the path; a stream's URL begins with rtsp://, http:// or the like.",
        ) from redact_error(error)
    mode = found.st_mode
    if stat.S_ISDIR(mode):
        return Address("folder", name, str(path))
    if stat.S_ISFIFO(mode):
        return Address("pipe", name, str(path))
    if stat.S_ISCHR(mode):
        if os.major(found.st_rdev) != _V4L2_MAJOR:
            numbers = f"character device {os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
            raise StreamUnreadable(
                f"{name} is no camera", got=numbers, expected="81:N, video4linux", fix="Give a /dev/video device."
            )
        return Address("v4l2", name, str(path), True, "v4l2", _camera_options(options))
    if found.st_size == 0:
        raise _empty(name)
    animation = animation_kind(path)
    if animation == "webp":
        return Address("webp", name, str(path))
    if animation is None and path.suffix.lower() in PICTURES:
        return Address("picture", name, str(path))
    # "file:" keeps a strange file name from being taken for a protocol, and the whitelist keeps a playlist from
    # opening anything but files.
    return Address("file", name, f"file:{path.absolute()}", reader_options={"protocol_whitelist": "file"})


def _standard_input() -> Address:
    """A pipe; a file that was put in its place can be read from any end, and is."""
    name = "standard input"
    try:
        found = os.fstat(0)
    except OSError as error:
        fix = "Put a video into it, or give the file's name."
        raise StreamUnreadable(f"cannot open {name}", got="it is closed", expected="a video", fix=fix) from error
    if not stat.S_ISREG(found.st_mode):
        return Address("pipe", name, "-")
    if found.st_size == 0:
        raise _empty(name)
    return Address("file", name, "file:/dev/fd/0", reader_options={"protocol_whitelist": "file"})


def _empty(name: str) -> StreamUnreadable:
    fix = "Look at what was to write it."
    return StreamUnreadable(f"cannot open {name}", got="an empty file", expected="a video or picture", fix=fix)


def _camera_options(options: SourceOptions) -> dict[str, str]:
    wanted = {
        "input_format": options.camera_format,
        "video_size": options.camera_size,
        "framerate": None if options.camera_rate is None else f"{options.camera_rate:g}",
    }
    return {key: value for key, value in wanted.items() if value is not None}


def _tls_options(options: SourceOptions) -> dict[str, str]:
    if not options.check_certificates:
        return {"tls_verify": "0"}
    trusted = options.ca_file or ssl.get_default_verify_paths().cafile
    return {"tls_verify": "1"} | ({} if trusted is None else {"ca_file": trusted})
