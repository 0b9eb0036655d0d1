"""Random views: the boxes lie where the pixels are, and the same seed gives the same batch."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_data import COLORS_BGR, write_toy_data

from lsts_edge.errors import AnnotationError, OptionError
from lsts_edge.evaluation.annotations import read_annotations
from lsts_edge.presets import FIVE_GROUPS
from lsts_edge.train import augment
from lsts_edge.train.augment import Augmentation, Batch, draw_batch, sample_triplets
from lsts_edge.train.store import ImageStore

SIZE = (64, 96)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    path = write_toy_data(tmp_path_factory.mktemp("toy"))
    return ImageStore.load([read_annotations(path, FIVE_GROUPS)], color_order="bgr", max_side_px=96)


def draw(store: ImageStore, augmentation: Augmentation, *, count: int = 24, frames: int = 3, seed: int = 5) -> Batch:
    return draw_batch(
        store,
        torch.full((len(store),), 1 / len(store)),
        count,
        SIZE,
        augmentation,
        torch.Generator().manual_seed(seed),
        frames=frames,
        segment=4,
        pad_value=114.0,
    )


def worst_box_error(batch: Batch) -> float:
    """Largest distance in pixels between a box and the coloured pixels it is of, over all boxes that are seen whole."""
    worst, seen = 0.0, 0
    colors = {FIVE_GROUPS.index(name): np.array(color) for name, color in COLORS_BGR.items()}
    for image, boxes, labels, ignore in zip(
        batch.images.flatten(0, 1), batch.boxes.flatten(0, 1), batch.labels.flatten(0, 1), batch.ignore.flatten(0, 1),
        strict=True,
    ):  # fmt: skip
        picture = image.permute(1, 2, 0).numpy()
        for box, label, hidden in zip(boxes.tolist(), labels.tolist(), ignore.tolist(), strict=True):
            same = [other for other in labels.tolist() if other == label]
            if label not in colors or hidden or len(same) > 1:
                continue
            near = np.abs(picture - colors[label]).max(axis=2) < 90
            y, x = near.nonzero()
            assert len(x), "a box with nothing in it"
            seen += 1
            worst = max(worst, *(abs(a - b) for a, b in zip(box, (x.min(), y.min(), x.max(), y.max()), strict=True)))
    assert seen > 10, "the check must have had something to look at"
    return worst


PLAIN_COLORS = Augmentation(color=0.0, blur_fraction=0.0, mosaic_fraction=0.0, min_visible=0.0)


def test_boxes_follow_the_pixels(store: ImageStore):
    assert worst_box_error(draw(store, PLAIN_COLORS)) < 2.0


def test_boxes_follow_the_pixels_in_mosaics(store: ImageStore):
    mosaics = Augmentation(color=0.0, blur_fraction=0.0, mosaic_fraction=1.0, min_visible=0.0)
    assert worst_box_error(draw(store, mosaics, count=40)) < 2.0


@pytest.mark.parametrize("fault", ["no flip of boxes", "shift of boxes"])
def test_planted_fault_is_caught(store: ImageStore, monkeypatch: pytest.MonkeyPatch, fault: str):
    real = augment._boxes

    def wrong(store, index, images, scales, shift, mirrored, size, augmentation):
        if fault == "no flip of boxes":
            return real(store, index, images, scales, shift, torch.zeros_like(mirrored), size, augmentation)
        return real(store, index, images, scales, shift + 4, mirrored, size, augmentation)

    monkeypatch.setattr(augment, "_boxes", wrong)
    assert worst_box_error(draw(store, PLAIN_COLORS)) > 3.0


def test_no_augmentation_gives_the_stored_frame(store: ImageStore):
    batch = draw(store, Augmentation.none(), frames=1, count=4)
    for image in batch.images[:, 0]:
        assert (store.pixels.take(torch.arange(len(store))).float() - image).abs().flatten(1).max(1).values.min() < 0.01


def test_same_seed_same_batch_and_another_seed_another(store: ImageStore):
    a, b, c = (draw(store, Augmentation(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(a.images, b.images) and torch.equal(a.boxes, b.boxes)
    assert not torch.equal(a.images, c.images)


def test_triplets_stay_in_their_sequence_and_in_order(store: ImageStore):
    weights = torch.full((len(store),), 1 / len(store))
    triplets = sample_triplets(store, weights, 200, 4, torch.Generator().manual_seed(0))
    old, new, current = triplets.unbind(1)
    assert (old <= new).all() and (new <= current).all()
    assert (store.first[old] == store.first[current]).all()
    assert (current - new).max() == 4
    inner = old > store.first[current]
    assert ((current - old)[inner] >= 4).all() and ((current - old)[inner] <= 6).all()


def test_classes_are_drawn_evenly_and_by_weight(store: ImageStore):
    weights = store.sampling_weights({FIVE_GROUPS.index("bird"): 3.0}, 0.35)
    bird = ((store.labels == FIVE_GROUPS.index("bird")) & ~store.ignore).any(1)
    assert weights.sum() == pytest.approx(1.0)
    assert float(weights[bird].sum()) == pytest.approx(0.75, abs=1e-5)


def test_box_cut_by_the_border_is_ignored(store: ImageStore):
    closeup = Augmentation(
        object_px=(200.0, 200.0), zoom=(3.0, 3.2), plain_fraction=0.0, color=0.0, blur_fraction=0.0,
        mosaic_fraction=0.0, min_visible=0.9,
    )  # fmt: skip
    batch = draw(store, closeup, frames=1)
    assert bool((batch.ignore & (batch.labels >= 0)).any())


def test_images_read_when_drawn_are_those_in_memory(tmp_path: Path):
    annotations = read_annotations(write_toy_data(tmp_path), FIVE_GROUPS)
    kept, read = (
        ImageStore.load([annotations], color_order="rgb", max_side_px=70, images=images)
        for images in ("memory", "disk")
    )
    a, b = draw(kept, Augmentation()), draw(read, Augmentation())
    assert torch.equal(a.images, b.images) and torch.equal(a.boxes, b.boxes)
    (tmp_path / "bird_03.png").unlink()
    with pytest.raises(AnnotationError, match="bird_03"):
        draw(read, Augmentation())


def test_nearest_stored_frame_of_the_same_video(store: ImageStore):
    """Eight images of each video, numbered as they may be with gaps."""
    frames = torch.tensor([0, 5, 10, 40, 45, 50, 52, 53] * 2)
    sparse = dataclasses.replace(store, frame=frames)
    index = torch.arange(16)
    for back in (-100, -9, -3, 0, 1, 2, 3, 7, 20, 29, 500):
        found = sparse.near(index, torch.full((16,), back)).tolist()
        for at, near in enumerate(found):
            video = range(at - at % 8, at - at % 8 + 8)
            away = [abs(int(frames[one]) - (int(frames[at]) - back)) for one in video]
            nearest = video[away.index(min(away))]
            if nearest == at and back:  # the next one on that side, if there is one
                nearest = min(max(at + (1 if back < 0 else -1), video[0]), video[-1])
            assert near == nearest, (at, back)


def test_frames_without_numbers_count_one_by_one(tmp_path: Path):
    path = write_toy_data(tmp_path)
    content = json.loads(path.read_text())
    for image in content["images"]:
        del image["frame_id"]
    path.write_text(json.dumps(content))
    store = ImageStore.load([read_annotations(path, FIVE_GROUPS)], color_order="bgr", max_side_px=96)
    assert store.frame.tolist() == [*range(8)] * 2


def test_absurd_ranges_are_refused():
    with pytest.raises(OptionError):
        Augmentation(flip=1.5)
    with pytest.raises(OptionError):
        Augmentation(zoom=(2.0, 1.0))


def test_missing_image_is_one_clear_error(tmp_path: Path):
    path = write_toy_data(tmp_path)
    (tmp_path / "bird_03.png").unlink()
    with pytest.raises(AnnotationError, match="bird_03"):
        ImageStore.load([read_annotations(path, FIVE_GROUPS)], color_order="bgr", max_side_px=96)
