"""Graphs are held to the file itself: the right ones pass at every size, a wrong one is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from blob_detector import blob_clip, blob_detector
from detector_graphs import GRAPHS
from onnx import numpy_helper

from lsts_edge.errors import CheckFailed
from lsts_edge.export.detectors.count import count_graph
from lsts_edge.publish.wrap.make import make_draft
from lsts_edge.publish.wrap.parity import check_original
from lsts_edge.publish.wrap.subject import Subject, open_subject, smaller_sizes
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.preprocess import Preprocessor

ENGINES = [EngineOptions("onnxruntime", threads=1), EngineOptions("openvino", threads=1)]


def _check(subject: Subject, size: tuple[int, int], graph: bytes) -> int:
    draft = make_draft(subject, {size: graph}, size)
    prepare = Preprocessor(draft.manifest.input)
    images = [prepare(frame)[0].copy() for frame in blob_clip(3, seed=4)]
    reports = check_original(subject, draft, images, ENGINES, open_backend(ENGINES[0]))
    assert len(reports) == 2
    return reports[0].programs[0].totals.boxes


def test_every_size_gives_what_the_file_gives(tmp_path: Path) -> None:
    subject = open_subject(blob_detector(tmp_path / "blob.onnx"))
    for size in (subject.size, *smaller_sizes(subject)):
        assert _check(subject, size, subject.graph(size)) > 20


@pytest.mark.parametrize("name", ["picodet", "detr_final", "suppressed"])
def test_other_families_are_held_to_their_files(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.onnx"
    onnx.save(GRAPHS[name][0](), path)
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\n")
    subject = open_subject(path, classes=names)
    assert _check(subject, subject.size, subject.graph(subject.size)) > 0


def test_a_graph_of_other_weights_is_refused(tmp_path: Path) -> None:
    subject = open_subject(blob_detector(tmp_path / "blob.onnx"))
    model = onnx.ModelProto.FromString(subject.graph(subject.size))
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.2), tensor.name))
    with pytest.raises(CheckFailed, match="without a partner"):
        _check(subject, subject.size, model.SerializeToString())


def test_parameters_and_multiply_adds_are_counted(tmp_path: Path) -> None:
    raw = onnx.load(blob_detector(tmp_path / "blob.onnx"))
    parameters, multiply_adds = count_graph(raw)
    weights = 7 * 3 * (8**2 + 16**2 + 32**2)
    assert parameters == weights + 3 * 7
    assert multiply_adds == 3 * 7 * 3 * 96 * 128  # every stride reads every pixel once
