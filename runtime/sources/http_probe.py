"""Asks an HTTP server what an address is before FFmpeg opens it: a file, a live stream, a live or finished playlist."""

from __future__ import annotations

import http.client
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass

from lsts_edge.errors import StreamError, StreamUnauthorized, StreamUnreadable
from lsts_edge.redact import redact

__all__ = ["HttpAnswer", "ask_http"]

_TIMEOUT_S = 5.0
_PLAYLIST_BYTES = 1 << 20
_PLAYLIST = ("application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl")


@dataclass(frozen=True)
class HttpAnswer:
    """What the address is.

    Attributes:
        live: it has no end that is known: no length, or a playlist that is still written.
        container_format: FFmpeg's name for it where the server says so, else None.
        playlist: it is an HLS playlist.
    """

    live: bool
    container_format: str | None = None
    playlist: bool = False


def ask_http(
    url: str, *, check_certificates: bool = True, ca_file: str | None = None, timeout_s: float = _TIMEOUT_S
) -> HttpAnswer:
    """Read the headers of the answer once, and of a playlist its text.

    Raises:
        StreamUnauthorized: if the server refuses the user name or password.
        StreamUnreadable: if it cannot be reached or has nothing there.
    """
    plain, user, password = _split(url)
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if user is not None:
        passwords.add_password(None, plain, user, password or "")
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=_tls(check_certificates, ca_file)),
        urllib.request.HTTPBasicAuthHandler(passwords),
        urllib.request.HTTPDigestAuthHandler(passwords),
    )
    try:
        with opener.open(plain, timeout=timeout_s) as answer:
            return _judged(opener, answer, timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        raise _refused(url, error.code, error.reason) from error
    except (http.client.InvalidURL, ValueError):  # their texts may hold a piece of the password
        raise StreamUnreadable(
            f"cannot open {redact(url)}",
            got="an address whose host or port cannot be read",
            expected="http://USER:PASSWORD@HOST:PORT/PATH",
            fix="Percent-encode what is special in the password.",
        ) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise StreamUnreadable(
            f"cannot open {redact(url)}",
            got=getattr(reason, "strerror", None) or redact(reason) or type(reason).__name__,
            expected="an answer",
            fix="Check that the camera is on and reachable, and its address.",
        ) from error


def _judged(opener: urllib.request.OpenerDirector, answer: http.client.HTTPResponse, timeout_s: float) -> HttpAnswer:
    kind = answer.headers.get_content_type()
    path = urllib.parse.urlsplit(answer.url).path.lower()
    if kind in _PLAYLIST or path.endswith(".m3u8"):
        text = answer.read(_PLAYLIST_BYTES).decode("utf-8", "replace")
        variant = re.search(r"^#EXT-X-STREAM-INF.*\n\s*([^#\s].*)", text, re.MULTILINE)
        if variant is not None:  # a list of playlists: all of them end, or none does
            with opener.open(urllib.parse.urljoin(answer.url, variant[1].strip()), timeout=timeout_s) as inner:
                text = inner.read(_PLAYLIST_BYTES).decode("utf-8", "replace")
        return HttpAnswer("#EXT-X-ENDLIST" not in text, "hls", playlist=True)
    if kind == "multipart/x-mixed-replace":
        return HttpAnswer(True, "mpjpeg")
    return HttpAnswer(answer.headers.get("Content-Length") is None)


def _refused(url: str, status: int, reason: str) -> StreamError:
    if status in (401, 403):
        return StreamUnauthorized(
            f"{redact(url)} lets nobody in",
            got=f"{status} {reason}",
            expected="a user name and password that it knows",
            fix="Check both in the URL (http://USER:PASSWORD@...), special characters percent-encoded.",
        )
    return StreamUnreadable(
        f"cannot open {redact(url)}", got=f"{status} {reason}", expected="a video", fix="Check the path of the URL."
    )


def _split(url: str) -> tuple[str, str | None, str | None]:
    """The URL without what stands before the host, and the user name and password from there."""
    parts = urllib.parse.urlsplit(url)
    user, password = parts.username, parts.password
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    unquoted = [None if word is None else urllib.parse.unquote(word) for word in (user, password)]
    return plain, unquoted[0], unquoted[1]


def _tls(check: bool, ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    if not check:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
