"""Readers of other people's data sets, given anything: a value or one error, never another exception."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from lsts_edge.datasets.picture_size import picture_size
from lsts_edge.datasets.voc_xml import read_voc
from lsts_edge.errors import AnnotationError
from lsts_edge.runtime.sources.picture import read_picture

GOOD = (
    "<annotation><size><width>60</width><height>40</height></size><object><name>n02084071</name><trackid>0</trackid>"
    "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox></object></annotation>"
)
PIECES = ("<object>", "</object>", "<!DOCTYPE a>", "&amp;", "&x;", "nan", "1e999", "9" * 5000, "\x01", "-1", "<", "")
always = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "file"


@always
@given(
    content=st.binary(max_size=200)
    | st.tuples(st.integers(0, len(GOOD)), st.integers(0, 30), st.sampled_from(PIECES) | st.text(max_size=8)).map(
        lambda cut: (GOOD[: cut[0]] + cut[2] + GOOD[cut[0] + cut[1] :]).encode("utf-8", "surrogatepass")
    )
)
@example(b'<?xml version="1.0" encoding="no-such-codec"?>' + GOOD.encode())
@example(b'<?xml version="1.0" encoding="rot13"?>' + GOOD.encode())
@example(GOOD.encode("utf-16"))
@example(b"<a>" * 50_000 + b"</a>" * 50_000)
@example(GOOD.replace("<trackid>0", "<trackid>" + "9" * 5000).encode())
@example(b" " * ((1 << 20) + 1))
def test_any_annotation(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    try:
        image = read_voc(file)
    except AnnotationError as error:
        assert str(file) not in str(error.got)
        return
    assert image.height_px > 0 and image.width_px > 0
    assert all(np.isfinite(one.corners_px).all() and one.name for one in image.objects)


JPEG = cv2.imencode(".jpg", np.full((40, 60, 3), 90, np.uint8))[1].tobytes()


@always
@given(
    content=st.binary(max_size=60).map(lambda tail: JPEG[:2] + tail)
    | st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=3)).map(
        lambda change: JPEG[: change[0]] + change[1] + JPEG[change[0] + len(change[1]) :]
    )
)
@example(b"")
@example(JPEG[:30])
def test_any_picture(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    try:
        size = picture_size(file)
    except AnnotationError as error:
        assert str(file) not in str(error.got)
        return
    image, _ = read_picture(file)
    assert min(size) > 0 and (image is None or image.shape[:2] == size)


def test_what_is_no_file_is_one_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent", tmp_path / ("a" * 300)):
        for read in (read_voc, picture_size):
            with pytest.raises(AnnotationError):
                read(path)
