"""What the export tests share: small presets, and both engines."""

from __future__ import annotations

import dataclasses

import pytest
from export_engines import Run, run_onnxruntime, run_openvino

from lsts_edge.presets import AggregationPreset, ConvLayer, ModelPreset, get_preset


@pytest.fixture(params=[run_onnxruntime, run_openvino], ids=["onnxruntime", "openvino"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.param


@pytest.fixture(scope="session")
def tiny() -> ModelPreset:
    return get_preset("lsts-tiny")


@pytest.fixture(scope="session")
def tiny_forms(tiny: ModelPreset) -> dict[str, ModelPreset]:
    """The small preset in each form the programs differ for."""
    concat = AggregationPreset(layers=(ConvLayer(3, 8), ConvLayer(1, 4), ConvLayer(1, 1)), form="concat")
    return {
        "released": tiny,
        "recursion": dataclasses.replace(tiny, recursion=0.6),
        "paper": dataclasses.replace(tiny, form="paper", aggregation=concat),
        "per-frame": dataclasses.replace(tiny, lsts=None, transform=(), aggregation=None),
        "linear": dataclasses.replace(tiny, lsts=dataclasses.replace(tiny.lsts, normalization="linear")),
    }
