"""A detector is wrapped end to end: measured on clips, chosen for, proved, written, verified, run; and refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from blob_detector import blob_clip, blob_detector, write_blob_clip

from lsts_edge.bundle import Bundle
from lsts_edge.errors import (
    AnnotationError,
    DetectorRefused,
    DetectorSize,
    FileUnwritable,
    LstsEdgeError,
    OptionError,
    StreamEmpty,
    StreamUnreadable,
)
from lsts_edge.publish.wrap.candidates import candidates
from lsts_edge.publish.wrap.found import LEAST_SCORE, run_piece
from lsts_edge.publish.wrap.make import make_draft
from lsts_edge.publish.wrap.networks import Networks
from lsts_edge.publish.wrap.options import WrapOptions
from lsts_edge.publish.wrap.study import MachineUsed, Study
from lsts_edge.publish.wrap.subject import open_subject, smaller_sizes
from lsts_edge.publish.wrap.wrap import Wrapped, wrap
from lsts_edge.runtime.detector import Detector
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.verify.compare import verify_bundle
from lsts_edge.verify.references import RecordedReference
from videos import write_video

MACHINE = MachineUsed("a machine", "0" * 12, {})
QUICK = WrapOptions(minutes=0.02, intervals=(2, 10), engines=("onnxruntime",), threads=1)
FRAMES = 24


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return blob_detector(tmp_path_factory.mktemp("detector") / "blob.onnx")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for seed in range(4):
        write_blob_clip(folder / f"{seed}.mp4", FRAMES, seed)
    (folder / "notes.mp4").write_text("no video")
    write_video(folder / "still.mp4", blob_clip(1))
    return folder


@pytest.fixture(scope="module")
def wrapped(detector: Path, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Wrapped:
    folder = tmp_path_factory.mktemp("wrapped")
    return wrap(detector, [clips], folder / "blob", machine=MACHINE, cache=folder / "cache", options=QUICK)


def test_the_bundle_is_what_was_chosen(wrapped: Wrapped) -> None:
    bundle, study = Bundle.open(wrapped.bundle.path), wrapped.study
    assert study.bundle_digest == bundle.digest
    row, way = study.chosen, bundle.manifest.propagation.chosen
    assert (bundle.manifest.input.width_px, bundle.manifest.input.height_px) == (row.width_px, row.height_px)
    assert bundle.manifest.wrapped is not None and bundle.manifest.wrapped.file == "blob.onnx"
    assert way.keyframe_interval == row.keyframe_interval and way.kind == row.way
    assert (row.choosing_agreement or 0) >= 0.85
    cheaper = [one for one in study.rows if one.time_ms.mean < row.time_ms.mean]
    assert all((one.choosing_agreement or 0) < 0.85 for one in cheaper)
    assert bundle.manifest.study is not None
    assert bundle.manifest.study.rows == tuple(one.cells() for one in study.rows)
    assert bundle.manifest.parity is not None and bundle.manifest.parity.reference == "original"
    assert bundle.manifest.parity.boxes >= 100 and bundle.manifest.parity.unmatched == 0
    assert not list(bundle.path.parent.glob(".*partial*"))


def test_the_study_tells_what_it_stands_on(wrapped: Wrapped) -> None:
    study = wrapped.study
    assert Study.from_json(study.to_json()) == study
    assert {clip.name: clip.half for clip in study.clips if clip.frames_used}.keys() <= {f"{n}.mp4" for n in range(4)}
    assert {clip.name for clip in study.left_out} == {"notes.mp4", "still.mp4"}
    assert study.truth.source == "family"
    assert study.sample.choosing_frames >= FRAMES and study.sample.stating_frames >= FRAMES
    whole = next(row for row in study.rows if row.way == "every-frame")
    assert whole.agreement.pooled == pytest.approx(1.0) and whole.cost == 1.0
    assert {row.way for row in study.rows} == {"every-frame", "smaller-input", "hold", "flow-boxes", "fused"}
    fixed = [row for row in study.rows if row.keyframe_motion is None]
    assert all(row.frames_per_keyframe == row.keyframe_interval for row in fixed)
    moved = {row.label: row.frames_per_keyframe or 0 for row in study.rows if row.keyframe_motion is not None}
    assert 1 < moved["flow-boxes 6/0.05, 128x96"] < moved["flow-boxes 6/0.3, 128x96"] <= 6
    held = {row.label: row.agreement.pooled or 0 for row in study.rows if row.way == "hold"}
    assert held["hold 2, 128x96"] > held["hold 10, 128x96"]
    assert study.worst == tuple(sorted(study.worst, key=lambda one: -(one.missed + one.wrong)))


def test_it_is_verified_by_its_own_recording(wrapped: Wrapped) -> None:
    report = verify_bundle(Bundle.open(wrapped.bundle.path), RecordedReference(wrapped.bundle))
    assert report.passed and report.programs[0].totals.boxes >= 100


@pytest.mark.parametrize("way", ["every-frame", "hold", "flow-boxes", "fused", "smaller-input"])
def test_it_runs_in_every_way_that_it_names(wrapped: Wrapped, way: str) -> None:
    with Detector(wrapped.bundle, propagator=way) as opened:
        found = [opened.push(frame) for frame in blob_clip(5, seed=9)]
    assert way in wrapped.bundle.manifest.propagation.ways
    assert all(len(one.boxes) for one in found)


def test_what_is_measured_is_what_runs(detector: Path) -> None:
    subject = open_subject(detector)
    sizes = (subject.size, *smaller_sizes(subject))
    graphs = {size: subject.graph(size) for size in sizes}
    engine = EngineOptions(threads=1)
    networks = Networks({size: make_draft(subject, {size: graphs[size]}, size) for size in sizes}, engine)
    ways = candidates(subject.size, sizes[1:])
    frames = blob_clip(8, seed=3, size=(120, 200))
    found = run_piece(networks, ways, frames)
    for index, way in enumerate(ways):
        draft = make_draft(subject, graphs, way.size)
        with Detector(draft, engine, propagator=way.way(), score_threshold=LEAST_SCORE) as opened:
            run = [opened.push(frame) for frame in frames]
        mine = found.of(index)
        assert found.distances[index].tolist() == [one.feature_age for one in run], way
        for at, one in enumerate(run):
            assert mine.boxes.select(mine.frame == at) == one.boxes, (way, at)


class _Stop(Exception):
    """Ends a run from its progress."""


def test_an_interrupted_run_goes_on(detector: Path, clips: Path, wrapped: Wrapped, tmp_path: Path) -> None:
    told: list[str] = []

    def stop_at_second_piece(what: str, done: int = 0, total: int = 0, /) -> None:
        if what.startswith("measuring") and done > 0:
            raise _Stop

    def note(what: str, done: int = 0, total: int = 0, /) -> None:
        if what.startswith(("measuring", "timing")):
            told.append(what.split(",")[0])

    def run(progress: Callable[..., None]) -> Wrapped:
        return wrap(
            detector,
            [clips],
            tmp_path / "out",
            machine=MACHINE,
            cache=tmp_path / "cache",
            options=QUICK,
            progress=progress,
        )

    with pytest.raises(_Stop):
        run(stop_at_second_piece)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))
    again = run(note)
    assert sum(what.startswith("measuring") for what in told) == 1
    first = {row.label: row.agreement for row in wrapped.study.rows}
    assert {row.label: row.agreement for row in again.study.rows} == first
    told.clear()
    with pytest.raises(FileUnwritable, match="--overwrite"):
        run(note)
    assert not told


def test_results_that_are_damaged_are_measured_again(
    detector: Path, clips: Path, wrapped: Wrapped, tmp_path: Path
) -> None:
    cache = wrapped.bundle.path.parent / "cache"
    for path in cache.iterdir():
        path.write_bytes(path.read_bytes()[:-20])
    again = wrap(detector, [clips], tmp_path / "out", machine=MACHINE, cache=cache, options=QUICK)
    assert [row.agreement for row in again.study.rows] == [row.agreement for row in wrapped.study.rows]


def test_a_detector_that_finds_nothing_has_no_agreement(clips: Path, tmp_path: Path) -> None:
    blind = blob_detector(tmp_path / "blind.onnx", blind=True)
    options = dataclasses.replace(QUICK, keep="chosen")
    done = wrap(blind, [clips], tmp_path / "out", machine=MACHINE, cache=tmp_path / "cache", options=options)
    assert done.study.verdict.startswith("Agreement is undefined")
    assert not done.study.met
    assert {row.agreement.pooled for row in done.study.rows} == {None}
    assert done.study.chosen.way == "every-frame"
    assert done.bundle.manifest.propagation.default == "every-frame"
    assert list(done.bundle.manifest.graphs) == ["detector"]
    assert any("weak" in note for note in done.study.notes)


def test_int8_that_finds_other_things_is_left_out_and_told(detector: Path, clips: Path, tmp_path: Path) -> None:
    options = dataclasses.replace(QUICK, precision="auto", budget_ms=1e5, record=False)
    done = wrap(detector, [clips], tmp_path / "out", machine=MACHINE, cache=tmp_path / "cache", options=options)
    told = next(note for note in done.study.notes if note.startswith("int8"))
    kept = any(row.precision == "int8" for row in done.study.rows)
    assert ("left out" in told) != kept
    # A budget that everything keeps: the best agreement is that of every frame.
    assert done.study.chosen.way == "every-frame" and done.study.min_agreement is None


def test_labels_and_stills_are_used(detector: Path, clips: Path, tmp_path: Path) -> None:
    import json

    rows: dict[str, list[dict[str, object]]] = {"images": [], "annotations": [], "videos": [{"id": 1, "name": "walk"}]}
    for index, frame in enumerate(blob_clip(FRAMES, seed=5)):
        cv2.imwrite(str(tmp_path / f"{index}.png"), frame)
        size = {"height": frame.shape[0], "width": frame.shape[1]}
        rows["images"].append({"id": index, "file_name": f"{index}.png", "video_id": 1, "frame_id": index, **size})
        for channel, category in ((2, 1), (0, 2)):
            shown = np.argwhere(frame[..., channel].astype(int) - frame[..., 2 - channel] > 80)
            (top, left), (bottom, right) = shown.min(0), shown.max(0) + 1
            box = [int(left), int(top), int(right - left), int(bottom - top)]
            number = len(rows["annotations"])
            rows["annotations"].append({"id": number, "image_id": index, "category_id": category, "bbox": box})
    names = [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}]
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({**rows, "categories": names}))
    options = dataclasses.replace(QUICK, annotations=labels, stills=labels)
    done = wrap(detector, [clips], tmp_path / "out", machine=MACHINE, cache=tmp_path / "cache", options=options)
    study = done.study
    assert study.truth.source == "stills" and "24 stills of labels.json" in study.truth.words
    assert study.sample.split_by == "labels"
    assert {clip.name: clip.half for clip in study.clips}["walk"] == "state"
    every = next(row for row in study.rows if row.way == "every-frame")
    held = next(row for row in study.rows if row.label.startswith("hold 10"))
    assert every.ap50 is not None and held.ap50 is not None
    assert (every.ap50.value or 0) > (held.ap50.value or 0) > 0


REFUSED: dict[str, tuple[type[LstsEdgeError], str]] = {
    "no-clips": (OptionError, "--clips"),
    "missing-clips": (StreamUnreadable, "nothing there"),
    "empty-folder": (StreamUnreadable, "an empty folder"),
    "unreadable": (StreamUnreadable, "none of 1 that can be used"),
    "one-frame": (StreamUnreadable, "one frame"),
    "two-frames": (StreamEmpty, "frames to measure on"),
    "no-detector": (DetectorRefused, "No such file"),
    "no-parent": (FileUnwritable, "no parent directory"),
    "not-a-bundle": (FileUnwritable, "no bundle"),
    "size": (DetectorSize, "multiples of 32"),
    "truth-score": (OptionError, "--truth-score"),
    "stills": (AnnotationError, "notes.mp4"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_and_nothing_is_written(case: str, detector: Path, clips: Path, tmp_path: Path) -> None:
    output, options, given = tmp_path / "out", QUICK, [clips]
    if case == "no-clips":
        given = []
    elif case == "missing-clips":
        given = [tmp_path / "nowhere"]
    elif case == "empty-folder":
        (tmp_path / "empty").mkdir()
        given = [tmp_path / "empty"]
    elif case == "unreadable":
        given = [clips / "notes.mp4"]
    elif case == "one-frame":
        given = [clips / "still.mp4"]
    elif case == "two-frames":
        given = [write_video(tmp_path / "two.mp4", blob_clip(2))]
    elif case == "no-detector":
        detector = tmp_path / "nothing.onnx"
    elif case == "no-parent":
        output = tmp_path / "deep" / "out"
    elif case == "not-a-bundle":
        output.mkdir()
        (output / "letter.txt").write_text("dear")
    elif case == "size":
        options = dataclasses.replace(QUICK, size=(100, 100))
    elif case == "truth-score":
        options = dataclasses.replace(QUICK, truth_score=1.5)
    elif case == "stills":
        options = dataclasses.replace(QUICK, stills=clips / "notes.mp4")
    told: list[str] = []
    before = sorted(tmp_path.rglob("*"))
    kind, words = REFUSED[case]
    with pytest.raises(kind, match=words):
        wrap(
            detector,
            given,
            output,
            machine=MACHINE,
            cache=tmp_path / "cache",
            options=options,
            progress=lambda text, *_: told.append(text),
        )
    assert sorted(tmp_path.rglob("*")) == before
    assert not any("comparing" in text for text in told), "told before the long part begins"
