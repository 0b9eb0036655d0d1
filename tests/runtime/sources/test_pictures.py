"""Folders of pictures: any name, natural order, what is left out is told, EXIF, 16 bits, rows that name the file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from lsts_edge.errors import StreamEmpty, StreamUnreadable
from lsts_edge.read_file import read_file
from lsts_edge.runtime import Detector, Frame, open_source
from lsts_edge.runtime.loop import run_stream
from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from lsts_edge.runtime.sources.images import ImageFolder
from lsts_edge.runtime.sources.picture import read_picture
from videos import small_clip, write_video


def read(path: Path | str) -> list[Frame]:
    with open_source(path) as source:
        return list(source)


def encoded(picture: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, picture)[1].tobytes()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


def test_names_that_are_not_utf_8(pictures: Path, hand_made_bundle: Path, tmp_path: Path) -> None:
    picture = small_clip(1)[0]
    name = os.fsencode(pictures) + b"/caf\xe9.png"
    with open(name, "wb") as file:
        file.write(encoded(picture))
    rows = tmp_path / "rows.jsonl"
    with Detector(hand_made_bundle) as detector:
        run_stream(detector, open_source(pictures), [JsonLinesSink(rows)])
        run_stream(detector, open_source(os.fsdecode(name)), [JsonLinesSink(tmp_path / "single.jsonl")])
    assert json.loads(rows.read_text("utf-8"))["file"] == "caf\\xe9.png"
    assert json.loads((tmp_path / "single.jsonl").read_text("utf-8"))["file"] == "caf\\xe9.png"
    np.testing.assert_array_equal(read(pictures)[0].image, picture)


def test_a_video_whose_name_or_title_is_not_utf_8(tmp_path: Path) -> None:
    import av

    clip = write_video(tmp_path / "clip.mkv", small_clip(2))
    titled = tmp_path / "titled.mkv"
    with av.open(str(clip)) as source, av.open(str(titled), "w") as target:
        target.metadata["title"] = "XXXX"
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    content = titled.read_bytes().replace(b"XXXX", b"caf\xe9")
    assert b"caf\xe9" in content
    name = os.fsencode(tmp_path) + b"/caf\xe9.mkv"
    with open(name, "wb") as file:
        file.write(content)
    assert len(read(os.fsdecode(name))) == 2


def test_a_command_tells_names_that_are_not_utf_8(
    tmp_path: Path, pictures: Path, hand_made_bundle: Path, lsts_edge_command: object
) -> None:
    (pictures / "1.png").write_bytes(encoded(small_clip(1)[0]))
    output = os.fsdecode(os.fsencode(tmp_path) + b"/r\xe9sum\xe9.jsonl")
    done = lsts_edge_command("run", hand_made_bundle, pictures, "--output-json", output)  # type: ignore[operator]
    assert done.returncode == 0, done.stderr
    assert "r\\udce9sum\\udce9.jsonl" in done.stdout and os.path.exists(output)


def test_numbers_are_in_their_own_order(pictures: Path) -> None:
    names = ["1.png", "2.png", "9.png", "10.png", "11.png", "100.png", "a1b2.png", "a1b10.png", "a02.png", "b.png"]
    for level, name in enumerate(names):
        (pictures / name).write_bytes(encoded(np.full((8, 8, 3), 20 * level, np.uint8)))
    frames = read(pictures)
    assert [frame.file for frame in frames] == names
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [20 * level for level in range(len(names))]


def test_what_is_left_out_is_told_and_counted(pictures: Path, caplog: pytest.LogCaptureFixture) -> None:
    picture = small_clip(1)[0]
    (pictures / "._1.jpg").write_bytes(b"Mac OS X")
    (pictures / "1.jpg").write_bytes(encoded(picture, ".jpg"))
    (pictures / "2.jfif").write_bytes(encoded(picture, ".jpg"))
    (pictures / "3.JP2").write_bytes(encoded(picture, ".jp2"))
    for name in ("notes.txt", "list.txt", "README", "4.heic"):
        (pictures / name).write_text("no picture")
    (pictures / "more.jpg").mkdir()
    with open_source(pictures) as source:
        frames = list(source)
    assert [(frame.file, frame.time_s) for frame in frames] == [("1.jpg", 0.0), ("2.jfif", 0.04), ("3.JP2", 0.08)]
    assert source.skipped == 5
    assert "left out 5 that are no pictures (1 .heic, 2 .txt, 1 folder, 1 no suffix) and 1 hidden" in caplog.text


def test_a_run_counts_what_was_skipped(pictures: Path, hand_made_bundle: Path) -> None:
    (pictures / "1.png").write_bytes(encoded(small_clip(1)[0]))
    (pictures / "notes.txt").write_text("no picture")
    with Detector(hand_made_bundle) as detector:
        assert run_stream(detector, open_source(pictures)).skipped == 1


def test_a_folder_with_nothing_to_read_says_what_there_is(pictures: Path) -> None:
    (pictures / ".hidden.jpg").write_bytes(encoded(small_clip(1)[0], ".jpg"))
    (pictures / "notes.txt").write_text("no picture")
    with pytest.raises(StreamEmpty, match=r"1 that are no pictures \(1 .txt\) and 1 hidden"):
        open_source(pictures)


def test_a_folder_that_cannot_be_listed_says_so(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(StreamUnreadable, match="Permission denied"):
        open_source(pictures)


def exif(orientation: int) -> bytes:
    """A JPEG's APP1 segment that says how the picture lies (EXIF 2.3, tag 0x112)."""
    entry = b"\x12\x01" + b"\x03\x00" + b"\x01\x00\x00\x00" + bytes([orientation, 0, 0, 0])
    body = b"Exif\0\0" + b"II*\0\x08\x00\x00\x00" + b"\x01\x00" + entry + b"\0\0\0\0"
    return b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body


