"""A parameter file of the released MXNet code as a network of ours, and what of it went where."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lsts_edge.errors import CheckpointError
from lsts_edge.model.build import bare_network
from lsts_edge.model.checkpoint import load_state
from lsts_edge.model.mxnet_names import TEST_COPIES, mxnet_names, to_state
from lsts_edge.model.mxnet_params import read_params
from lsts_edge.model.network import VideoNetwork
from lsts_edge.presets import ModelPreset

__all__ = ["MxnetFile", "MxnetFit"]


@dataclass(frozen=True)
class MxnetFit:
    """Names of a file beside those of a network.

    Attributes:
        parts: part of the network -> (tensors found, tensors it has).
        copies: arrays for inference that repeat others: checked against them and left out.
        missing: arrays that the network needs and the file lacks.
        left_over: arrays that the network has no place for.
    """

    parts: Mapping[str, tuple[int, int]]
    copies: tuple[str, ...]
    missing: tuple[str, ...]
    left_over: tuple[str, ...]

    @property
    def mapped(self) -> int:
        """Arrays that have a place."""
        return sum(found for found, _ in self.parts.values())


class MxnetFile:
    """A ``.params`` file, read for a preset.

    Args:
        path: the file.
        preset: what the file's network is.

    Raises:
        CheckpointError: if the file is damaged, or the released code has no such network.
    """

    def __init__(self, path: Path, preset: ModelPreset) -> None:
        if not path.is_file():
            raise CheckpointError("no checkpoint", got=str(path), expected="a file", fix="Check the path.")
        self._bare = bare_network(preset)
        names = mxnet_names(self._bare)
        self._arrays = read_params(path)
        self.name = path.name
        with path.open("rb") as stream:
            self.sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        self.fit = _fit(self._arrays, names)

    def network(self) -> VideoNetwork:
        """The network with the file's weights, on the CPU and in evaluation mode.

        Raises:
            CheckpointError: if arrays are missing, left over or of another shape, or copies disagree.
        """
        state, problems = to_state(self._arrays, self._bare)
        load_state(self._bare, state, source=self.name, problems=problems)
        return self._bare.eval()


def _fit(arrays: Mapping[str, np.ndarray], names: Mapping[str, str]) -> MxnetFit:
    wanted = Counter(map(_part, names))
    found = Counter(_part(ours) for ours, theirs in names.items() if theirs in arrays)
    theirs = set(names.values())
    return MxnetFit(
        {part: (found[part], count) for part, count in wanted.items()},
        tuple(name for name in TEST_COPIES if name in arrays),
        tuple(name for name in names.values() if name not in arrays),
        tuple(name for name in arrays if name not in theirs and name not in TEST_COPIES),
    )


def _part(name: str) -> str:
    """``backbone.conv5`` or ``head``."""
    words = name.split(".")
    return ".".join(words[:2]) if words[0] == "backbone" else words[0]
