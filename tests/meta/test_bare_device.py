"""The device side in a bare environment: the wheel and an engine, as its metadata asks; no torch, no onnx."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import link_dependencies, make_environment, pip_install

FORBIDDEN = ("torch", "onnx", "onnxscript", "onnx_ir", "onnx_graphsurgeon", "safetensors", "pycocotools", "matplotlib")

IMPORT_ALL = """
import importlib, json, pkgutil, sys
import lsts_edge, lsts_edge.custom_ops, lsts_edge.runtime
names = [m.name for m in pkgutil.iter_modules(lsts_edge.__path__, "lsts_edge.") if not m.ispkg]
names.remove("lsts_edge.__main__")
for package in (lsts_edge.runtime, lsts_edge.custom_ops):
    names += [m.name for m in pkgutil.iter_modules(package.__path__, package.__name__ + ".")]
names = [name for name in names if "openvino" not in name]
for name in names:
    importlib.import_module(name)
print(json.dumps({"imported": names, "forbidden": [name for name in FORBIDDEN if name in sys.modules]}))
"""

DETECT = """
import sys
import numpy as np
from lsts_edge.runtime import Detector
with Detector(sys.argv[1]) as detector:
    kinds = []
    for index in range(12):
        found = detector.push(np.full((72, 128, 3), 10 * index, np.uint8))
        kinds.append(found.kind)
        assert found.boxes_xyxy_px.shape == (1, 4) and found.label_names == ("person",), found
print(*kinds)
"""


@pytest.fixture(scope="module")
def device(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    python = make_environment(tmp_path_factory.mktemp("device"), with_dependencies=False)
    pip_install(python, "--no-deps", "--no-index", str(wheel))
    linked = link_dependencies(python, "cpu")
    assert {"numpy", "onnxruntime"} <= set(linked)
    return python


def _run(python: Path, program: str, *words: str) -> str:
    done = subprocess.run([python, "-c", program, *words], cwd=python.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_training_stack_is_installed(device: Path) -> None:
    found = _run(device, f"import importlib.util as u; print([n for n in {FORBIDDEN!r} if u.find_spec(n)])")
    assert found.strip() == "[]"


def test_every_device_side_module_imports(device: Path) -> None:
    report = json.loads(_run(device, f"FORBIDDEN = {FORBIDDEN!r}\n{IMPORT_ALL}"))
    assert report["forbidden"] == []
    assert len(report["imported"]) > 15


def test_a_detector_runs(device: Path, hand_made_bundle: Path) -> None:
    kinds = _run(device, DETECT, str(hand_made_bundle)).split()
    assert kinds == ["first", *["propagated"] * 9, "keyframe", "propagated"]


def test_a_video_is_run_with_no_bundle_given(device: Path, root: Path, tmp_path: Path) -> None:
    shutil.copy(root / "examples" / "clips" / "bottle-detection.mp4", tmp_path / "clip.mp4")
    command = [device.with_name("lsts-edge"), "run", "clip.mp4", "--output-json", "out.jsonl"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    found = [row for row in rows if any(box["label"] == "bottle" for box in row["detections"])]
    assert len(rows) == 179 and len(found) >= 170
    assert "comes with lsts-edge" in done.stderr and str(device.parent.parent) in done.stderr


def test_the_doctor_finds_what_is_there_and_what_is_not(device: Path, hand_made_bundle: Path, tmp_path: Path) -> None:
    command = [device.with_name("lsts-edge"), "doctor", "--bundle", str(hand_made_bundle), "--json"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {(one["code"], one["what"]): one for one in json.loads(done.stdout)["findings"]}
    assert found["provider-ok", "onnxruntime cpu"]["facts"]["forms"] == ["taps", "gridsample"]
    assert found["oplib-missing", "op library"]["level"] == "warning"
    assert ("form-unusable", "onnxruntime cpu, form custom") in found
    assert not any("openvino" in what for _, what in found)
    assert list(tmp_path.iterdir()) == [hand_made_bundle]


@pytest.mark.parametrize(
    ("line", "extra"),
    [
        ("export --checkpoint random --preset lsts-tiny --output x", "export"),
        ("bench params", "export"),
        ("data render --output x", "render"),
    ],
)
def test_a_workstation_command_names_the_extra(line: str, extra: str, device: Path, tmp_path: Path) -> None:
    command = [device.with_name("lsts-edge"), *line.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error[package-missing]:")
    assert f'pip install "lsts-edge[{extra}]"' in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
