"""Curves of a run for TensorBoard: losses, rates, gradient and speed by step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lsts_edge.errors import FileUnwritable

__all__ = ["Curves"]


class Curves:
    """Writes event files into a folder; a resumed run hides what the interrupted one had written beyond its start.

    Args:
        folder: made if need be.
        step: steps done already.

    Raises:
        FileUnwritable: if it cannot be written.
        ModuleNotFoundError: without the extra ``tensorboard``.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = SummaryWriter(str(folder), purge_step=step + 1)
        except OSError as error:
            expected = "a folder that can be written"
            raise FileUnwritable(f"logs {folder}", got=str(error), expected=expected, fix="Choose another.") from error

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Points of that many curves, at a step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """No more points."""
        self._writer.close()
