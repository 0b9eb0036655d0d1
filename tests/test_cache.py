"""The cache is where the user says, in the home, or nowhere."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from lsts_edge.cache import cache_folder
from lsts_edge.demo_clips import fetch_clip
from lsts_edge.errors import ClipUnavailable


def nobody(number: int) -> pwd.struct_passwd:
    raise KeyError(f"getpwuid(): uid not found: {number}")


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a container that runs as a number: no HOME, no passwd entry, a folder of one's own to stand in."""
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)


def test_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder("clips") == Path("/somewhere/lsts-edge/clips")
    monkeypatch.setenv("HOME", "/home/me")
    for relative in ("", "somewhere"):
        monkeypatch.setenv("XDG_CACHE_HOME", relative)
        assert cache_folder() == Path("/home/me/.cache/lsts-edge")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("/home/me/.cache/lsts-edge")


@pytest.mark.parametrize("home", [None, "somewhere"])
def test_without_a_home_there_is_none(homeless: None, monkeypatch: pytest.MonkeyPatch, home: str | None) -> None:
    if home is not None:
        monkeypatch.setenv("HOME", home)
    assert cache_folder() is None


def test_a_clip_says_what_is_missing(homeless: None, tmp_path: Path) -> None:
    with pytest.raises(ClipUnavailable, match="XDG_CACHE_HOME"):
        fetch_clip("bikes")
    assert list(tmp_path.iterdir()) == []
