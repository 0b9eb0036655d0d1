"""Resizing by the manifest's rule, and boxes back in the frame's pixels."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from lsts_edge.boxes import Boxes, Corners
from lsts_edge.bundle.manifest import InputInfo
from lsts_edge.errors import ShapeError
from lsts_edge.runtime.preprocess import Preprocessor

LETTERBOX = InputInfo(height_px=64, width_px=96, resize="letterbox", pad_value=114)


def picture(height_px: int, width_px: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 100, (height_px, width_px, 3)).astype(np.uint8)


def boxes_of(rows: object, corners: Corners = "edges") -> Boxes:
    sides = np.array(rows, np.float32)
    return Boxes(sides, np.ones(len(sides), np.float32), np.arange(len(sides)), corners)


@pytest.mark.parametrize("size", [(360, 640), (640, 360), (64, 96), (31, 47), (1, 1), (500, 3), (3, 500)])
def test_letterbox_puts_the_frame_at_the_top_left(size: tuple[int, int]) -> None:
    frame = picture(*size)
    image, geometry = Preprocessor(LETTERBOX)(frame)
    assert image.shape == (1, 64, 96, 3)
    height, width = geometry.inner_height_px, geometry.inner_width_px
    assert height == 64 or width == 96
    np.testing.assert_array_equal(
        image[0, :height, :width], cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
    )
    assert (image[0, height:] == 114).all()
    assert (image[0, :, width:] == 114).all()


@pytest.mark.parametrize("size", [(360, 640), (640, 360), (64, 96), (31, 47), (1, 1), (500, 3)])
def test_centred_letterbox_has_as_much_padding_on_both_sides(size: tuple[int, int]) -> None:
    frame = picture(*size)
    image, geometry = Preprocessor(dataclasses.replace(LETTERBOX, resize="letterbox-centred"))(frame)
    plain, _ = Preprocessor(LETTERBOX)(frame)
    height, width = geometry.inner_height_px, geometry.inner_width_px
    inner = image[0, geometry.top_px :, geometry.left_px :][:height, :width]
    np.testing.assert_array_equal(inner, plain[0, :height, :width])
    assert 0 <= 64 - height - 2 * geometry.top_px <= 1
    assert 0 <= 96 - width - 2 * geometry.left_px <= 1
    outside = np.ones(image.shape[1:3], bool)
    outside[geometry.top_px :, geometry.left_px :][:height, :width] = False
    assert (image[0][outside] == 114).all()


def test_boxes_return_from_a_centred_letterbox() -> None:
    geometry = Preprocessor(dataclasses.replace(LETTERBOX, resize="letterbox-centred")).geometry(36, 96)
    network = np.array([[10, 14 + 3, 20, 14 + 30], [10, 2, 20, 13], [10, 51, 20, 60]], np.float32)
    found = geometry.to_frame(Boxes(network, np.ones(3, np.float32), np.arange(3), "edges"))
    np.testing.assert_array_equal(found.xyxy_px, [[10, 3, 20, 30]])
    assert found.labels.tolist() == [0]


def test_the_padding_is_clean_after_a_change_of_size() -> None:
    preprocess = Preprocessor(LETTERBOX)
    preprocess(picture(96, 64))
    image, geometry = preprocess(picture(40, 90, seed=1))
    expected, _ = Preprocessor(LETTERBOX)(picture(40, 90, seed=1))
    np.testing.assert_array_equal(image, expected)
    assert (geometry.height_px, geometry.width_px) == (40, 90)


def test_stretch_fills_the_image() -> None:
    rule = InputInfo(height_px=64, width_px=96, resize="stretch", pad_value=0)
    image, geometry = Preprocessor(rule)(picture(128, 96))
    assert image.shape == (1, 64, 96, 3)
    assert (geometry.scale_x, geometry.scale_y) == (1.0, 0.5)


def test_shorter_side_follows_the_papers_rule() -> None:
    rule = InputInfo(height_px=600, width_px=1000, resize="shorter-side", pad_value=0)
    for size, expected in (((720, 1280), (562, 1000)), ((480, 640), (600, 800)), ((1280, 720), (1000, 562))):
        image, _ = Preprocessor(rule)(picture(*size))
        assert image.shape == (1, *expected, 3)


def test_shorter_side_ends_in_padding_to_a_multiple() -> None:
    rule = InputInfo(height_px=600, width_px=1000, resize="shorter-side", pad_value=9, multiple_px=16)
    assert rule.image_px == (608, 1008)
    image, geometry = Preprocessor(rule)(picture(720, 1280))
    assert image.shape == (1, 576, 1008, 3)
    assert (geometry.inner_height_px, geometry.inner_width_px, geometry.top_px, geometry.left_px) == (562, 1000, 0, 0)
    assert (image[0, 562:] == 9).all() and (image[0, :, 1000:] == 9).all()
    assert not (image[0, :562, :1000] == 9).all()
    assert Preprocessor(rule)(picture(5, 5000))[0].shape == (1, 16, 1008, 3)
    found = geometry.to_frame(boxes_of([[0, 0, 1008, 576]]))
    np.testing.assert_array_equal(found.xyxy_px, [[0, 0, 1280, 720]])


@pytest.mark.parametrize("size", [(360, 640), (97, 33), (2160, 3840)])
def test_boxes_return_to_where_they_came_from(size: tuple[int, int]) -> None:
    geometry = Preprocessor(LETTERBOX).geometry(*size)
    x2, y2 = size[1], size[0]
    frame_boxes = np.array([[0, 0, x2, y2], [x2 / 4, y2 / 3, x2 / 2, y2 / 2]], np.float32)
    for corners in ("edges", "inclusive"):
        network = boxes_of(frame_boxes * geometry.scale_x).with_corners(corners)
        found = geometry.to_frame(network)
        assert (len(found), found.corners) == (2, "edges")
        np.testing.assert_allclose(found.xyxy_px, frame_boxes, atol=1e-3 * max(size))


def test_boxes_are_clipped_to_the_frame_s_edges_and_those_outside_left_out() -> None:
    geometry = Preprocessor(LETTERBOX).geometry(36, 96)
    network = boxes_of(
        [[-5, -5, 200, 200], [10, 40, 20, 60], [10, 30, 20, 60], [-9, 0, -1, 9], [95, 35, 96, 36], [10, 36, 20, 40]]
    )
    found = geometry.to_frame(network)
    assert found.xyxy_px.tolist() == [[0, 0, 96, 36], [10, 30, 20, 36], [95, 35, 96, 36]]
    assert found.labels.tolist() == [0, 2, 4]
    inclusive = boxes_of([[95, 35, 95, 35], [-9, 0, -1, 9]], "inclusive")
    assert geometry.to_frame(inclusive).xyxy_px.tolist() == [[95, 35, 96, 36]], "the last pixel is a box of one pixel"


def test_a_box_with_nan_is_left_out_and_one_without_end_is_clipped() -> None:
    geometry = Preprocessor(LETTERBOX).geometry(64, 96)
    rows = np.tile(np.array([[1.0, 2.0, 30.0, 40.0]]), (5, 1))
    rows[range(4), range(4)] = np.nan
    rows[4, 2] = np.inf
    assert geometry.to_frame(boxes_of(rows)).xyxy_px.tolist() == [[1, 2, 96, 40]]


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
        np.zeros((20000, 1, 3), np.uint8),
        "a picture",
    ],
)
def test_what_is_no_picture_is_refused(frame: object) -> None:
    with pytest.raises(ShapeError, match="video frame"):
        Preprocessor(LETTERBOX)(frame)  # type: ignore[arg-type]
