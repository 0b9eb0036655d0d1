"""Readers of what others wrote, fuzzed within bounds: each answers with a value or an error of ours, nothing else."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attacks.forged import honest_data, sealed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hand_made import hand_made_files
from lsts_edge.bundle.ir_bytes import check_ir_bytes
from lsts_edge.bundle.manifest import Manifest
from lsts_edge.bundle.onnx_bytes import check_onnx_bytes
from lsts_edge.bundle.strict_json import canonical_json
from lsts_edge.errors import AnnotationError, LstsEdgeError
from lsts_edge.evaluation.annotations import category_ids, read_annotations
from lsts_edge.evaluation.detection_files import read_detections

DATA = Path(__file__).resolve().parent.parent / "data"
BOUNDED = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

NUMBERS = st.integers() | st.floats() | st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**400, 1e308])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes changed, cut out, put in twice or put in new, at up to four places."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.integers(0, 16))
        piece = draw(st.binary(max_size=16) | st.just(bytes(content[at : at + length])))
        content[at : at + draw(st.integers(0, 16))] = piece
    return bytes(content)


@st.composite
def changed(draw: st.DrawFn, data: Any) -> Any:
    """A copy of JSON data with another value at one place, however deep, or that place left out or doubled."""
    copy = json.loads(json.dumps(data))
    place, where = copy, []
    while isinstance(place, (dict, list)) and place and (not where or draw(st.integers(0, 4))):
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        where.append((place, key))
        place = place[key]
    holder, key = where[-1]
    what = draw(st.sampled_from(["value", "drop", "add"]))
    if what == "drop":
        del holder[key]
    elif what == "add" and isinstance(holder, dict):
        holder[draw(st.text(max_size=8))] = draw(JSON)
    else:
        holder[key] = draw(JSON)
    return copy


def answers(read: Callable[[], object]) -> None:
    try:
        read()
    except LstsEdgeError as error:
        assert type(error).code != "internal"
        assert len(str(error)) < 4000, "one line that can be read"


HONEST = honest_data(hand_made_files())
GRAPH = next(content for name, content in sorted(hand_made_files().items()) if name.endswith(".onnx"))
IR = (
    b'<?xml version="1.0"?><net name="m" version="11"><layers><layer id="0" name="w" type="Const" version="opset1">'
    b'<data element_type="f32" shape="2,3" offset="0" size="24"/><output><port id="0" precision="FP32"><dim>2</dim>'
    b"<dim>3</dim></port></output></layer></layers><edges/></net>"
)


@BOUNDED
@given(data=changed(HONEST))
def test_manifest_data(data: Any) -> None:
    answers(lambda: Manifest.from_json(sealed(canonical_json(data))))


@BOUNDED
@given(raw=damaged(sealed(canonical_json(HONEST))))
def test_manifest_bytes(raw: bytes) -> None:
    answers(lambda: Manifest.from_json(raw))


@BOUNDED
@given(model=damaged(GRAPH) | st.binary(max_size=200))
def test_onnx(model: bytes) -> None:
    answers(lambda: check_onnx_bytes(model, "graph.onnx"))


@BOUNDED
@given(xml=damaged(IR) | st.binary(max_size=200))
def test_ir(xml: bytes) -> None:
    answers(lambda: check_ir_bytes(xml, 24, "graph.xml"))


@BOUNDED
@given(content=damaged((DATA / "mxnet_small.params").read_bytes()) | st.binary(max_size=200))
def test_params(content: bytes, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from lsts_edge.model.mxnet_params import read_params

    (tmp_path / "x.params").write_bytes(content)
    answers(lambda: read_params(tmp_path / "x.params"))


@pytest.fixture(scope="module")
def saved() -> dict[str, bytes]:
    torch = pytest.importorskip("torch")
    import safetensors.torch

    state = {"a.weight": torch.ones(2, 3), "b.bias": torch.zeros(3)}
    files = {".safetensors": safetensors.torch.save(state, {"preset": '"x"', "licence": "MIT"})}
    for suffix, zipped in ((".pth", True), (".pt", False)):
        buffer = io.BytesIO()
        torch.save({"model": state}, buffer, _use_new_zipfile_serialization=zipped)
        files[suffix] = buffer.getvalue()
    return files


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
@settings(BOUNDED, max_examples=30)
@given(data=st.data())
def test_checkpoints(suffix: str, data: st.DataObject, saved: dict[str, bytes], tmp_path: Path) -> None:
    from lsts_edge.model import load_checkpoint

    path = tmp_path / f"x{suffix}"
    path.write_bytes(data.draw(damaged(saved[suffix])))
    answers(lambda: load_checkpoint(path, "lsts-tiny"))


ANNOTATIONS = {
    "videos": [{"id": 1, "name": "v"}],
    "images": [{"id": 1, "file_name": "v/1.jpg", "width": 64, "height": 48, "video_id": 1, "frame_id": 0}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 20], "area": 600, "iscrowd": 0}],
    "categories": [{"id": 1, "name": "bird"}],
}
ROW = {
    "frame": 0,
    "time_s": 0.0,
    "kind": "first",
    "feature_age": 0,
    "detections": [{"label": "bird", "score": 0.5, "box_xyxy_px": [1.0, 2.0, 30.0, 20.0]}],
}
RESULT = [{"image_id": 1, "category_id": 1, "bbox": [1.0, 2.0, 30.0, 20.0], "score": 0.5}]


@BOUNDED
@given(data=changed(ANNOTATIONS) | JSON)
def test_annotations(data: Any, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(data))
    answers(lambda: read_annotations(tmp_path / "a.json", ("bird",)))


@BOUNDED
@given(rows=changed([ROW]) | changed(RESULT) | JSON, suffix=st.sampled_from([".jsonl", ".json"]))
def test_detections(rows: Any, suffix: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(ANNOTATIONS))
    truth = read_annotations(tmp_path / "a.json", ("bird",))
    lines = [json.dumps(row) for row in rows] if suffix == ".jsonl" and isinstance(rows, list) else [json.dumps(rows)]
    (tmp_path / f"found{suffix}").write_text("\n".join(lines))
    answers(lambda: read_detections(tmp_path / f"found{suffix}", truth))


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"images": [null]}', '{"images": 3}', "9" * 5000, '{"images": [1e999]}']
)
def test_what_was_found(text: str, tmp_path: Path) -> None:
    """Findings kept: files on which a reader once failed with an error of Python's."""
    for name in ("a.json", "a.jsonl"):
        (tmp_path / name).write_text(text)
    with pytest.raises(AnnotationError):
        read_annotations(tmp_path / "a.json", ("bird",))
    answers(lambda: category_ids(tmp_path / "a.json"))
    (tmp_path / "whole.json").write_text(json.dumps(ANNOTATIONS))
    truth = read_annotations(tmp_path / "whole.json", ("bird",))
    for name in ("a.json", "a.jsonl"):
        with pytest.raises(AnnotationError):
            read_detections(tmp_path / name, truth)


