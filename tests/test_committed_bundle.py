"""The bundle in ``examples/bundles``: of the committed weights, gated, small, and the same here as when it was made."""

from __future__ import annotations

import hashlib

import pytest
from conftest import ROOT

from lsts_edge.bundle import Bundle
from lsts_edge.publish.filming import FILM_NOTE
from lsts_edge.verify.compare import check_parity, verify_bundle
from lsts_edge.verify.golden import GOLDEN_FILE
from lsts_edge.verify.references import RecordedReference

PATH = ROOT / "examples" / "bundles" / "lsts-lite-int8"
MAX_MB = 24


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open(PATH)


def test_it_is_of_the_committed_weights_and_within_its_limits(bundle: Bundle) -> None:
    weights = ROOT / "examples" / "weights" / "lsts-lite.safetensors"
    assert bundle.manifest.weights.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    precision = bundle.manifest.precision
    assert precision is not None and precision.gate_held_out
    (chosen,) = (choice for choice in precision.choices if choice.chosen)
    assert chosen.passed and "int8" in chosen.lowered.values()
    assert chosen.drop_points is not None and chosen.drop_points <= precision.max_drop_points


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in PATH.rglob("*")) < MAX_MB * 1e6


def test_its_recording_is_a_proof(bundle: Bundle) -> None:
    """At least 100 compared boxes of three classes, in both kinds of frame, of scenes whose licence is beside them."""
    reference = RecordedReference(bundle)
    assert reference.weakness == ""
    counts = {"propagated": 0, "keyframe": 0}
    labels: set[int] = set()
    for frame in reference.frames():
        strong = frame.boxes.scores >= reference.limits.score_floor
        counts["propagated" if frame.kind == "propagated" else "keyframe"] += int(strong.sum())
        labels |= set(frame.boxes.labels[strong].tolist())
    assert sum(counts.values()) >= 100 and min(counts.values()) >= 10 and len(labels) >= 3
    assert "BSD-3-Clause" in bundle.read(FILM_NOTE).decode()
    assert bundle.manifest.files[GOLDEN_FILE].bytes < 400e3


def test_it_runs_without_a_compiler_too(bundle: Bundle) -> None:
    lsts = bundle.manifest.lsts
    assert lsts is not None and lsts.forms == ("custom", "taps")


def test_it_gives_here_what_was_recorded(bundle: Bundle) -> None:
    check_parity(verify_bundle(bundle, RecordedReference(bundle)))
