"""Lowered graphs of a bundle in another export: the same graphs, the figures with them, and nothing but its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from export_bundles import change_weight, rewrite
from toy_data import write_toy_data

from lsts_edge.bundle import Bundle, DraftBundle
from lsts_edge.bundle.manifest import WeightsInfo
from lsts_edge.cli import main
from lsts_edge.errors import OptionError
from lsts_edge.export.exporter import export_model
from lsts_edge.model import random_network, save_checkpoint
from lsts_edge.presets import FIVE_GROUPS, get_preset
from lsts_edge.publish.network import load_network
from lsts_edge.publish.precision import plan_precision
from lsts_edge.publish.publish import publish
from lsts_edge.publish.reuse import reuse_precision


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(random_network(get_preset("lsts-tiny"), 3), path, {"licence": "none", "description": "random"})
    return path


@pytest.fixture(scope="module")
def lowered(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("lowered")
    toy = write_toy_data(folder, frames=12)
    plan = plan_precision("int8", FIVE_GROUPS, calibrate=toy, calibrate_sequences=["bird"])
    network, weights, _ = load_network(checkpoint)
    return publish(network, weights, folder / "b", forms=("gridsample",), frames=3, precision=plan).bundle


def exported(checkpoint: Path, *forms: str) -> DraftBundle:
    network, weights, _ = load_network(checkpoint)
    return export_model(network, weights, forms=forms)


def test_another_form_beside_the_same_graphs(lowered: Bundle, checkpoint: Path, tmp_path: Path) -> None:
    words = ["export", "--checkpoint", str(checkpoint), "--output", str(tmp_path / "b"), "--verify-frames", "3"]
    with pytest.raises(SystemExit) as left:
        main([*words, "--lsts-form", "gridsample", "--lsts-form", "taps", "--precision-from", str(lowered.path)])
    assert left.value.code == 0
    made = Bundle.open(tmp_path / "b")
    assert made.manifest.lsts is not None and made.manifest.lsts.forms == ("gridsample", "taps")
    graphs = [name for name in lowered.manifest.files if name.endswith(".onnx")]
    assert [name for name in graphs if made.read(name) != lowered.read(name)] == []
    assert {"keyframe.taps.onnx", "lsts_key.taps.onnx"} <= set(made.manifest.files)
    ours, theirs = made.manifest.precision, lowered.manifest.precision
    assert ours is not None and theirs is not None
    assert dataclasses.replace(ours, torch_tensor_error=0.0) == dataclasses.replace(theirs, torch_tensor_error=0.0)


def test_other_weights_are_refused(lowered: Bundle, checkpoint: Path) -> None:
    export = exported(checkpoint, "taps")
    other = WeightsInfo("file", "none", "others", file="other.safetensors", sha256="b" * 64)
    manifest = dataclasses.replace(export.manifest, weights=other)
    with pytest.raises(OptionError, match="--precision-from: got weights"):
        reuse_precision(dataclasses.replace(export, manifest=manifest), lowered)


def test_planted_fault_another_float32_graph_is_refused(lowered: Bundle, checkpoint: Path, tmp_path: Path) -> None:
    """The gate judged the lowered graphs beside the float32 ones of their bundle, and no others."""
    changed = rewrite(lowered, tmp_path / "b", lambda name, raw: change_weight(raw) if name == "head.onnx" else raw)
    with pytest.raises(OptionError, match=r"another head\.onnx"):
        reuse_precision(exported(checkpoint, "taps"), changed)


def test_a_float32_bundle_has_nothing_to_take(checkpoint: Path, tmp_path: Path) -> None:
    network, weights, _ = load_network(checkpoint)
    float32 = publish(network, weights, tmp_path / "b", frames=1).bundle
    with pytest.raises(OptionError, match="got float32 graphs only"):
        reuse_precision(exported(checkpoint, "taps"), float32)


def test_a_search_and_a_bundle_exclude_each_other(
    lowered: Bundle, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        f"export --checkpoint {checkpoint} --output {tmp_path / 'b'} --precision int8 --precision-from {lowered.path}"
    )
    with pytest.raises(SystemExit) as left:
        main(words.split())
    assert left.value.code == 2 and "expected one of them" in capsys.readouterr().err
