"""The alignment that a preset names."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from lsts_edge.model.alignments.flow_net import FlowNetS
from lsts_edge.model.alignments.flow_warp import FlowWarp, dis_flow
from lsts_edge.model.alignments.keep import Keep
from lsts_edge.model.alignments.match_trans import MatchTrans
from lsts_edge.model.alignments.non_local import NonLocal
from lsts_edge.model.lsts import LstsAlignment
from lsts_edge.presets import ModelPreset

__all__ = ["make_alignment"]


def make_alignment(preset: ModelPreset) -> nn.Module | None:
    """An untrained ``Alignment``; None for a per-frame detector and for the alignment ``none``."""
    if preset.lsts is None or preset.alignment == "none":
        return None
    lsts = preset.lsts
    makers: dict[str, Callable[[], nn.Module]] = {
        "lsts": lambda: LstsAlignment(lsts),
        "non-local": NonLocal,
        "match-trans": lambda: MatchTrans(lsts.normalization),
        "flow-warp": lambda: FlowWarp(dis_flow),
        "flow-warp-net": lambda: FlowWarp(FlowNetS()),
        "copy": Keep,
    }
    return makers[preset.alignment]()
