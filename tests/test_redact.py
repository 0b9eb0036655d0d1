"""No spelling of a source shows its password."""

from __future__ import annotations

import ast
import re
import traceback
from pathlib import PurePosixPath

import pytest
from conftest import ROOT, Run
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lsts_edge.errors import LstsEdgeError
from lsts_edge.redact import HIDDEN, redact, redact_text
from lsts_edge.runtime.sources.open import open_source
from lsts_edge.runtime.sources.options import SourceOptions

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


MORE = [
    "rtsp://admin:hunter2%2540127.0.0.1/s",
    "http://camera/flv?password=a&hunter2",
    "http://camera/flv?password=a#hunter2",
    "http://camera/flv?password=a?hunter2",
    "http://camera/flv?password=a hunter2",
    "http://camera/flv?password%3Dhunter2",
    "http://camera/flv?PW=hunter2&x=1",
    "http://camera/flv?sessionId=hunter2",
    "async:rtsp://admin:hunter2@127.0.0.1/s",
]


@pytest.mark.parametrize("source", MORE)
def test_what_follows_a_secret_key_is_hidden(source: str) -> None:
    assert "hunter2" not in redact(source) and "***" in redact(source)


# --- any secret, in any place where one can stand

CORE = "hunter2"
SCHEMES = [spelled for word in ("rtsp", "rtsps", "rtspt", "http", "https", "rtmp", "srt", "udp", "tcp", "ftp")
           for spelled in (word, word.upper(), word.title())]  # fmt: skip
WORDS = ("password", "pass", "passwd", "pwd", "passphrase", "token", "access_token", "key", "user", "secret", "auth")
KEYS = [spelled for word in WORDS
        for spelled in (word, word.upper(), word.title(), f"%{ord(word[0]):02x}{word[1:]}",
                        f"%25{ord(word[0]):02X}{word[1:]}")]  # fmt: skip

around = st.text("ab1/@?#&=:;%+ \t'\"\\[]{}|<>~^*,äß☃", max_size=5)
secret = st.tuples(around, around).map(CORE.join)
scheme = st.sampled_from(SCHEMES)
host = st.sampled_from(("camera", "127.0.0.1:9", "[::1]:9", "camera.example:554", "camera/s", "127.0.0.1:9/live/ch0"))
user = st.sampled_from(("admin", "", "a@b", "a/b"))
in_user = st.tuples(scheme, user, secret, host).map(lambda t: "{}://{}:{}@{}".format(*t))
# In a query an ampersand ends a value, and what then looks like another parameter is one.
value = st.text("ab1:%+'\"[]|~^*,äß☃/@#?; ", max_size=5)
in_query = st.tuples(scheme, host, st.sampled_from(KEYS), value, value, st.sampled_from(("", "&x=1", "#f"))).map(
    lambda t: f"{t[0]}://{t[1]}?channel=1&{t[2]}={t[3]}{CORE}{t[4]}{t[5]}"
)
sources = st.one_of(in_user, in_query)
bounded = settings(max_examples=200, derandomize=True, deadline=None, database=None)


@bounded
@given(sources)
def test_no_secret_is_shown_anywhere(source: str) -> None:
    shown = redact(source)
    assert CORE not in shown and HIDDEN in shown
    assert redact(shown) == shown  # what was redacted stays as it is


@settings(parent=bounded, max_examples=60)
@given(sources, st.text(max_size=12), st.text(max_size=12))
def test_no_secret_is_shown_in_a_text(source: str, before: str, after: str) -> None:
    for words in ([source], [f"--source={source}"]):
        text = f"{before}{source}{after}: got {source!r}, {PurePosixPath(source)}"
        assert CORE not in redact_text(text, words)


@settings(parent=bounded, max_examples=60)
@given(sources)
def test_no_secret_is_in_an_error_or_its_causes(source: str) -> None:
    """Each is opened: what FFmpeg, the system and the standard library say of it comes along in a traceback."""
    source = re.sub(r"(camera\.example|camera|\[::1\])(:\d+)?", "127.0.0.1:9", source)  # where nobody listens
    assume(not source.lower().startswith("udp"))  # which needs nobody there
    with pytest.raises(LstsEdgeError) as caught:
        open_source(source, SourceOptions(reconnect="never"))
    told = "".join(traceback.format_exception(caught.value))
    assert CORE not in str(caught.value)
    assert CORE not in told, [line for line in told.splitlines() if CORE in line]


def test_a_command_line_repeats_no_secret(lsts_edge_command: Run) -> None:
    url = "rtsp://admin:hunter2@127.0.0.1:9/s"
    for words in (["run", url, "a", "b"], ["run", "--every", url, "x"], ["doctor", f"--souce={url}"], ["run", url]):
        done = lsts_edge_command(*words)
        assert done.returncode != 0 and CORE not in done.stdout + done.stderr, done.stderr


# --- every place that names a source

NAMES = {"source", "url", "uri", "target", "address"}
SHOWN_IN = ("runtime", "lsts_edge/cli", "lsts_edge/doctor")


def _shows(tree: ast.AST) -> list[str]:
    """Expressions that put a source's address into a text, or into an error's ``got``, unredacted."""
    found = []
    for node in ast.walk(tree):
        values: list[ast.expr] = []
        if isinstance(node, ast.FormattedValue):
            values = [node.value]
        elif isinstance(node, ast.Call):
            values = [keyword.value for keyword in node.keywords if keyword.arg == "got"]
            if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "logger":
                values += node.args[1:]
        for value in values:
            name = value.id if isinstance(value, ast.Name) else value.attr if isinstance(value, ast.Attribute) else ""
            if name.lstrip("_") in NAMES:
                found.append(ast.unparse(value))
    return found


ALLOWED = {
    "runtime/sources/address.py": ["source"],  # a camera's number: /dev/video{source}
    "lsts_edge/cli/inspect.py": ["weights.source"],  # where weights come from: a word of the manifest
}


def test_every_place_that_shows_a_source_redacts_it() -> None:
    found = {}
    for folder in SHOWN_IN:
        for file in sorted((ROOT / folder).rglob("*.py")):
            if shown := _shows(ast.parse(file.read_text(encoding="utf-8"))):
                found[str(file.relative_to(ROOT))] = shown
    assert found == ALLOWED


def test_a_planted_address_is_seen() -> None:
    planted = (
        'f"cannot open {self._url}"; E("x", got=source); logger.info("%s", target); f"{redact(source)}"; f"{name}"'
    )
    assert sorted(_shows(ast.parse(planted))) == ["self._url", "source", "target"]
