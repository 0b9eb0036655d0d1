"""Which module may import which: the contracts of .importlinter hold, notice faults, and a fresh process agrees."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKSTATION = {"torch", "onnx", "onnxscript", "onnx_ir", "onnx_graphsurgeon", "safetensors", "pycocotools"}
ENGINES = {"onnxruntime", "openvino"}

LINTER = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--config"]


def _lint(root: Path) -> subprocess.CompletedProcess[str]:
    """Hold the package under ``root`` against the contracts of ``.importlinter``."""
    environment = {**os.environ, "PYTHONPATH": str(root)}
    words = [*LINTER, str(ROOT / ".importlinter"), "--no-cache"]
    return subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True)


def test_layers_and_circles() -> None:
    done = _lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "planted", "named"),
    [
        ("runtime/loop.py", "from lsts_edge.export import graph", "lsts_edge.runtime.loop -> lsts_edge.export.graph"),
        ("bundle/check.py", "import lsts_edge.runtime", "lsts_edge.bundle.check -> lsts_edge.runtime"),
        ("runtime/preprocess.py", "import torch", "lsts_edge.runtime.preprocess -> torch"),
        (
            "runtime/engines/interface.py",
            "from lsts_edge.runtime.engines import open",
            "No circles, in any folder BROKEN",
        ),
        (
            "runtime/sources/video.py",
            "import lsts_edge.runtime.engines.open",
            "sources.video -> lsts_edge.runtime.engines.open",
        ),
    ],
)
def test_planted_faults_are_seen(tmp_path: Path, module: str, planted: str, named: str) -> None:
    """A forbidden arrow, a circle inside a folder and a forbidden package, in a copy of the sources."""
    shutil.copytree(
        ROOT / "lsts_edge", tmp_path / "lsts_edge", ignore=lambda _, names: {n for n in names if _not_source(n)}
    )
    path = tmp_path / "lsts_edge" / module
    path.write_text(
        path.read_text(encoding="utf-8") + f"\n\ndef _planted() -> None:\n    {planted}\n", encoding="utf-8"
    )
    done = _lint(tmp_path)
    assert done.returncode == 1
    assert named in " ".join(done.stdout.split())


def _not_source(name: str) -> bool:
    return Path(name).suffix not in ("", ".py") or name in ("_lib", "results", "__pycache__")


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("lsts_edge", WORKSTATION | ENGINES | {"numpy", "cv2", "av", "click"}),
        ("lsts_edge.bundle", WORKSTATION | ENGINES | {"numpy", "cv2", "av", "click"}),
        ("lsts_edge.cli", WORKSTATION | ENGINES | {"numpy", "cv2", "av"}),
        ("lsts_edge.runtime", WORKSTATION | ENGINES | {"click"}),
        ("lsts_edge.custom_ops", WORKSTATION | ENGINES | {"click"}),
        ("lsts_edge.doctor", WORKSTATION | ENGINES | {"click"}),
        ("lsts_edge.evaluation", WORKSTATION | ENGINES | {"click"}),
    ],
)
def test_importing_pulls_in_nothing_it_does_not_need(module: str, forbidden: set[str]) -> None:
    program = f"import json, sys, {module}; print(json.dumps(sorted(set({sorted(forbidden)!r}) & set(sys.modules))))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
