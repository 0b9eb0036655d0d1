"""Videos are read as a player shows them: turned, mirrored, with square pixels, the best stream, all of a GIF."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from lsts_edge.errors import OptionError
from lsts_edge.runtime import Detector, Frame, open_source
from lsts_edge.runtime.loop import run_stream
from lsts_edge.runtime.sinks.video import VideoSink
from lsts_edge.runtime.sources.geometry import Orientation, display_size
from lsts_edge.runtime.sources.options import SourceOptions
from videos import read_pictures, small_clip, write_video

ONE = 1 << 16
MATRICES = {
    # (a, b, c, d) of x' = a x + c y, y' = b x + d y, and where each shown pixel comes from
    (1, 0, 0, 1): lambda p: p,
    (-1, 0, 0, 1): lambda p: p[:, ::-1],
    (1, 0, 0, -1): lambda p: p[::-1],
    (-1, 0, 0, -1): lambda p: p[::-1, ::-1],
    (0, 1, 1, 0): lambda p: p.swapaxes(0, 1),
    (0, 1, -1, 0): lambda p: p.swapaxes(0, 1)[:, ::-1],
    (0, -1, 1, 0): lambda p: p.swapaxes(0, 1)[::-1],
    (0, -1, -1, 0): lambda p: p.swapaxes(0, 1)[::-1, ::-1],
}


def read(path: Path, **options: object) -> list[Frame]:
    with open_source(path, SourceOptions(**options)) as source:  # type: ignore[arg-type]
        return list(source)


def turned(path: Path, matrix: tuple[int, ...], *, scale: int = ONE) -> Path:
    """A lossless clip with a display matrix."""
    a, b, c, d = (scale * value for value in matrix)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv444p"
        stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        for picture in small_clip(2):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format="yuv444p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("matrix", MATRICES)
def test_a_display_matrix_turns_and_mirrors(tmp_path: Path, matrix: tuple[int, ...]) -> None:
    path = turned(tmp_path / "clip.mp4", matrix)
    for frame, coded in zip(read(path), read_pictures(path), strict=True):
        np.testing.assert_array_equal(frame.image, MATRICES[matrix](coded))
        assert frame.image.flags["C_CONTIGUOUS"]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the program ffmpeg is not installed")
@pytest.mark.parametrize("matrix", MATRICES)
def test_ffmpeg_shows_the_same_pixels(tmp_path: Path, matrix: tuple[int, ...]) -> None:
    path = turned(tmp_path / "clip.mp4", matrix)
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "bgr24", "-"]
    shown = subprocess.run(command, capture_output=True, check=True).stdout
    frames = np.stack([frame.image for frame in read(path)])
    np.testing.assert_array_equal(frames, np.frombuffer(shown, np.uint8).reshape(frames.shape))


def test_a_matrix_that_scales_or_is_cut_short_turns_no_more_than_it_says(tmp_path: Path) -> None:
    path = turned(tmp_path / "clip.mp4", (0, 1, -1, 0), scale=ONE // 2)
    np.testing.assert_array_equal(read(path)[0].image, MATRICES[0, 1, -1, 0](read_pictures(path)[0]))
    assert Orientation.of_matrix(b"\x00" * 12) == Orientation()


@pytest.mark.parametrize(("degrees", "turns"), [(0, 0), (90, 1), (-90, -1), (180, 2), (-180, 2), (270, 3), (91, 1)])
def test_where_only_the_turn_is_known(degrees: int, turns: int) -> None:
    picture = small_clip(1)[0]
    np.testing.assert_array_equal(Orientation.of_turn(degrees).apply(picture), np.rot90(picture, turns))


def stretched(path: Path, aspect: Fraction, *, height_px: int = 96, width_px: int = 120) -> Path:
    """A clip whose samples are wider or higher than they are long."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for picture in small_clip(3, height_px, width_px):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("aspect", "shown"),
    [(Fraction(4, 3), (96, 160)), (Fraction(8, 9), (108, 120)), (Fraction(1), (96, 120)), (Fraction(0), (96, 120))],
)
def test_pixels_are_square(tmp_path: Path, aspect: Fraction, shown: tuple[int, int]) -> None:
    path = stretched(tmp_path / "clip.mp4", aspect)
    assert [frame.image.shape[:2] for frame in read(path)] == [shown] * 3
    if shown == (96, 120):
        np.testing.assert_array_equal(read(path)[0].image, read_pictures(path)[0])