@pytest.mark.parametrize(
    ("orientation", "shown"),
    [
        (1, lambda p: p),
        (2, lambda p: p[:, ::-1]),
        (3, lambda p: p[::-1, ::-1]),
        (4, lambda p: p[::-1]),
        (5, lambda p: p.swapaxes(0, 1)),
        (6, lambda p: np.rot90(p, -1)),
        (7, lambda p: p.swapaxes(0, 1)[::-1, ::-1]),
        (8, lambda p: np.rot90(p)),
    ],
)
def test_exif_turns_a_picture_alone_and_in_a_folder(pictures: Path, orientation: int, shown: object) -> None:
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:16, :16], picture[16:, 16:32] = (200, 0, 0), (0, 0, 200)
    plain = encoded(picture, ".jpg")
    path = pictures / "1.jpg"
    path.write_bytes(plain[:2] + exif(orientation) + plain[2:])
    right = shown(cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_COLOR))  # type: ignore[operator]
    for frames in (read(pictures), read(path)):
        assert [frame.file for frame in frames] == ["1.jpg"]
        np.testing.assert_array_equal(frames[0].image, right)


def test_16_bits_become_8_and_12_in_16_are_told(pictures: Path, caplog: pytest.LogCaptureFixture) -> None:
    levels = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    (pictures / "1.png").write_bytes(encoded(levels * 16))
    assert read(pictures)[0].image.tolist() == np.repeat((levels // 16)[..., None], 3, axis=2).tolist()
    assert caplog.text == ""
    (pictures / "2.png").write_bytes(encoded(levels))
    (pictures / "3.png").write_bytes(encoded(levels))
    assert len(read(pictures)) == 3
    assert caplog.text.count("12 bits or less in 16") == 1 and "2.png" in caplog.text


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_what_is_no_frame_counts_as_lost_and_is_told(
    pictures: Path, dtype: type, caplog: pytest.LogCaptureFixture
) -> None:
    odd = np.zeros((4, 6, 3), np.float32) if dtype is np.float32 else np.zeros((1, 20000, 3), np.uint8)
    (pictures / "2.png").write_bytes(encoded(odd, ".hdr" if dtype is np.float32 else ".png"))
    (pictures / "1.png").write_bytes(encoded(small_clip(1)[0]))
    (pictures / "3.png").write_bytes(b"")
    with open_source(pictures) as source:
        assert [frame.file for frame in source] == ["1.png"]
    assert source.lost == 2
    why = "float32 values" if dtype is np.float32 else "a side over 16384 pixels"
    assert f"2.png cannot be read ({why})" in caplog.text and "3.png" not in caplog.text


def test_a_bomb_of_a_picture_is_no_frame(pictures: Path) -> None:
    header = b"P6 65535 65535 255\n"
    (pictures / "1.ppm").write_bytes(header + b"\0" * 100)
    assert read_picture(pictures / "1.ppm")[0] is None
    with pytest.raises(StreamUnreadable, match="1 unreadable"):
        read(pictures)


def test_a_picture_without_permission_counts_as_lost(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("1.png", "2.png"):
        (pictures / name).write_bytes(encoded(small_clip(1)[0]))

    def refuse_first(path: Path) -> bytes:
        if path.name == "1.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read_file(path)

    monkeypatch.setattr("lsts_edge.runtime.sources.picture.read_file", refuse_first)
    with ImageFolder(pictures) as source:
        assert [(frame.file, frame.lost_before) for frame in source] == [("2.png", 1)]
    assert source.lost == 1 and "1.png cannot be read (Permission denied)" in caplog.text
