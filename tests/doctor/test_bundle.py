"""A bundle that is whole and right passes; one that is damaged, wrong, greedy or silent about itself is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from lsts_edge.bundle import Bundle, write_bundle
from lsts_edge.doctor.bundle import check_bundle
from lsts_edge.runtime.child import ChildLimits
from lsts_edge.verify.golden import GOLDEN_FILE

RECORDED = ROOT / "tests" / "data" / "bundle_schema_1"
CPU = [("onnxruntime", "cpu")]


def test_a_bundle_runs_its_recorded_clip() -> None:
    found = check_bundle(RECORDED, CPU)
    assert [one.code for one in found] == ["bundle-ok", "bundle-runs"]
    assert found[1].facts["frames"] == 12 and 0 < found[1].facts["max_tensor_error"] < 1e-3


def test_a_recording_that_disagrees(tmp_path: Path) -> None:
    whole = Bundle.open(RECORDED)
    files = {name: whole.read(name) for name in whole.manifest.files}
    path = tmp_path / "golden.npz"
    path.write_bytes(files[GOLDEN_FILE])
    with np.load(path) as archive:
        arrays = dict(archive)
    name = next(name for name in arrays if name.startswith("values."))
    arrays[name] = arrays[name] + 1.0
    np.savez(path, **arrays)
    write_bundle(tmp_path / "bundle", whole.manifest, {**files, GOLDEN_FILE: path.read_bytes()})
    found = check_bundle(tmp_path / "bundle", CPU)
    assert [(one.code, one.level) for one in found] == [("bundle-ok", "ok"), ("check-failed", "error")]


def test_a_damaged_byte(hand_made_bundle: Path) -> None:
    content = bytearray((hand_made_bundle / "head.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (hand_made_bundle / "head.onnx").write_bytes(content)
    found = check_bundle(hand_made_bundle, CPU)
    assert [(one.code, one.level) for one in found] == [("bundle-digest", "error")] and found[0].fix


def test_a_bundle_without_a_recording(hand_made_bundle: Path) -> None:
    found = check_bundle(hand_made_bundle, CPU)
    assert [(one.code, one.level) for one in found] == [("bundle-ok", "ok"), ("bundle-unrecorded", "warning")]


def test_a_bundle_beyond_its_limits(hand_made_bundle: Path) -> None:
    found = check_bundle(hand_made_bundle, CPU, limits=ChildLimits(60.0, 32 << 20))  # an interpreter needs more
    assert [one.code for one in found] == ["bundle-ok", "bundle-resources"]


@pytest.mark.parametrize("providers", [[], [("onnxruntime", "cuda")]])
def test_nothing_to_run_it_on(hand_made_bundle: Path, providers: list[tuple[str, str]]) -> None:
    found = check_bundle(hand_made_bundle, providers)
    assert found[0].code == "bundle-ok" and found[1].code in ("bundle-untried", "bundle-resources")


def test_another_digest_than_expected(hand_made_bundle: Path) -> None:
    assert check_bundle(hand_made_bundle, CPU, expect_digest="sha256:" + "0" * 64)[0].code == "bundle-digest"
