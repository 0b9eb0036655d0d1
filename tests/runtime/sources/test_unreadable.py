"""What is given as a source and is none, or not whole: each is one error that says what it is and what to do."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from byte_server import byte_server

from lsts_edge.errors import StreamEmpty, StreamUnreadable
from lsts_edge.runtime import open_source
from lsts_edge.runtime.sources.video import VideoSource
from videos import small_clip, write_video


@contextmanager
def standard_input(of: Path | int | None) -> Iterator[None]:
    """A file or descriptor in the place of this process's standard input; None closes it."""
    before = os.dup(0)
    if of is None:
        os.close(0)
    else:
        given = os.open(of, os.O_RDONLY) if isinstance(of, Path) else of
        os.dup2(given, 0)
        os.close(given)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


def piped(content: bytes) -> int:
    """The end of a pipe that gives these bytes, which fit into it."""
    reading, writing = os.pipe()
    assert os.write(writing, content) == len(content)
    os.close(writing)
    return reading


def test_nothing_comes_out_of_a_pipe() -> None:
    with (
        standard_input(piped(b"")),
        pytest.raises(StreamUnreadable, match=r"closed before a byte came.*program that is to write"),
    ):
        open_source("-")


def test_a_video_that_is_read_from_its_end_does_not_go_through_a_pipe(tmp_path: Path) -> None:
    content = write_video(tmp_path / "clip.mp4", small_clip(40)).read_bytes()
    with (
        standard_input(piped(content)),
        pytest.raises((StreamEmpty, StreamUnreadable), match="index stands at its end"),
        open_source("-") as source,
    ):
        list(source)
    with standard_input(piped(content[:1000])), pytest.raises(StreamUnreadable, match=r"after 1000 bytes.*MPEG-TS"):
        open_source("-")


def test_a_file_in_the_place_of_standard_input_is_read_from_any_end(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", small_clip(5))
    with standard_input(clip), open_source("-") as source:
        assert source.frame_count == len(list(source)) == 5


def test_a_standard_input_that_is_closed() -> None:
    with standard_input(None), pytest.raises(StreamUnreadable, match="standard input: got it is closed"):
        open_source("-")


def test_an_empty_file(tmp_path: Path) -> None:
    for name in ("clip.mp4", "picture.jpg"):
        path = tmp_path / name
        path.touch()
        with pytest.raises(StreamUnreadable, match="got an empty file"):
            open_source(path)
    with standard_input(path), pytest.raises(StreamUnreadable, match="got an empty file"):
        open_source("-")


@pytest.mark.parametrize("name", ["4711", "/dev/video4711"])
def test_a_camera_that_is_not_there(name: str) -> None:
    with pytest.raises(StreamUnreadable, match=r"no such camera: /dev/video4711: .*Plug it in; lsts-edge doctor"):
        open_source(name)


@pytest.mark.parametrize("url", ["rtsp://", "rtsp://user:secret@:554/x", "http:///clip.mp4"])
def test_an_address_without_a_machine(url: str) -> None:
    with pytest.raises(StreamUnreadable, match="got no machine in it") as caught:
        open_source(url)
    assert "secret" not in str(caught.value)


def test_what_is_no_video_is_told_in_words(tmp_path: Path) -> None:
    for name, got in (("notes.txt", "a text"), ("notes.md", "nothing that FFmpeg knows as a video")):
        (tmp_path / name).write_text("no video " * 50)
        with pytest.raises(StreamUnreadable, match=f"got {got}"):
            open_source(tmp_path / name)


def test_a_stop_while_a_server_is_silent_is_no_fault(tmp_path: Path) -> None:
    """The read ends by its own limit; what came before it is all there is, and it is no error."""
    content = write_video(tmp_path / "clip.ts", small_clip(100)).read_bytes()
    with byte_server(content, "silence") as (url, _), VideoSource(url, name="film", timeouts_s=(10.0, 1.0)) as source:
        frames = 0
        for frame in source:
            frames += 1
            if frame.index == 90:
                threading.Timer(0.5, source.stop).start()
    assert source.stopping and 90 < frames <= 100
