"""Class names from a file, from metadata that is read and never run, or COCO's."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import onnx
import pytest
from detector_graphs import suppressed, yolov5, yolox

from lsts_edge.coco import COCO_CLASSES
from lsts_edge.errors import DetectorSpecError
from lsts_edge.export.detectors import class_names, read_detector, recognise


def with_names(text: str | None) -> onnx.ModelProto:
    model = yolox()
    if text is not None:
        onnx.helper.set_model_props(model, {"names": text})
    return read_detector(model.SerializeToString())


def test_a_file_wins(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("ant\r\nbee\n  crane fly  \n\n\n", encoding="utf-8")
    model = read_detector(yolov5().SerializeToString())
    names, source = class_names(model, recognise(model), path)
    assert names == ("ant", "bee", "crane fly")
    assert "names.txt" in source


PYTHON = "{0: 'ant', 1: 'bee (red)', 2: \"it's\"}"
LIST = "['ant', 'bee (red)', \"it's\"]"
JSON = '{"0": "ant", "2": "it\'s", "1": "bee (red)"}'


@pytest.mark.parametrize("text", [PYTHON, LIST, JSON])
def test_metadata(text: str) -> None:
    model = with_names(text)
    names, source = class_names(model, recognise(model))
    assert names == ("ant", "bee (red)", "it's")
    assert "metadata" in source


def test_coco_where_80_classes_have_no_names_and_where_the_number_is_not_known() -> None:
    model = read_detector(suppressed().SerializeToString())
    spec = recognise(model)
    for known in (spec, dataclasses.replace(spec, class_count=80)):
        names, source = class_names(model, known)
        assert names is COCO_CLASSES and len(names) == 80 and "assumed" in source
    with pytest.raises(DetectorSpecError, match="none for 3 classes"):
        class_names(with_names(None), recognise(with_names(None)))


@pytest.mark.parametrize(
    "text",
    [
        "{0: 'a', 1: 'b'}",
        "{0: 'a', 1: 'b', 3: 'c'}",
        "{0: 'a', 1: 'b', 2: 'b'}",
        "{0: 'a', 1: 'b', 2: 3}",
        "{0: 'a', 1: 'b', 2: ''}",
        "{0: 'a', 1: 'b', 2: 'c\\n'}",
        "{'x': 'a', 'y': 'b', 'z': 'c'}",
        "__import__('os').system('touch run')",
        "'abc'",
        "7",
        "",
        "[" * 100_000,
        "-" * 100_000 + "1",
        "(" * 5000 + "1" + ")" * 5000,
        "['" + "a" * 300_000 + "']",
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_metadata_that_holds_no_names(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = with_names(text)
    with pytest.raises(DetectorSpecError):
        class_names(model, recognise(model))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("raw", [b"", b"one\ntwo\n", b"a\n\nb\n", b"a\na\nb\n", b"\xff\xfe\n", b"x\n" * 200_000])
def test_files_that_hold_no_names(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(raw)
    model = with_names(None)
    with pytest.raises(DetectorSpecError):
        class_names(model, recognise(model), path)
    with pytest.raises(DetectorSpecError, match="No such file"):
        class_names(model, recognise(model), tmp_path / "none.txt")
