"""What a bundle whose input size follows the video cannot hold, told before anything is traced."""

from __future__ import annotations

from collections.abc import Sequence

from lsts_edge.errors import ExportError
from lsts_edge.presets import ModelPreset

__all__ = ["check_open_size"]


def check_open_size(preset: ModelPreset, forms: Sequence[str]) -> None:
    """Refuse parts whose graphs hold constants of one size. Does nothing where the size is fixed.

    Raises:
        ExportError: naming the part.
    """
    if preset.input.resize != "shorter-side":
        return
    parts = {
        "alignment flow-warp-net": preset.lsts is not None and preset.alignment == "flow-warp-net",
        "LSTS form gridsample": "gridsample" in forms,
    }
    found = [part for part, there in parts.items() if there]
    if found:
        raise ExportError(
            "a bundle whose size follows the video",
            got=", ".join(found),
            expected="parts whose graphs hold no constants of one size",
            fix="Leave it out, or export at a fixed size.",
        )
