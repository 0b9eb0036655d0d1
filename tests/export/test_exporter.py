"""The whole export in memory: manifest, programs, forms, joined graphs."""

from __future__ import annotations

import dataclasses

import onnx
import pytest

from lsts_edge.bundle.manifest import WeightsInfo
from lsts_edge.errors import ExportError
from lsts_edge.export import exporter
from lsts_edge.export.exporter import export_model
from lsts_edge.export.programs import programs_of
from lsts_edge.model import random_network
from lsts_edge.presets import ModelPreset, get_preset

WEIGHTS = WeightsInfo("random", "none", "random weights", seed=0)


def test_every_file_is_self_contained_and_pinned(tiny: ModelPreset) -> None:
    steps: list[str] = []
    exported = export_model(
        random_network(tiny, 0), WEIGHTS, forms=("taps", "custom", "gridsample"), progress=steps.append
    )
    assert len(steps) >= 4
    for content in exported.files.values():
        model = onnx.ModelProto.FromString(content)
        versions = {entry.domain: entry.version for entry in model.opset_import}
        assert model.ir_version == 10 and versions.pop("") == 18 and versions in ({}, {"lsts.edge": 1})
        assert not model.functions
        assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)
    lsts = exported.manifest.lsts
    assert lsts is not None
    assert (lsts.forms, lsts.default_form, lsts.locations) == (("taps", "custom", "gridsample"), "taps", 9)
    assert set(exported.manifest.joined) == {"first", "keyframe", "propagated"}


def test_the_same_weights_give_the_same_bytes(tiny: ModelPreset) -> None:
    first, second = (export_model(random_network(tiny, 3), WEIGHTS).files for _ in range(2))
    assert first == second


def test_the_embedding_of_the_task_feature_is_state(tiny: ModelPreset) -> None:
    programs = programs_of(tiny)
    assert programs.state == ("task", "task_embedding")
    assert "embed_memory" not in [step.graph for step in programs.programs["propagated"]]


@pytest.mark.parametrize(
    ("form", "state"),
    [
        ("released", ("task", "task_embedding")),
        ("recursion", ("memory", "task", "task_embedding")),
        ("paper", ("memory", "task_embedding")),
        ("per-frame", ()),
    ],
)
def test_state_of_each_form(tiny_forms: dict[str, ModelPreset], form: str, state: tuple[str, ...]) -> None:
    assert programs_of(tiny_forms[form]).state == state


def test_joined_graphs_are_left_out_of_large_models_and_on_demand(
    tiny: ModelPreset, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = random_network(tiny, 0)
    traced = exporter.conv_graphs(network)
    monkeypatch.setattr(exporter, "conv_graphs", lambda given: traced)  # traced once for both
    assert export_model(network, WEIGHTS, joined=False).manifest.joined == {}
    monkeypatch.setattr(exporter, "JOINED_MAX_PARAMETERS", 1000)
    assert export_model(network, WEIGHTS).manifest.joined == {}


def test_refusals(tiny: ModelPreset) -> None:
    network = random_network(tiny, 0)
    with pytest.raises(ExportError, match="LSTS forms"):
        export_model(network, WEIGHTS, forms=("taps", "nearest"))
    network.lsts.offsets.data[0, 0] = float("nan")
    with pytest.raises(ExportError, match="NaN or infinity"):
        export_model(network, WEIGHTS)
    with pytest.raises(ExportError, match="recursion"):
        programs_of(dataclasses.replace(tiny, form="paper", recursion=0.5))


def test_presets_have_programs() -> None:
    assert set(programs_of(get_preset("rfcn-r101")).programs) == {"first"}
    assert set(programs_of(get_preset("lsts-r101")).programs) == {"first", "keyframe", "propagated"}
