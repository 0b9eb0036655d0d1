"""The network to publish, from a checkpoint or from random weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lsts_edge.bundle.manifest import WeightsInfo
from lsts_edge.errors import OptionError
from lsts_edge.presets import ModelPreset, get_preset
from lsts_edge.variants import varied

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
    choices: Mapping[str, Any] | None = None,
    follows_video: bool = False,
) -> LoadedNetwork:
    """The network of a checkpoint, or a random one, at an input size.

    Args:
        checkpoint: a file, or ``random``.
        preset: name; needed for ``random`` and for files that state none.
        seed: of random weights.
        height_px: input height; None keeps the preset's.
        width_px: input width.
        choices: what ``varied`` changes in the preset; weights were trained for what their file states.
        follows_video: the input's size is the video's, scaled by the rule ``shorter-side``.

    Raises:
        OptionError: if ``random`` comes without a preset, or a size or choice is out of range.
        CheckpointError: if the file does not fit, or has not the parameters that a choice asks for.
    """
    if str(checkpoint) == RANDOM:
        if preset is None:
            raise OptionError(
                "random weights", got="no preset", expected="a preset's name", fix="Add --preset, such as lsts-tiny."
            )
        from lsts_edge.model import random_network

        chosen = _chosen(get_preset(preset), height_px, width_px, choices, follows_video)
        weights = WeightsInfo("random", "none: random numbers", "random weights", seed=seed)
        return LoadedNetwork(random_network(chosen, seed), weights)
    from lsts_edge.model.checkpoint import load_checkpoint, rebuilt

    network, info = load_checkpoint(checkpoint, preset)
    held_out = info.held_out
    weights = WeightsInfo("file", info.licence, info.description or "not described", file=info.file, sha256=info.sha256)
    chosen = _chosen(network.preset, height_px, width_px, choices, follows_video)
    return LoadedNetwork(rebuilt(network, chosen, info.file), weights, held_out)


def _chosen(
    preset: ModelPreset,
    height_px: int | None,
    width_px: int | None,
    choices: Mapping[str, Any] | None,
    follows_video: bool,
) -> ModelPreset:
    preset = varied(preset.resized(height_px, width_px), choices or {})
    return preset.by_shorter_side() if follows_video else preset
