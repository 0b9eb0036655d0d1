"""The network to publish, from a checkpoint or from random weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lsts_edge.bundle.manifest import WeightsInfo
from lsts_edge.errors import OptionError
from lsts_edge.presets import ModelPreset, get_preset

if TYPE_CHECKING:
    from lsts_edge.model.network import VideoNetwork

__all__ = ["RANDOM", "LoadedNetwork", "load_network"]

RANDOM = "random"
"""In place of a checkpoint: random weights, for structure and latency."""


class LoadedNetwork(NamedTuple):
    """A network, what the manifest says of its weights, and the sequences that its training never saw."""

    network: VideoNetwork
    weights: WeightsInfo
    held_out: tuple[str, ...] = ()


def load_network(
    checkpoint: str | Path,
    *,
    preset: str | None = None,
    seed: int = 0,
    height_px: int | None = None,
    width_px: int | None = None,
    light_scale: float | None = None,
) -> LoadedNetwork:
    """The network of a checkpoint, or a random one, at an input size.

    Args:
        checkpoint: a file, or ``random``.
        preset: name; needed for ``random`` and for files that state none.
        seed: of random weights.
        height_px: input height; None keeps the preset's.
        width_px: input width.
        light_scale: of the image that the light path sees; None keeps the preset's, which weights were trained for.

    Raises:
        OptionError: if ``random`` comes without a preset, or a size or scale is out of range.
        CheckpointError: if the file does not fit.
    """
    if str(checkpoint) == RANDOM:
        if preset is None:
            raise OptionError(
                "random weights", got="no preset", expected="a preset's name", fix="Add --preset, such as lsts-tiny."
            )
        from lsts_edge.model import random_network

        chosen = _scaled(get_preset(preset).resized(height_px, width_px), light_scale)
        weights = WeightsInfo("random", "none: random numbers", "random weights", seed=seed)
        return LoadedNetwork(random_network(chosen, seed), weights)
    from lsts_edge.model import load_checkpoint
    from lsts_edge.model.build import rebuilt

    network, info = load_checkpoint(checkpoint, preset)
    held_out = info.held_out
    weights = WeightsInfo("file", info.licence, info.description or "not described", file=info.file, sha256=info.sha256)
    chosen = _scaled(network.preset.resized(height_px, width_px), light_scale)
    return LoadedNetwork(rebuilt(network, chosen), weights, held_out)


def _scaled(preset: ModelPreset, light_scale: float | None) -> ModelPreset:
    return preset if light_scale is None else dataclasses.replace(preset, light_scale=light_scale)
