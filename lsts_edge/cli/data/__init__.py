"""``lsts-edge data``: training data from what one has; one file per kind."""

from __future__ import annotations

from lsts_edge.cli.group import LazyGroup

__all__ = ["command"]

command = LazyGroup(
    name="data",
    commands={
        "vid": ("lsts_edge.cli.data.vid", "ImageNet VID and DET to annotations."),
        "davis": ("lsts_edge.cli.data.davis", "DAVIS 2016 to annotations."),
        "render": ("lsts_edge.cli.data.render", "Figures in motion, with exact boxes."),
        "teach": ("lsts_edge.cli.data.teach", "Label clips by detectors as teachers."),
        "pack": ("lsts_edge.cli.data.pack", "A recipe's data, small enough to carry."),
    },
    help="Make training data; every file states its sources and licences.",
)