def test_an_aspect_that_cannot_be_meant_is_told_and_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frames = read(stretched(tmp_path / "clip.mp4", Fraction(40, 1)))
    assert [frame.image.shape[:2] for frame in frames] == [(96, 120)] * 3
    assert caplog.text.count("shown as coded") == 1 and "aspect 40" in caplog.text
    assert display_size(9000, 9000, Fraction(2)) is None, "larger than a detector takes"


def test_boxes_and_output_are_in_the_pixels_shown(tmp_path: Path, hand_made_bundle: Path) -> None:
    path = stretched(tmp_path / "clip.mp4", Fraction(4, 3))
    plain = write_video(tmp_path / "plain.mkv", [frame.image for frame in read(path)], codec="ffv1", pix_fmt="bgr0")
    output = tmp_path / "out.mp4"
    with Detector(hand_made_bundle, score_threshold=0.0) as detector:
        boxes = [found.boxes_xyxy_px for _, found in detector.run(path)]
        for found, expected in zip(boxes, detector.run(plain), strict=True):
            np.testing.assert_array_equal(found, expected[1].boxes_xyxy_px)
        run_stream(detector, open_source(path), [VideoSink(output)])
    assert sum(map(len, boxes)) > 0
    with av.open(str(output)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (160, 96) and stream.sample_aspect_ratio in (None, 1)


def test_the_best_stream_or_the_one_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = []
        for width_px, disposition in ((64, 0), (96, 1)):
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt, stream.disposition = width_px, 64, "yuv420p", disposition
            streams.append(stream)
        for stream in streams:
            for picture in small_clip(3, 64, stream.width):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
            container.mux(stream.encode(None))
    assert [frame.image.shape[1] for frame in read(path)] == [96] * 3
    assert [frame.image.shape[1] for frame in read(path, stream=0)] == [64] * 3
    with pytest.raises(OptionError, match="0 to 1"):
        read(path, stream=2)


ANIMATIONS = {
    "gif": ("gif", "gif", "rgb8", {}),
    "apng": ("apng", "apng", "rgb24", {}),
    "png": ("apng", "apng", "rgb24", {}),
    "webp": ("libwebp_anim", "webp", "yuv420p", {}),
    "avif": ("libsvtav1", "avif", "yuv420p", {"svtav1-params": "preset=12:lp=1"}),
}


def animated(path: Path, kind: str, count: int) -> Path:
    codec, container_format, pix_fmt, options = ANIMATIONS[kind]
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    with av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 80, 64, pix_fmt
        for index in range(count):
            picture = np.full((64, 80, 3), 16 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format=pix_fmt)))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("kind", ANIMATIONS)
def test_animations_give_all_frames(tmp_path: Path, kind: str) -> None:
    frames = read(animated(tmp_path / f"moving.{kind}", kind, 12))
    assert [frame.time_s for frame in frames] == pytest.approx([0.04 * index for index in range(12)], abs=2e-3)
    levels = [float(frame.image.mean()) for frame in frames]
    assert levels == sorted(levels) and levels[-1] - levels[0] > 100


def test_an_animation_is_read_in_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = animated(tmp_path / "moving.webp", "webp", 11)
    whole = read(path)
    monkeypatch.setattr("lsts_edge.runtime.sources.animation._WINDOW_BYTES", 4 * 64 * 80 * 3)
    pieces = read(path)
    assert [frame.time_s for frame in pieces] == [frame.time_s for frame in whole]
    for left, right in zip(pieces, whole, strict=True):
        np.testing.assert_array_equal(left.image, right.image)
