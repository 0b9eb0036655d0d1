"""Frames from files, folders, arrays and live sources: all of them, upright, with their times."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from threads import left_running

from lsts_edge.errors import LstsEdgeError, OptionError, StreamEmpty, StreamUnreadable
from lsts_edge.runtime import Frame, Source, open_source
from lsts_edge.runtime.sources.arrays import ArraySource
from lsts_edge.runtime.sources.drop_oldest import DropOldest
from lsts_edge.runtime.sources.images import ImageFolder
from videos import read_pictures, small_clip, write_changing_sizes, write_video


def read(path: Path) -> list[Frame]:
    with open_source(path) as source:
        return list(source)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "clip.avi", "clip.h264"])
@pytest.mark.parametrize("count", [1, 2, 13, 40])
@pytest.mark.parametrize("b_frames", [0, 3])
def test_every_frame_comes_once(tmp_path: Path, name: str, count: int, b_frames: int) -> None:
    path = write_video(tmp_path / name, small_clip(count, 64, 80), b_frames=b_frames)
    frames = read(path)
    expected = read_pictures(path)
    assert len(frames) == len(expected) == count
    assert [f.index for f in frames] == list(range(count))
    assert not any(f.damaged or f.lost_before for f in frames)
    for frame, picture in zip(frames, expected, strict=True):
        assert np.abs(frame.image.astype(int) - picture).max() <= 1


def test_times_are_the_sources(tmp_path: Path) -> None:
    times_s = [0.0, 0.04, 0.2, 0.24, 1.0, 3.5]
    path = write_video(tmp_path / "vfr.mp4", small_clip(6), times_s=times_s)
    assert [f.time_s for f in read(path)] == pytest.approx(times_s, abs=1e-3)


def test_a_title_in_another_encoding_is_no_reason_to_refuse(tmp_path: Path) -> None:
    path = tmp_path / "title.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "TITLE-IN-LATIN-1"
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for picture in small_clip(3, 64, 96):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    assert content.count(b"TITLE-IN-LATIN-1") == 1
    path.write_bytes(content.replace(b"TITLE-IN-LATIN-1", b"TITLE-IN-L\xc4TIN-1"))
    assert len(read(path)) == 3


def test_a_telephones_video_comes_upright(tmp_path: Path) -> None:
    clip = small_clip(2, 64, 96)
    turned = read(write_video(tmp_path / "turned.mp4", clip, turned_clockwise=True))
    straight = read(write_video(tmp_path / "straight.mp4", clip))
    for left, right in zip(turned, straight, strict=True):
        np.testing.assert_array_equal(left.image, np.rot90(right.image, -1))


def test_a_size_change_mid_stream_keeps_real_sizes(tmp_path: Path) -> None:
    small, large = small_clip(4, 64, 96), small_clip(3, 120, 160)
    path = write_changing_sizes(tmp_path / "changing.h264", [small, large, small])
    shapes = [f.image.shape[:2] for f in read(path)]
    assert shapes == [(64, 96)] * 4 + [(120, 160)] * 3 + [(64, 96)] * 4


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    pictures = small_clip(5, 40, 50)
    for index, picture in enumerate(pictures):
        cv2.imwrite(str(tmp_path / f"{index:03}.png"), picture)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "002.png").write_bytes(b"not a picture any more")
    frames = read(tmp_path)
    assert [f.time_s for f in frames] == [0.0, 0.04, 0.12, 0.16]
    assert [f.lost_before for f in frames] == [0, 0, 1, 0]
    for frame, index in zip(frames, (0, 1, 3, 4), strict=True):
        np.testing.assert_array_equal(frame.image, pictures[index])


def test_folders_without_pictures_say_so(tmp_path: Path) -> None:
    with pytest.raises(StreamEmpty, match="no pictures"):
        open_source(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(StreamUnreadable, match="1 unreadable"):
        read(tmp_path)


@pytest.mark.parametrize(
    "name", ["/nowhere/clip.mp4", "/dev/video97", "97", "rtsp://user:secret@127.0.0.1:9/stream", "http://127.0.0.1:9/x"]
)
def test_what_cannot_be_opened_says_so_without_the_password(name: str) -> None:
    with pytest.raises(StreamUnreadable) as caught:
        open_source(name)
    assert "secret" not in str(caught.value)


def test_a_playlist_opens_no_other_protocol(tmp_path: Path) -> None:
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(LstsEdgeError):
        read(playlist)


def test_a_file_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "clip.mp4", small_clip(3)).rename(tmp_path / "concat:clip.mp4")
    assert len(read(Path("concat:clip.mp4"))) == 3


def test_arrays_need_a_frame_and_a_rate() -> None:
    with pytest.raises(StreamEmpty):
        list(ArraySource([]))
    with pytest.raises(OptionError):
        ArraySource([], rate_fps=0)


@pytest.mark.parametrize("kind", ["arrays", "folder", "video", "drop-oldest"])
def test_stop_ends_the_iteration_without_an_error(tmp_path: Path, kind: str) -> None:
    clip = small_clip(30)
    source: Source
    if kind == "folder":
        for index, picture in enumerate(clip):
            cv2.imwrite(str(tmp_path / f"{index:03}.png"), picture)
        source = ImageFolder(tmp_path)
    elif kind == "video":
        source = open_source(write_video(tmp_path / "clip.mp4", clip))
    else:
        source = ArraySource(clip)
        source = DropOldest(source, 50) if kind == "drop-oldest" else source
    with source:
        count = 0
        for _ in source:
            count += 1
            if count == 5:
                source.stop()
    assert 5 <= count <= 6


class _Camera(Source):
    """Gives numbered pictures, all but the first only once it may, then fails if asked."""

    def __init__(self, count: int, error: Exception | None = None, may_go_on: threading.Event | None = None) -> None:
        self.name, self._count, self._error, self._may_go_on = "camera", count, error, may_go_on
        self.all_given = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._count):
            if index == 1 and self._may_go_on is not None:
                assert self._may_go_on.wait(60)
            yield Frame(np.full((8, 8, 3), index % 256, np.uint8), index, index / 25, lost_before=1)
        self.all_given.set()
        if self._error is not None:
            raise self._error


def test_a_slow_consumer_costs_frames_and_the_counts_add_up() -> None:
    may_go_on = threading.Event()
    camera = _Camera(200, may_go_on=may_go_on)
    source = DropOldest(camera, depth=2)
    delivered = []
    with source:
        for frame in source:
            delivered.append(frame)
            may_go_on.set()
            assert camera.all_given.wait(60)  # so slow that all others come meanwhile
    assert [f.image[0, 0, 0] for f in delivered] == [0, 198, 199]
    assert [f.dropped_before for f in delivered] == [0, 197, 0] and source.dropped == 197
    assert [f.lost_before for f in delivered] == [1, 198, 1]
    assert [f.index for f in delivered] == [0, 1, 2]
    assert camera.closed


def test_an_error_of_a_live_source_reaches_the_consumer() -> None:
    source = DropOldest(_Camera(3, StreamUnreadable("camera", got="gone", expected="here", fix="Look.")), depth=5)
    with pytest.raises(StreamUnreadable, match="gone"), source:
        list(source)
    assert left_running("camera") == []


def test_leaving_a_live_source_early_leaves_no_thread() -> None:
    camera = _Camera(10**9)
    with DropOldest(camera) as source:
        next(iter(source))
    assert left_running("camera") == []
    assert not camera.all_given.is_set()
