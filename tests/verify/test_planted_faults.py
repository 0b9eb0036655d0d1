"""Faults of an export that no digest can tell: the comparison with torch sees each of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from export_bundles import rewrite

from lsts_edge.bundle import Bundle, write_bundle
from lsts_edge.bundle.manifest import WeightsInfo
from lsts_edge.model import random_network
from lsts_edge.presets import get_preset
from lsts_edge.publish.publish import publish
from lsts_edge.verify.compare import verify_bundle
from lsts_edge.verify.references import FrameTruth, clip_images
from lsts_edge.verify.torch_reference import TorchReference

PRESET = dataclasses.replace(get_preset("lsts-tiny"))
WEIGHTS = WeightsInfo("random", "none", "random weights", seed=0)
FRAMES, INTERVAL = 9, 4


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return publish(random_network(PRESET, 0), WEIGHTS, tmp_path_factory.mktemp("right") / "bundle", frames=9).bundle


def reference() -> TorchReference:
    images = clip_images(FRAMES, PRESET.input.height_px, PRESET.input.width_px)
    return TorchReference(random_network(PRESET, 0), images, INTERVAL)


def matches(bundle: Bundle, truth: TorchReference) -> bool:
    return verify_bundle(bundle, truth, forms=("taps",), joined=(False,)).passed


def test_the_right_one_matches(bundle: Bundle) -> None:
    assert matches(bundle, reference())


def test_planted_fault_swapped_subgraphs(bundle: Bundle, tmp_path: Path) -> None:
    """Keyframes' aggregation where frames between them have theirs: other weights, the same names and shapes."""
    other = {tensor.name: tensor for tensor in _model(bundle.read("aggregate_key.onnx")).graph.initializer}

    def swapped(name: str, raw: bytes) -> bytes:
        if name != "aggregate_current.onnx":
            return raw
        model = _model(raw)
        for tensor in model.graph.initializer:
            assert tensor.dims == other[tensor.name].dims
            tensor.CopyFrom(other[tensor.name])
        return bytes(model.SerializeToString())

    assert not matches(rewrite(bundle, tmp_path / "wrong", swapped), reference())


def _model(raw: bytes) -> onnx.ModelProto:
    return onnx.ModelProto.FromString(raw)


@pytest.mark.parametrize("what", ["mean", "color_order"])
def test_planted_fault_other_preparation_of_the_image(tmp_path: Path, what: str) -> None:
    right = PRESET.input
    changes = {"mean": {"mean": tuple(value + 8.0 for value in right.mean)}, "color_order": {"color_order": "rgb"}}
    assert right.color_order == "bgr"
    other = dataclasses.replace(PRESET, input=dataclasses.replace(right, **changes[what]))
    network = random_network(other, 0)
    network.load_state_dict(random_network(PRESET, 0).state_dict(), strict=False)
    wrong = publish(network, WEIGHTS, tmp_path / "wrong", frames=FRAMES).bundle
    assert not matches(wrong, reference())


def test_planted_fault_keyframes_one_frame_late(bundle: Bundle) -> None:
    class Late(TorchReference):
        def frames(self) -> Iterator[FrameTruth]:
            kinds = [truth.kind for truth in super().frames()]
            for index, truth in enumerate(super().frames()):
                yield dataclasses.replace(truth, kind=kinds[max(0, index - 1)] if index > 1 else kinds[index])

    images = clip_images(FRAMES, PRESET.input.height_px, PRESET.input.width_px)
    assert not matches(bundle, Late(random_network(PRESET, 0), images, INTERVAL))


def test_planted_fault_a_memory_that_is_forgotten(bundle: Bundle, tmp_path: Path) -> None:
    """Keyframes run as the first frame does: what the memory held before is lost."""
    manifest = bundle.manifest
    programs = {**manifest.programs, "keyframe": manifest.programs["first"]}
    files: dict[str, bytes | Path] = {name: bundle.read(name) for name in manifest.files}
    wrong = write_bundle(tmp_path / "wrong", dataclasses.replace(manifest, programs=programs), files)
    assert not matches(wrong, reference())
