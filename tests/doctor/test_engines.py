"""Providers are tried where a crash is a finding: with the real engines, and with engines that are made to fail."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest

from lsts_edge.doctor.engines import check_engines
from lsts_edge.doctor.finding import Finding
from lsts_edge.doctor.probe import EMBEDDING_SHAPE, GRAPHS, MEMORY_SHAPE, OFFSETS, graph_path, probe_error
from lsts_edge.export.lsts_graph import lsts_graph
from lsts_edge.runtime.child import ChildLimits

# An engine with the interface that ours use, and a fault in it.
ENGINE = """
import os, sys, time
import numpy
__version__ = "1.99.0"
FAULT = {fault!r}
if FAULT == "crash at import":
    os.abort()
def get_available_providers():
    return ["CPUExecutionProvider"]
class SessionOptions:
    def add_session_config_entry(self, key, value): pass
    def register_custom_ops_library(self, path): pass
class Named:
    def __init__(self, name): self.name = name
class InferenceSession:
    def __init__(self, model, options, providers):
        self.custom = b"lsts.edge" in model
        if FAULT == "hang":
            time.sleep(3600)
        if FAULT == "refuse":
            raise RuntimeError("[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : rtsp://admin:hunter2@camera")
    def get_inputs(self): return [Named(n) for n in ("memory", "memory_embedding", "current_embedding")]
    def get_outputs(self): return [Named("aligned")]
    def get_providers(self): return ["CPUExecutionProvider"]
    def run(self, names, feeds):
        if FAULT == "crash" or (FAULT == "crash in custom" and self.custom):
            print("a line of the engine's own", flush=True)
            os.abort()
        if FAULT == "wrong" or (FAULT == "wrong in custom" and self.custom):
            return [numpy.zeros((1, 8, 6, 6), numpy.float32)]
        from lsts_edge.doctor.probe import OFFSETS, probe_feeds
        from lsts_edge.opspec import lsts_reference
        f = probe_feeds()
        return [lsts_reference(f["memory_embedding"], f["current_embedding"], f["memory"], OFFSETS)[0].astype("f4")]
"""


def _with_fault(fault: str, folder: Path, patch: pytest.MonkeyPatch, time_s: float = 60.0) -> dict[str, Finding]:
    (folder / "onnxruntime").mkdir()
    (folder / "onnxruntime" / "__init__.py").write_text(ENGINE.format(fault=fault))
    patch.syspath_prepend(str(folder))  # a child finds modules where its parent does
    return {one.code: one for one in check_engines(["onnxruntime"], ChildLimits(time_s))}


def test_an_engine_that_is_right_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a fault in it: so what follows is found because of the faults."""
    found = _with_fault("", tmp_path, monkeypatch)
    assert set(found) == {"engine-ok", "provider-ok", "provider-absent"}
    assert found["provider-ok"].facts["forms"] == list(GRAPHS)


@pytest.mark.parametrize(
    ("fault", "code", "level", "said"),
    [
        ("crash at import", "engine-broken", "error", "SIGABRT"),
        ("crash", "provider-crashed", "error", "SIGABRT"),
        ("refuse", "provider-unusable", "error", "NOT_IMPLEMENTED"),
        ("wrong", "provider-wrong", "error", "wrong numbers"),
        ("crash in custom", "form-crashed", "warning", "SIGABRT"),
        ("wrong in custom", "form-wrong", "error", "wrong numbers"),
    ],
)
def test_faults_of_an_engine_are_findings(
    fault: str, code: str, level: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _with_fault(fault, tmp_path, monkeypatch)
    assert found[code].level == level and said in found[code].got and found[code].fix
    assert ("provider-ok" in found) == ("custom" in fault)


def test_an_engine_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _with_fault("hang", tmp_path, monkeypatch, time_s=3.0)
    assert {"provider-unusable", "engine-broken"} & set(found)  # the latter where 3 s do not even import it
    assert not any(one.code == "provider-ok" for one in found.values())


def _plant_package(folder: Path, name: str, version: str = "1.20.1") -> None:
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_two_packages_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _plant_package(tmp_path, "onnxruntime-gpu")
    _plant_package(tmp_path, "opencv-contrib-python", "4.14.0.1")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = {one.code: one for one in check_engines(["onnxruntime"])}
    assert found["engine-clash"].level == "error" and "onnxruntime-gpu 1.20.1" in found["engine-clash"].got
    assert "pip uninstall onnxruntime onnxruntime-gpu" in found["engine-clash"].fix
    assert found["opencv-clash"].level == "warning"
    assert "provider-ok" not in found  # which of the two would run is anybody's guess


def test_no_engine_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = check_engines()
    assert [one.code for one in found if one.level == "error"] == ["engine-missing"]
    assert "pip install 'lsts-edge[cpu]'" in found[0].fix


@pytest.mark.parametrize("form", GRAPHS)
def test_the_probe_graphs_are_what_the_exporter_writes(form: str) -> None:
    made = lsts_graph(
        form, OFFSETS, current="current_embedding", embedding_shape=EMBEDDING_SHAPE, memory_shape=MEMORY_SHAPE
    )
    assert onnx.load(graph_path(form)).graph == made.graph


def test_the_probe_knows_wrong_from_right() -> None:
    assert "shape" in probe_error(np.zeros((1, 8, 6, 5), np.float32))
    assert "wrong numbers" in probe_error(np.zeros(MEMORY_SHAPE, np.float32))
    assert "wrong numbers" in probe_error(np.full(MEMORY_SHAPE, np.nan, np.float32))
