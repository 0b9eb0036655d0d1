"""``lsts-edge data davis``: an official DAVIS 2016 folder to one COCO-VID style file in five groups."""

from __future__ import annotations

from pathlib import Path

import click

from lsts_edge.cli.data.tell import tell_written
from lsts_edge.cli.group import examples
from lsts_edge.cli.show_progress import rewritten_line

__all__ = ["command"]


@click.command(
    "davis",
    short_help="DAVIS 2016 to annotations.",
    epilog=examples(
        "lsts-edge data davis DAVIS --output davis/train.json",
        "lsts-edge data davis DAVIS --split val --output davis/val.json",
        "lsts-edge train --data davis/train.json --output lite.safetensors --steps 800",
    ),
)
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="JSON; pictures stay where they are.")
@click.option("--split", type=click.Choice(["train", "val"]), default="train", show_default=True,
              help="The official one.")  # fmt: skip
@click.option("--resolution", type=click.Choice(["480p", "1080p"]), default="480p", show_default=True,
              help="Of pictures and masks.")  # fmt: skip
def command(root: Path, output: Path, split: str, resolution: str) -> None:
    """Read DAVIS 2016 in ROOT (JPEGImages, Annotations, ImageSets) and write a box around each mask.

    The 50 sequences are put into person, rider, vehicle, bird and quadruped, the classes of lsts-lite.
    """
    import sys

    from lsts_edge.datasets.davis import convert_davis
    from lsts_edge.datasets.publish_json import check_output, publish_json

    check_output(output)
    with rewritten_line(sys.stderr) as progress:
        content = convert_davis(root, output, split=split, resolution=resolution, progress=progress)  # type: ignore[arg-type]
    publish_json(content, output)
    tell_written(output, content)
