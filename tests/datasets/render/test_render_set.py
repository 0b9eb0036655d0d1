"""A tiny rendered set: exact boxes, the same bytes from the same seed, and options that change what they name alone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lsts_edge.datasets.render.options import RenderOptions
from lsts_edge.datasets.render.outline import whole_area_px
from lsts_edge.datasets.render.render_set import ANNOTATIONS, LICENCE, render_set
from lsts_edge.datasets.render.scene import RenderedScene, draw_scene
from lsts_edge.datasets.render.shapes import box
from lsts_edge.datasets.render.video import RenderedFrame, render_video
from lsts_edge.errors import FileUnwritable, OptionError
from lsts_edge.evaluation.annotations import read_annotations
from lsts_edge.presets import FIVE_GROUPS

pytest.importorskip("pybullet", reason="pybullet, of the extra [render], is not installed")

TINY = {"videos": 2, "frames": 4, "width_px": 96, "height_px": 64, "seed": 3}


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(content: dict[str, Any]) -> list[dict[str, Any]]:
    return [*content["annotations"], *content["ignore"]]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("rendered") / "set"
    return render_set(RenderOptions(**TINY, blur=0.0), folder), folder


def test_boxes_are_those_of_the_masks(rendered: tuple[dict[str, Any], Path]):
    content, _ = rendered
    expected = []
    for video in range(2):
        scene = draw_scene(RenderOptions(**TINY, blur=0.0), video)
        for frame, drawn in enumerate(render_video(scene, 4, [3, video])):
            for actor in range(len(scene.actors)):
                places = [(x, y) for y in range(64) for x in range(96) if drawn.shown[y, x] == actor]
                if places:
                    (left, top), (right, bottom) = (tuple(f(p[k] for p in places) for k in (0, 1)) for f in (min, max))
                    key = (4 * video + frame + 1, actor + 1)
                    expected.append((key, [left, top, right - left + 1, bottom - top + 1], len(places)))
    found = {(row["image_id"], row["instance_id"]): row for row in rows(content)}
    assert len(expected) == len(rows(content)) == len(found) > 8
    for key, corners, count in expected:
        assert found[key]["bbox"] == corners
        assert 0 < found[key]["visible"] <= 1 and count > 0


def test_the_same_seed_gives_the_same_bytes(rendered: tuple[dict[str, Any], Path], tmp_path: Path):
    _, folder = rendered
    again = tmp_path / "again"
    render_set(RenderOptions(**TINY, blur=0.0), again)
    assert files(again) == files(folder) and len(files(again)) == 9
    other = tmp_path / "other"
    render_set(RenderOptions(**TINY | {"seed": 4, "videos": 1}, blur=0.0), other)
    assert files(other)["rendered-4-0000/00000.jpg"] != files(folder)["rendered-3-0000/00000.jpg"]
    longer = tmp_path / "longer"  # a video depends on the seed and its own number, not on how many there are
    render_set(RenderOptions(**TINY | {"videos": 1, "frames": 5}, blur=0.0), longer)
    assert files(longer)["rendered-3-0000/00003.jpg"] == files(folder)["rendered-3-0000/00003.jpg"]


def test_blur_changes_pictures_and_no_box(rendered: tuple[dict[str, Any], Path], tmp_path: Path):
    sharp, _ = rendered
    options = TINY | {"speed": 0.2, "videos": 1}
    shutter = {value: render_set(RenderOptions(**options, blur=value), tmp_path / str(value)) for value in (0.0, 1.0)}
    assert rows(shutter[0.0]) == rows(shutter[1.0]) != rows(sharp)
    pictures = [files(tmp_path / str(value)) for value in (0.0, 1.0)]
    names = [name for name in pictures[0] if name.endswith(".jpg")]
    assert all(pictures[0][name] != pictures[1][name] for name in names)


def test_what_is_seen_is_a_share_of_the_whole():
    large = TINY | {"width_px": 384, "height_px": 224}
    scene = draw_scene(RenderOptions(**large, camera=0.0, occlusion=0, speed=0.0), 1)
    assert len(scene.actors) > 1
    alone = [_frame(_only(scene, place)) for place in range(len(scene.actors))]
    together = _frame(scene)
    shares = []
    for place, frame in enumerate(alone):
        pixels, whole = int((frame.shown == 0).sum()), frame.whole_px[0]
        columns, rows_ = np.nonzero(frame.shown.T == 0)
        inside = columns.min() > 0 and rows_.min() > 0 and columns.max() < 383 and rows_.max() < 223
        assert not inside or pixels == pytest.approx(whole, rel=0.06)  # nothing is before it: the whole is seen
        assert together.whole_px[place] == pytest.approx(whole)
        shares.append((together.shown == place).sum() / max(pixels, 1))
    assert all(share <= 1 for share in shares)


def test_an_outline_is_exact_beyond_the_border_too():
    scene = draw_scene(RenderOptions(**TINY), 0)
    camera = scene.camera(0.0)
    cube = box((1.0, 1e-6, 1.0)).corners
    middle = camera.position_m + 8 * camera.axes[2]
    facing = cube @ np.stack((camera.axes[0], camera.axes[2], camera.axes[1]))
    expected = (camera.focal_px / 8) ** 2
    assert whole_area_px([facing + middle], camera) == pytest.approx(expected, rel=0.03)
    far = middle + 30 * camera.axes[0]  # out of the picture
    assert whole_area_px([facing + far], camera) == pytest.approx(expected, rel=0.03)
    assert whole_area_px([facing + middle, facing + middle], camera) == pytest.approx(expected, rel=0.03)
    assert whole_area_px([facing + camera.position_m - camera.axes[2]], camera) == np.inf


def test_occlusion_hides_and_is_stated(tmp_path: Path):
    options = TINY | {"frames": 1, "videos": 3}
    free = render_set(RenderOptions(**options, occlusion=0, blur=0.0), tmp_path / "free")
    hidden = render_set(RenderOptions(**options, occlusion=12, blur=0.0), tmp_path / "hidden")
    share = {name: sum(row["visible"] for row in rows(one)) for name, one in (("free", free), ("hidden", hidden))}
    assert share["hidden"] < 0.9 * share["free"]
    for row in rows(hidden):
        assert row["occluded"] == (row["visible"] < 0.75)
    for row in hidden["annotations"]:
        assert row["visible"] >= 0.25 and min(row["bbox"][2:]) >= 6
    for row in hidden["ignore"]:
        assert row["visible"] < 0.25 or min(row["bbox"][2:]) < 6
    assert [video["occlusion"] for video in hidden["videos"]] == [12] * 3
    assert [v["speed"] for v in hidden["videos"]] == [v["speed"] for v in free["videos"]]


def test_the_trainer_reads_it(rendered: tuple[dict[str, Any], Path]):
    from lsts_edge.train.store import ImageStore

    content, folder = rendered
    truth = read_annotations(folder / ANNOTATIONS, FIVE_GROUPS)
    store = ImageStore.load([truth], color_order="bgr", max_side_px=96)
    assert len(store) == 8 and list(store.names.values()) == ["rendered-3-0000", "rendered-3-0001"]
    assert content["info"]["licence"] == LICENCE and all(video["licence"] == LICENCE for video in content["videos"])
    for video in content["videos"]:
        assert {"speed", "blur", "occlusion", "camera"} <= set(video)
    shown = {figure["class"] for video in content["videos"] for figure in video["figures"]}
    assert shown <= set(FIVE_GROUPS)
    picture = cv2.imread(str(truth.images[0].path))
    assert picture.shape == (64, 96, 3) and picture.std() > 5


def test_nothing_is_half_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def stop(what: str, done: int = 0, total: int = 0, /) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_set(RenderOptions(**TINY), tmp_path / "set", stop)
    assert not list(tmp_path.iterdir())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("kept")
    (tmp_path / "file").write_text("kept")
    for wrong in (tmp_path / "full", tmp_path / "file", Path(""), tmp_path / "file" / "below", tmp_path / ("a" * 255)):
        with pytest.raises(FileUnwritable):
            render_set(RenderOptions(**TINY), wrong)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full"]
    assert (tmp_path / "full" / "mine.txt").read_text() == "kept"
    for wrong in ({"videos": 0}, {"frames": 0}, {"speed": 1.5}, {"blur": -0.1}, {"width_px": 16}, {"occlusion": 13}):
        with pytest.raises(OptionError):
            RenderOptions(**wrong)


def test_command(lsts_edge_command: Callable, tmp_path: Path):
    output = tmp_path / "made" / "set"
    words = ["data", "render", "--videos", "1", "--frames", "2", "--size", "64x48", "--seed", "5"]
    done = lsts_edge_command(*words, "--output", output, "--blur", "0.5", "--camera", "1")
    assert done.returncode == 0, done.stderr
    content = json.loads((output / ANNOTATIONS).read_text())
    boxes, ignored = len(content["annotations"]), len(content["ignore"])
    last = f"written: {output / ANNOTATIONS}: 1 sequences, 2 frames, {boxes} boxes, {ignored} ignored\n"
    assert done.stdout == last
    assert (content["videos"][0]["blur"], content["videos"][0]["camera"]) == (0.5, 1.0)
    done = lsts_edge_command(*words, "--output", output)
    assert done.returncode == 1 and "error[file-unwritable]" in done.stderr


def _only(scene: RenderedScene, place: int) -> RenderedScene:
    return dataclasses.replace(scene, actors=(scene.actors[place],))


def _frame(scene: RenderedScene) -> RenderedFrame:
    return next(iter(render_video(scene, 1, [0, 0])))
