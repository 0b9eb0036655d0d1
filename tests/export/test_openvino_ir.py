"""OpenVINO IR of exported graphs: float32, the same bytes each time, and the numbers of the ONNX graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hand_made import hand_made_files
from lsts_edge.bundle import Bundle, DraftBundle, OpenVinoIr, write_bundle
from lsts_edge.bundle.ir_bytes import check_ir_bytes
from lsts_edge.bundle.manifest import WeightsInfo
from lsts_edge.bundle.programs import FrameKind
from lsts_edge.clips import moving_clip
from lsts_edge.errors import ExportError
from lsts_edge.export.exporter import export_model, require_ir_form, with_ir
from lsts_edge.export.openvino_ir import openvino_ir
from lsts_edge.model import random_network
from lsts_edge.presets import ModelPreset
from lsts_edge.publish.publish import publish
from lsts_edge.runtime.engines.interface import Session
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.pipeline import Pipeline
from videos import small_clip, write_video

WEIGHTS = WeightsInfo("random", "none", "random weights", seed=0)


class OnnxOnly:
    """OpenVINO under another name: a bundle hands it the ONNX bytes."""

    def __init__(self) -> None:
        self._backend = open_backend(EngineOptions("openvino", threads=1))
        self.name, self.provider, self.version = "openvino-onnx", "cpu", self._backend.version
        self.tensors = self._backend.tensors

    def load(self, model: bytes | OpenVinoIr, name: str) -> Session:
        assert isinstance(model, bytes)
        return self._backend.load(model, name)


@pytest.fixture(scope="module")
def exported(tiny: ModelPreset) -> DraftBundle:
    return with_ir(export_model(random_network(tiny, 0), WEIGHTS, forms=("taps", "gridsample"), joined=True))


@pytest.fixture(scope="module")
def bundle(exported: DraftBundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("ir") / "bundle", exported.manifest, exported.files)


@pytest.mark.parametrize("form", ["taps", "gridsample"])
@pytest.mark.parametrize("joined", [False, True])
def test_every_program_gives_the_numbers_of_onnx_with_the_state_carried(
    bundle: Bundle, form: str, joined: bool
) -> None:
    onnx = Pipeline(bundle, EngineOptions(OnnxOnly(), lsts_form=form, joined=joined))
    ir = Pipeline(bundle, EngineOptions("openvino", threads=1, lsts_form=form, joined=joined))
    kinds: list[FrameKind] = ["first", "propagated", "propagated", "keyframe", "propagated", "keyframe", "propagated"]
    boxes = 0
    for kind, frame in zip(kinds, moving_clip(len(kinds), 64, 96, 3), strict=True):
        expected, found = onnx.step(frame[None], kind), ir.step(frame[None], kind)
        assert found.keys() == expected.keys()
        for slot, value in expected.items():
            assert found[slot].dtype == value.dtype and found[slot].shape == value.shape, slot
            assert np.abs(found[slot] - value).max(initial=0) <= 1e-5 * np.abs(value).max(initial=0), slot
        boxes += len(expected["boxes"])
    assert boxes > len(kinds), "without boxes the heads compare nothing"


def test_the_ir_is_what_runs(bundle: Bundle) -> None:
    loaded: list[object] = []

    class Recording(OnnxOnly):
        def load(self, model: bytes | OpenVinoIr, name: str) -> Session:
            loaded.append(model)
            return self._backend.load(model, name)

    backend = Recording()
    backend.name = "openvino"
    Pipeline(bundle, EngineOptions(backend, joined=False))
    assert len(loaded) == 10
    assert all(isinstance(model, OpenVinoIr) for model in loaded)
    assert bundle.model_for("onnxruntime", "heavy") == bundle.graph_bytes("heavy")


def test_weights_stay_float32_and_whole(exported: DraftBundle) -> None:
    """A model compressed to float16 would be half as large and would hold no f32 constant."""
    xml, weights = exported.files["heavy.xml"], exported.files["heavy.bin"]
    assert b'element_type="f32"' in xml and b"f16" not in xml
    parameters = exported.manifest.graphs["heavy"].parameters
    assert len(weights) > 4 * 0.9 * parameters


def test_each_file_passes_the_check_and_has_no_notes(exported: DraftBundle) -> None:
    found = [name for name in exported.files if name.endswith(".xml")]
    assert len(found) == 17
    for name in found:
        check_ir_bytes(exported.files[name], len(exported.files[name.removesuffix("xml") + "bin"]), name)
        assert b"rt_info" not in exported.files[name]


def test_the_same_graph_gives_the_same_bytes(exported: DraftBundle) -> None:
    """Names that OpenVINO makes up count on within a process; none of them may reach the file."""
    for name in ("heavy", "keyframe.taps"):
        again = openvino_ir(exported.files[f"{name}.onnx"], name)
        assert again == (exported.files[f"{name}.xml"], exported.files[f"{name}.bin"])


def test_the_form_custom_has_no_ir(tiny: ModelPreset) -> None:
    network = random_network(tiny, 0)
    both = with_ir(export_model(network, WEIGHTS, forms=("custom", "taps"), joined=True))
    for name in ("lsts_key", "lsts_current", "keyframe", "nonkeyframe"):
        assert set(both.manifest.graphs[name].forms) == {"custom", "taps"}
        assert set(both.manifest.graphs[name].ir) == {"taps"}
    assert set(both.manifest.graphs["heavy"].ir) == {"default"}
    with pytest.raises(ExportError, match="form custom only"):
        require_ir_form(("custom",))


def test_a_graph_that_openvino_does_not_take_is_an_export_error() -> None:
    with pytest.raises(ExportError, match="graph broken as OpenVINO IR"):
        openvino_ir(b"\x08\x0anot a model", "broken")


def test_a_video_is_compared_in_openvino_too(tiny: ModelPreset, tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", small_clip(4))
    done = publish(random_network(tiny, 0), WEIGHTS, tmp_path / "b", openvino=True, frames=3, video=video)
    assert [report.backend.split()[0] for report in done.reports] == ["onnxruntime"] * 2 + ["openvino"] * 2
    assert all(report.passed for report in done.reports)
    parity = done.bundle.manifest.parity
    assert parity is not None and parity.frames == 6 and "openvino" in parity.backend


def test_a_graph_without_constants_has_empty_weights(tmp_path: Path) -> None:
    from hand_made import field, model, node, value_info

    ports = field(11, value_info("x", 1, (3,))) + field(12, value_info("y", 1, (3,)))
    xml, weights = openvino_ir(model(field(1, node("Relu", ["x"], ["y"])) + field(2, "g") + ports), "relu")
    assert weights == b""
    session = open_backend(EngineOptions("openvino", threads=1)).load(OpenVinoIr(xml, weights), "relu")
    np.testing.assert_array_equal(session.run({"x": np.float32([-1, 0, 2])})["y"], np.float32([0, 0, 2]))


def test_the_hand_made_graphs_convert_too() -> None:
    xml, weights = openvino_ir(hand_made_files()["head.onnx"], "head")
    check_ir_bytes(xml, len(weights), "head.xml")
