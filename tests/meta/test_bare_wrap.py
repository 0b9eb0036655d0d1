"""Wrapping in a bare environment: the wheel, one engine and `[wrap]`; no torch, nothing that our own export needs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from blob_detector import blob_detector, write_blob_clip
from conftest import make_environment, pip_install

ABSENT = ("torch", "onnxscript", "onnx_ir", "safetensors", "pycocotools", "matplotlib")

WRAP = """
import importlib.util, json, sys
from pathlib import Path
import numpy as np, onnxruntime
from lsts_edge.export.detectors import class_names, read_detector, recognise, wrap_detector
model = read_detector(Path(sys.argv[1]))
spec = recognise(model)
names, _ = class_names(model, spec)
graph = wrap_detector(model, spec, height_px=96, width_px=160, classes=names, score_floor=0.0)
session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
found = session.run(None, {"image": np.zeros((1, 96, 160, 3), np.uint8)})
absent = [name for name in ABSENT if importlib.util.find_spec(name) is None]
print(json.dumps({"family": spec.family, "absent": absent, "shape": found[0].shape}))
"""


def test_a_detector_is_wrapped(wheel: Path, root: Path, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "bare", with_dependencies=False)
    pip_install(python, "--constraint", str(root / "constraints.txt"), f"{wheel}[cpu,wrap]")
    detector = root / "examples/detectors/picodet_s_416_coco.onnx"
    command = [python, "-c", f"ABSENT = {ABSENT!r}\n{WRAP}", str(detector)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["family"] == "picodet"
    assert told["absent"] == list(ABSENT)
    assert told["shape"][1] == 4 and told["shape"][0] > 0

    for seed in range(2):
        write_blob_clip(tmp_path / f"{seed}.mp4", 24, seed)
    blob = blob_detector(tmp_path / "blob.onnx")
    whole = ["wrap", str(blob), "--clips", "0.mp4", "--clips", "1.mp4", "--output", "out", "--intervals", "2,10"]
    for words in ([*whole, "--minutes", "0.02", "--cache", "cache", "--json"], ["verify", "out"]):
        done = subprocess.run([python, "-m", "lsts_edge", *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        if words[0] == "wrap":
            study = json.loads(done.stdout)
            assert [row["engine"] for row in study["rows"] if row["chosen"]] == ["onnxruntime"]
            assert {row["precision"] for row in study["rows"]} == {"fp32"}
            page = (tmp_path / study["report"]).read_text("utf-8")
            assert page.startswith("<!doctype html>") and "<svg" in page
