"""Films inside recordings: near the frames, the same pixels again, and refused where something is wrong."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lsts_edge.boxes import Boxes
from lsts_edge.bundle import Bundle, write_bundle
from lsts_edge.cli import main
from lsts_edge.cli.export import export_lines
from lsts_edge.errors import BundleError, LstsEdgeError, OptionError
from lsts_edge.publish.filming import FILM_NOTE, FilmPlan
from lsts_edge.publish.network import load_network
from lsts_edge.publish.publish import publish
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.verify.compare import check_parity, verify_bundle
from lsts_edge.verify.film import decode_film, encode_film
from lsts_edge.verify.golden import GOLDEN_FILE, Golden, GoldenRecorder
from lsts_edge.verify.parity import doubt_of
from lsts_edge.verify.references import RecordedReference
from videos import small_clip, write_video

FRAMES = 12


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("videos")
    return [write_video(folder / f"{seed}.mp4", small_clip(30, seed=seed)) for seed in (0, 1)]


@pytest.fixture(scope="module")
def bundle(videos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    network, weights, _ = load_network("random", preset="lsts-tiny")
    film = FilmPlan.of([str(videos[0]), f"{videos[1]}@0.4"], "drawn by this test")
    return publish(network, weights, tmp_path_factory.mktemp("film") / "b", frames=FRAMES, film=film).bundle


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (120, 180)])
def test_a_film_gives_every_frame_again_near_what_it_was(size: tuple[int, int]) -> None:
    images = [image[None] for image in small_clip(9, *size)]
    film = encode_film(images)
    again = list(decode_film(film, *size))
    assert [image.shape for image in again] == [(1, *size, 3)] * 9
    assert np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(images, again, strict=True)]) < 8
    assert all((a == b).all() for a, b in zip(again, decode_film(film, *size), strict=True))


def test_grey_and_primaries_keep_their_colours() -> None:
    colours = [(16, 16, 16), (235, 235, 235), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
    images = [np.full((1, 32, 32, 3), colour, np.uint8) for colour in colours]
    for image, again in zip(images, decode_film(encode_film(images), 32, 32), strict=True):
        assert np.abs(image.astype(int) - again).max() <= 6


def test_the_recording_holds_each_scene_and_drops_the_memory_between_them(bundle: Bundle) -> None:
    golden = Golden(bundle.read(GOLDEN_FILE), "inclusive")
    assert [index for index, kind in enumerate(golden.kinds) if kind == "first"] == [0, FRAMES]
    assert golden.kinds.count("keyframe") == 4
    assert "0.mp4 from 0 s, 1.mp4 from 0.4 s" in bundle.read(FILM_NOTE).decode()
    assert "drawn by this test" in bundle.read(FILM_NOTE).decode()
    check_parity(verify_bundle(bundle, RecordedReference(bundle)))
    check_parity(verify_bundle(bundle, RecordedReference(bundle, FRAMES + 2), EngineOptions("openvino")))


def with_film(bundle: Bundle, folder: Path, change: Callable[[bytes], bytes]) -> Bundle:
    """The bundle with its film changed, and digests that say so."""
    with np.load(io.BytesIO(bundle.read(GOLDEN_FILE))) as arrays:
        kept = dict(arrays)
    kept["film"] = np.frombuffer(change(kept["film"].tobytes()), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **kept)
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    return write_bundle(folder / "bundle", bundle.manifest, {**files, GOLDEN_FILE: buffer.getvalue()})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda film: b"\0" * 500, "film"),
        (lambda film: film[: len(film) // 3], "film"),
        (lambda film: film[:600] + bytes(200) + film[800:], "film"),
        (lambda film: encode_film(image[None] for image in small_clip(24, 32, 48)), "got 48 x 32"),
        (lambda film: encode_film(image[None] for image in small_clip(24, 512, 768)), r"H\.264"),
        (lambda film: encode_film(image[None] for image in small_clip(24, 64, 96)), "other pixels"),
        (lambda film: encode_film(image[None] for image in small_clip(1, 64, 96, seed=5)), "film"),
    ],
    ids=["zeros", "cut", "overwritten", "smaller", "larger", "another", "one frame"],
)
def test_a_wrong_film_is_one_error(
    bundle: Bundle, tmp_path: Path, change: Callable[[bytes], bytes], words: str
) -> None:
    wrong = with_film(bundle, tmp_path, change)
    with pytest.raises(LstsEdgeError, match=words):
        verify_bundle(wrong, RecordedReference(wrong))


def test_a_film_without_a_frame_is_short(bundle: Bundle, tmp_path: Path) -> None:
    assert list(decode_film(b"", 64, 96)) == []
    with pytest.raises(BundleError, match=r"H\.264"):
        list(decode_film(b"\x00\x00\x01\x65" + bytes(range(100)), 64, 96))


def test_scenes_are_read_from_words(tmp_path: Path) -> None:
    odd = tmp_path / "night@2.5"
    odd.touch()
    plan = FilmPlan.of(["a.mp4", "b@c.mp4", "a.mp4@7.2", str(odd)], " CC0 ")
    assert plan.scenes == ((Path("a.mp4"), 0.0), (Path("b@c.mp4"), 0.0), (Path("a.mp4"), 7.2), (odd, 0.0))
    assert plan.licence == "CC0"
    for words, licence in (([f"a.mp4@-{1}"], "CC0"), (["a.mp4@nan"], "CC0"), (["a.mp4"], " ")):
        with pytest.raises(OptionError, match="--record"):
            FilmPlan.of(words, licence)


def test_a_video_that_is_too_short_is_told_before_anything_is_written(
    videos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"export --checkpoint random --preset lsts-tiny --output {tmp_path / 'b'} --record-licence none"
    with pytest.raises(SystemExit) as left:
        main([*words.split(), "--record-video", f"{videos[0]}@1"])
    assert left.value.code == 2
    assert "got 5 frames from 1 s on, expected 30" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def recorded(*frames: tuple[str, list[float], list[int]]) -> Golden:
    recorder = GoldenRecorder(64, 96, 0)
    for kind, scores, labels in frames:
        boxes = Boxes(
            np.zeros((len(scores), 4), np.float32),
            np.array(scores, np.float32),
            np.array(labels, np.int64),
            "inclusive",
        )
        recorder.add(kind, "0" * 64, {}, boxes, doubt_of(boxes, ()))
    return Golden(recorder.to_bytes(), "inclusive")


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([("first", [0.9] * 60, [0, 1, 2] * 20), ("propagated", [0.9] * 60, [0, 1, 2] * 20)], ""),
        ([("first", [0.9] * 120, [0, 1, 2] * 40)], ""),  # a detector without memory has frames of one kind
        ([("first", [0.9] * 49, [0] * 49), ("propagated", [0.9] * 50, [1, 2] * 25)], "49 in keyframes, 50 in prop"),
        ([("first", [0.9] * 99, [0, 1, 2] * 33), ("propagated", [0.9, 0.2], [0, 1])], ""),
        ([("first", [0.9] * 99, [0, 1, 2] * 33), ("propagated", [0.2, 0.2], [0, 1])], "0 in propagated"),
        ([("first", [], []), ("propagated", [0.9] * 120, [0, 1, 2] * 40)], "0 in keyframes"),
        ([("first", [0.9] * 60, [0, 1] * 30), ("propagated", [0.9] * 60, [0, 1] * 30)], "of 2 classes"),
    ],
)
def test_what_a_weak_recording_is(frames: list[tuple[str, list[float], list[int]]], words: str) -> None:
    told = recorded(*frames).weakness(0.3, 5)
    assert words in told and bool(told) == bool(words)


def test_a_model_of_few_classes_is_asked_for_no_more() -> None:
    assert not recorded(("first", [0.9] * 100, [0, 1] * 50)).weakness(0.3, 2)


def test_too_few_boxes_are_told_by_export_and_by_verify(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of weights from a file, that is: the boxes of random ones mean nothing."""
    network, weights, _ = load_network("random", preset="lsts-tiny")
    weights = dataclasses.replace(weights, source="file", seed=None, file="a.safetensors", sha256="a" * 64)
    published = publish(network, weights, tmp_path / "b", frames=1)
    assert published.weakness.startswith("the recording proves little")
    assert published.weakness in "\n".join(export_lines(published))
    for asked in ([], ["--json"]):
        with pytest.raises(SystemExit) as left:
            main(["verify", str(published.bundle.path), "--recorded", *asked])
        assert left.value.code == 0
        assert published.weakness in capsys.readouterr().out
    assert RecordedReference(bundle).weakness == "", "random weights"
