"""``wrap --learn`` as a whole: the learnt way is measured like any other, held to the same gate, and in the bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from blob_detector import blob_clip, write_blob_clip
from deep_blob import DEEP_SIZE, deep_blob

from lsts_edge.publish.wrap.learn.options import LearnOptions
from lsts_edge.publish.wrap.options import WrapOptions
from lsts_edge.publish.wrap.study import MachineUsed
from lsts_edge.publish.wrap.wrap import wrap
from lsts_edge.runtime import Detector
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.verify.compare import comparable_forms, verify_bundle
from lsts_edge.verify.references import RecordedReference

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("form", ["taps", "custom"])
def test_a_learnt_way_stands_beside_the_others(tmp_path: Path, form: Literal["taps", "custom"]) -> None:
    torch.set_num_threads(1)
    clips = [write_blob_clip(tmp_path / f"{seed}.mp4", 24, seed, DEEP_SIZE) for seed in range(4)]
    options = WrapOptions(
        minutes=0.02,
        intervals=(2, 4),
        engines=("onnxruntime",),
        threads=1,
        openvino=True,
        learn=LearnOptions(
            steps=20,
            frames=40,
            embedding=4,
            width=8,
            batch=2,
            unroll=2,
            long_unroll=3,
            learning_rate=0.01,
            form=form,
        ),
    )
    machine = MachineUsed("a machine", "0" * 12, {})
    done = wrap(
        deep_blob(tmp_path / "deep.onnx"), clips, tmp_path / "out", machine=machine, cache=tmp_path / "cache",
        options=options,
    )  # fmt: skip
    rows = [row for row in done.study.rows if row.way == "features"]
    assert [row.keyframe_interval for row in rows] == [2, 4]
    assert all(row.agreement.pooled is not None and row.time_ms.mean > 0 and row.propagated_ms for row in rows)
    assert done.study.met and done.study.chosen.on_front, "what loses to a cheaper way is no default"
    manifest = done.bundle.manifest
    assert {"features", "hold", "flow-boxes", "fused", "smaller-input", "every-frame"} == set(manifest.propagation.ways)
    assert manifest.light_scale == 0.5 and len(manifest.features) == 3 and manifest.lsts is not None
    assert manifest.parity is not None and manifest.parity.reference == "original"
    forms = comparable_forms(manifest.lsts_forms)
    assert verify_bundle(done.bundle, RecordedReference(done.bundle), EngineOptions(threads=1), forms=forms).passed
    assert verify_bundle(done.bundle, RecordedReference(done.bundle), EngineOptions("openvino"), forms=["taps"]).passed
    for way in manifest.propagation.ways:
        with Detector(done.bundle, propagator=way, keyframe_interval=None if way == "every-frame" else 4) as detector:
            found = [detector.push(frame) for frame in blob_clip(6, 9, DEEP_SIZE)]
        assert all(len(one) for one in found), way
        alone = way in ("every-frame", "smaller-input")
        assert ("propagated" in {one.kind for one in found}) != alone
