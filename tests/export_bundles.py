"""Bundles exported from the small preset, and bundles damaged on purpose."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from lsts_edge.bundle import Bundle, write_bundle
from lsts_edge.presets import AggregationPreset, ConvLayer, ModelPreset, get_preset

__all__ = ["change_weight", "rewrite", "tiny_variants"]


def rewrite(bundle: Bundle, target: Path, change: Callable[[str, bytes], bytes]) -> Bundle:
    """A copy with other file contents and a manifest that hashes them: only a comparison can tell."""
    files: dict[str, bytes | Path] = {name: change(name, bundle.read(name)) for name in bundle.manifest.files}
    return write_bundle(target, bundle.manifest, files)


def change_weight(model_bytes: bytes, *, factor: float = 1.05) -> bytes:
    """The model with one entry of its largest weight changed by a few per cent of that weight's spread."""
    model = onnx.ModelProto.FromString(model_bytes)
    floats = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    tensor = max(floats, key=lambda candidate: int(np.prod(candidate.dims)))
    array = onnx.numpy_helper.to_array(tensor).copy()
    array.reshape(-1)[array.size // 2] += (factor - 1) * max(float(array.std()), 0.1)
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return model.SerializeToString()


def tiny_variants() -> dict[str, ModelPreset]:
    """The small preset in each form that programs or graphs differ for."""
    tiny = get_preset("lsts-tiny")
    concat = AggregationPreset(layers=(ConvLayer(3, 8), ConvLayer(1, 4), ConvLayer(1, 1)), form="concat")
    return {
        "released": tiny,
        "recursion": dataclasses.replace(tiny, recursion=0.6),
        "paper": dataclasses.replace(tiny, form="paper", aggregation=concat),
        "half": dataclasses.replace(tiny.resized(61, 93), light_scale=0.5),
        "per-frame": dataclasses.replace(tiny, lsts=None, transform=(), aggregation=None),
    }