@pytest.mark.parametrize("key", ["videos", "images", "annotations", "categories"])
def test_an_entry_that_is_no_object(key: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({**ANNOTATIONS, key: [None]}))
    with pytest.raises(AnnotationError):
        read_annotations(tmp_path / "a.json", ("bird",))


def test_a_reader_that_is_wrong_is_found() -> None:
    """The planted fault: a reader that takes an entry's type for granted."""

    @BOUNDED
    @given(data=changed(ANNOTATIONS))
    def fuzz(data: Any) -> None:
        answers(lambda: sum(image["width"] for image in data["images"]))

    with pytest.raises(Exception, match=r"(?s).*") as caught:  # several faults come as a group
        fuzz()
    assert not isinstance(caught.value, LstsEdgeError)


def test_what_is_whole_is_read(tmp_path: Path, saved: dict[str, bytes]) -> None:
    """The seeds are good, so that the damage is what is refused."""
    assert Manifest.from_json(sealed(canonical_json(HONEST))).name == "hand-made"
    check_onnx_bytes(GRAPH, "graph.onnx")
    check_ir_bytes(IR, 24, "graph.xml")
    (tmp_path / "a.json").write_text(json.dumps(ANNOTATIONS))
    truth = read_annotations(tmp_path / "a.json", ("bird",))
    for name, text in (("f.jsonl", json.dumps(ROW)), ("f.json", json.dumps(RESULT))):
        (tmp_path / name).write_text(text)
        assert len(read_detections(tmp_path / name, truth).boxes[1]) == 1
    with pytest.raises(AnnotationError):
        read_detections(tmp_path / "absent.json", truth)
