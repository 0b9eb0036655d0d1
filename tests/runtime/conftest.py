"""A bundle exported from lsts-tiny with every LSTS form, for tests of what the hand-made one does not have."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lsts-tiny with random weights: taps, custom and gridsample, split and joined."""
    pytest.importorskip("torch")
    from lsts_edge.bundle import write_bundle
    from lsts_edge.export.exporter import export_model
    from lsts_edge.publish.network import load_network

    network, weights, _ = load_network("random", preset="lsts-tiny")
    exported = export_model(network, weights, forms=("taps", "custom", "gridsample"), joined=True)
    path = tmp_path_factory.mktemp("tiny") / "bundle"
    write_bundle(path, exported.manifest, exported.files)
    return path
