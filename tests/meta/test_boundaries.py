"""Which module may import which: arrows of the architecture, read from the sources and seen in a fresh process."""

from __future__ import annotations

import ast
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKSTATION = {"torch", "onnx", "onnxscript", "onnx_ir", "onnx_graphsurgeon", "safetensors", "pycocotools"}
ENGINES = {"onnxruntime", "openvino"}

# Modules of lsts_edge/ that stand above export and runtime: they compare the two.
ABOVE = {"calibration", "precision", "publishing", "verification"}

# Layer -> other layers of lsts_edge that it may import (module level or not); "core" is lsts_edge/*.py but ABOVE.
ALLOWED = {
    "core": set(),
    "evaluation": {"core", "runtime"},
    "custom_ops": {"core"},
    "runtime": {"core", "custom_ops"},
    "model": {"core"},
    "train": {"core", "model", "evaluation", "runtime"},
    "export": {"core", "model", "custom_ops"},
    "above": {"core", "model", "runtime", "export", "custom_ops", "evaluation"},
    "benchmarks": {"above", "core", "model", "runtime", "export", "custom_ops", "evaluation"},
    "cli": {"above", "core", "model", "train", "runtime", "export", "custom_ops", "evaluation", "benchmarks"},
}
FOLDERS = {layer: ROOT / layer for layer in ("runtime", "export", "custom_ops", "benchmarks")}
FOLDERS |= {layer: ROOT / "lsts_edge" / layer for layer in ("evaluation", "model", "train", "cli")}
FOLDERS["core"] = FOLDERS["above"] = ROOT / "lsts_edge"


def _sources(layer: str) -> list[Path]:
    if layer in ("core", "above"):
        return sorted(p for p in FOLDERS[layer].glob("*.py") if (p.stem in ABOVE) == (layer == "above"))
    return sorted(FOLDERS[layer].rglob("*.py"))


def _imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def _layer_of(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] != "lsts_edge" or len(parts) < 2:
        return None
    if parts[1] in ABOVE:
        return "above"
    return parts[1] if parts[1] in ALLOWED else "core"


def _crossings(layer: str, source: str) -> set[str]:
    reached = {_layer_of(module) for module in _imports(ast.parse(source))} - {None, layer}
    return {str(other) for other in reached} - ALLOWED[layer]


@pytest.mark.parametrize("layer", ALLOWED)
def test_arrows(layer: str) -> None:
    for path in _sources(layer):
        if path.name == "__main__.py":
            continue
        assert not _crossings(layer, path.read_text(encoding="utf-8")), path.relative_to(ROOT)


def test_planted_fault_a_forbidden_arrow_is_seen() -> None:
    assert _crossings("runtime", "def f():\n    from lsts_edge.export import graph") == {"export"}
    assert _crossings("export", "import lsts_edge.runtime.pipeline") == {"runtime"}


@pytest.mark.parametrize("layer", ["core", "runtime", "custom_ops", "cli"])
def test_the_device_side_imports_no_training_stack_at_the_top(layer: str) -> None:
    for path in _sources(layer):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
        packages = {module.split(".")[0] for module in _imports(top)}
        assert not packages & WORKSTATION, path.relative_to(ROOT)


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("lsts_edge", WORKSTATION | ENGINES | {"numpy", "cv2", "av", "click"}),
        ("lsts_edge.bundle", WORKSTATION | ENGINES | {"numpy", "cv2", "av", "click"}),
        ("lsts_edge.cli", WORKSTATION | ENGINES | {"numpy", "cv2", "av"}),
        ("lsts_edge.runtime", WORKSTATION | ENGINES | {"click"}),
        ("lsts_edge.custom_ops", WORKSTATION | ENGINES | {"click"}),
        ("lsts_edge.evaluation", WORKSTATION | ENGINES | {"click"}),
    ],
)
def test_importing_pulls_in_nothing_it_does_not_need(module: str, forbidden: set[str]) -> None:
    program = f"import json, sys, {module}; print(json.dumps(sorted(set({sorted(forbidden)!r}) & set(sys.modules))))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("module", ["lsts_edge", "lsts_edge.cli", "lsts_edge.runtime"])
def test_import_time(module: str) -> None:
    """Seconds of processor time that the import adds; the median of five fresh processes."""
    program = f"import time; t = time.process_time(); import {module}; print(time.process_time() - t)"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    times = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, env=environment
        )
        times.append(float(done.stdout))
    assert statistics.median(times) <= 0.5, times
