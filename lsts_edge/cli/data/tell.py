"""What the commands of ``data`` say at their end: what was left out and why, and what was written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

__all__ = ["tell_written"]


def tell_written(output: Path, content: Mapping[str, Any]) -> None:
    """Print a line for each reason to leave something out, and the last line, which states the result."""
    from lsts_edge.datasets.coco_video import CocoVideo

    for row in content["info"]["left_out"]:
        click.echo(f"left out: {row['count']} x {row['reason']}, the first {row['first']}", err=True)
    click.echo(f"written: {output}: {CocoVideo.counted(content)}")
