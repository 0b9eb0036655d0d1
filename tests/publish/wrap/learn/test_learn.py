"""LSTS learnt around a frozen detector: cut, trained, written as graphs, held to torch, run, and interrupted."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from blob_detector import blob_clip, blob_detector, write_blob_clip
from deep_blob import DEEP_SIZE, deep_blob

from lsts_edge.boxes import Boxes
from lsts_edge.errors import CheckFailed, DetectorSpecError, OptionError
from lsts_edge.export.detectors.resize import resized
from lsts_edge.publish.wrap.cache import Cache
from lsts_edge.publish.wrap.clips import find_clips, read_clips
from lsts_edge.publish.wrap.learn.options import LearnOptions
from lsts_edge.publish.wrap.options import WrapOptions
from lsts_edge.publish.wrap.subject import Subject, open_subject
from lsts_edge.runtime import Detector
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions

torch = pytest.importorskip("torch")

from lsts_edge.publish.wrap.learn.distil import distil  # noqa: E402  # they need torch
from lsts_edge.publish.wrap.learn.frames import FrameMaker, FrameShape, Shot  # noqa: E402
from lsts_edge.publish.wrap.learn.frozen import Frozen, frozen_graphs  # noqa: E402
from lsts_edge.publish.wrap.learn.losses import distillation_loss  # noqa: E402
from lsts_edge.publish.wrap.learn.network import LearntPropagation  # noqa: E402
from lsts_edge.publish.wrap.learn.way import LearntWay, learnt_way  # noqa: E402

ENGINE = EngineOptions("onnxruntime", threads=1)
SHORT = LearnOptions(steps=8, frames=40, embedding=4, width=8, batch=2, unroll=2, long_unroll=3, learning_rate=0.01)


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return open_subject(deep_blob(tmp_path_factory.mktemp("deep") / "deep.onnx"))


@pytest.fixture(scope="module")
def frozen(subject: Subject) -> Frozen:
    return frozen_graphs(subject, DEEP_SIZE)


@pytest.fixture(scope="module")
def way(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> LearntWay:
    folder = tmp_path_factory.mktemp("clips")
    for seed in range(2):
        write_blob_clip(folder / f"{seed}.mp4", 20, seed, DEEP_SIZE)
    clips, _ = read_clips(find_clips([folder]))
    return learnt_way(subject, clips, Cache(folder / "cache"), open_backend(ENGINE), SHORT)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def pictures(count: int) -> list[np.ndarray]:
    return [frame[None] for frame in blob_clip(count, 3, DEEP_SIZE)]


def shot(frozen: Frozen, folder: Path, frames: int = 12) -> Shot:
    shape = FrameShape(frozen)
    path = folder / "shot"
    with path.open("wb") as file:
        np.save(file, FrameMaker(frozen, open_backend(ENGINE)).rows(iter(pictures(frames)), shape))
    return Shot(path, frames)


def test_the_cut_network_gives_what_the_file_gives(subject: Subject, frozen: Frozen) -> None:
    assert [tap.stride for tap in frozen.taps] == [4, 8, 16, 32]
    backend = open_backend(ENGINE)
    sessions = {name: backend.load(model.SerializeToString(), name) for name, model in frozen.graphs.items()}
    whole = backend.load(subject.graph(DEEP_SIZE), "whole")
    raw = backend.load(resized(subject.model, subject.spec, *DEEP_SIZE).SerializeToString(), "raw")
    layout = frozen.layout
    for image in pictures(3):
        table = sessions["heavy"].run({"image": image})["table"]
        planes = np.ascontiguousarray(image.transpose(0, 3, 1, 2).astype(np.float32))
        np.testing.assert_allclose(table, layout.table(raw.run({"images": planes})), atol=1e-4)
        found, wanted = sessions["head"].run({"table": table}), whole.run({"image": image})
        assert len(wanted["scores"])
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, atol=1e-4)
        maps = sessions["remember"].run({"table": table})
        for level, expected in enumerate(layout.maps(table)):
            np.testing.assert_allclose(maps[f"map_{level}"][0], expected, atol=1e-4)
        seen = table[:, 4] * table[:, 5:].max(axis=1) > 0.1
        np.testing.assert_allclose(layout.table_of_maps(layout.maps(table))[seen], table[seen], atol=1e-3)


def test_frames_survive_the_disk(frozen: Frozen, tmp_path: Path) -> None:
    kept = shot(frozen, tmp_path, 4)
    shape = FrameShape(frozen)
    seen = FrameMaker(frozen, open_backend(ENGINE)).see(pictures(4)[2])
    again = shape.open(kept.rows()[2:3])
    pairs = zip((seen.maps, seen.light, seen.features), (again.maps, again.light, again.features), strict=True)
    for one, other in (pair for parts in pairs for pair in zip(*parts, strict=True)):
        np.testing.assert_allclose(one, other, atol=0.05, rtol=2e-3)


def test_the_loss_is_zero_for_the_detector_itself_only(frozen: Frozen) -> None:
    maker = FrameMaker(frozen, open_backend(ENGINE))
    first, second = ([torch.from_numpy(one) for one in maker.see(image).maps] for image in pictures(12)[::11])
    assert float(distillation_loss(frozen.layout, [first], [first])[0]) == pytest.approx(0, abs=1e-5)
    first[0][:, :2] += 0.3
    loss, parts = distillation_loss(frozen.layout, [first], [second])
    assert float(loss) > 1 and min(parts.values()) > 0.1


def test_it_learns_and_goes_on_where_it_was(frozen: Frozen, tmp_path: Path) -> None:
    """Every step draws by its number: the same weights, with an interruption and without."""
    shots = [shot(frozen, tmp_path)]
    options = dataclasses.replace(SHORT, steps=24)
    told: list[str] = []
    whole = distil(frozen, shots, options, tmp_path / "whole", progress=lambda what, *_: told.append(what))
    distil(frozen, shots, options, tmp_path / "part", stop_at=9)
    part = distil(frozen, shots, options, tmp_path / "part")
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(part.state_dict()[name], value)
    learnt, held = (float(word.rstrip(",")) for word in told[-1].split() if word[0].isdigit() and "." in word)
    assert learnt < held, told[-1]
    start = LearntPropagation(frozen.layout, frozen.taps, options)
    assert any(not torch.equal(one, other) for one, other in zip(start.offsets, whole.offsets, strict=True))


def test_graphs_do_what_torch_does(way: LearntWay) -> None:
    (report,) = way.check(way.draft, pictures(9), [ENGINE], open_backend(ENGINE))
    assert report.passed and {program.form for program in report.programs} == {"taps", "custom"}
    assert report.programs[0].totals.boxes > 5


def test_what_was_learnt_at_a_smaller_size_runs_at_the_detector_s(tmp_path: Path) -> None:
    size = (128, 192)
    wide = open_subject(deep_blob(tmp_path / "deep.onnx"), size=size)
    for seed in range(2):
        write_blob_clip(tmp_path / f"{seed}.mp4", 20, seed, size)
    clips, _ = read_clips(find_clips([tmp_path]))
    options = dataclasses.replace(SHORT, size=DEEP_SIZE, form="custom")
    way = learnt_way(wide, clips, Cache(tmp_path / "cache"), open_backend(ENGINE), options)
    assert way.learnt.frozen.layout.grids() == [(16, 24), (8, 12), (4, 6)]
    assert way.draft.manifest.lsts is not None and way.draft.manifest.lsts.default_form == "custom"
    frames = [frame[None] for frame in blob_clip(6, 3, size)]
    (report,) = way.check(way.draft, frames, [ENGINE], open_backend(ENGINE))
    assert report.passed


def test_other_weights_are_noticed(way: LearntWay) -> None:
    layer = way.learnt.network.aggregation[0].out
    with torch.no_grad():
        layer.bias.add_(0.5)
    try:
        with pytest.raises(CheckFailed, match="in frame 1"):
            way.check(way.draft, pictures(6), [ENGINE], open_backend(ENGINE))
    finally:
        with torch.no_grad():
            layer.bias.sub_(0.5)


def test_the_bundle_runs_and_its_detector_alone_is_the_file(way: LearntWay, subject: Subject) -> None:
    frames = blob_clip(8, 5, DEEP_SIZE)
    with Detector(way.draft, ENGINE, keyframe_interval=4) as detector:
        found = [detector.push(frame) for frame in frames]
    assert [one.kind for one in found] == ["first", *["propagated"] * 3, "keyframe", *["propagated"] * 3]
    assert all(len(one) for one in found)
    whole = open_backend(ENGINE).load(subject.graph(DEEP_SIZE), "whole")
    with Detector(way.draft, ENGINE, propagator="every-frame", score_threshold=0.05) as detector:
        for frame in frames[:2]:
            wanted = whole.run({"image": frame[None]})
            boxes = Boxes(wanted["boxes"], wanted["scores"], wanted["labels"])
            np.testing.assert_allclose(detector.push(frame).scores, boxes.scores, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "told"), [((96, 128), "multiples of 64"), ((64, 64), None), ((128, 192), None)], ids=str
)
def test_the_half_must_be_a_size(tmp_path: Path, size: tuple[int, int], told: str | None) -> None:
    other = open_subject(deep_blob(tmp_path / "deep.onnx"), size=size)
    if told is None:
        assert frozen_graphs(other, size).layout.grids() == [(size[0] // s, size[1] // s) for s in (8, 16, 32)]
        return
    with pytest.raises(DetectorSpecError, match=told):
        frozen_graphs(other, size)


def test_a_detector_without_stages_is_refused(tmp_path: Path) -> None:
    other = open_subject(blob_detector(tmp_path / "blob.onnx"), size=DEEP_SIZE)
    with pytest.raises(DetectorSpecError, match="features"):
        frozen_graphs(other, DEEP_SIZE)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"learning_rate": float("nan")}, {"locations": 0}])
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=r"option of learning|LearnOptions"):
        LearnOptions(**wrong)  # type: ignore[arg-type]


def test_int8_is_measured_in_a_run_of_its_own() -> None:
    with pytest.raises(OptionError, match="--learn and --precision auto"):
        WrapOptions(learn=SHORT, precision="auto")
