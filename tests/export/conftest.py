"""What the export tests share: small presets, and both engines."""

from __future__ import annotations

import pytest
from export_bundles import tiny_variants
from export_engines import Run, run_onnxruntime, run_openvino

from lsts_edge.presets import ModelPreset, get_preset


@pytest.fixture(params=[run_onnxruntime, run_openvino], ids=["onnxruntime", "openvino"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.param


@pytest.fixture(scope="session")
def tiny() -> ModelPreset:
    return get_preset("lsts-tiny")


@pytest.fixture(scope="session")
def tiny_forms() -> dict[str, ModelPreset]:
    return tiny_variants()
