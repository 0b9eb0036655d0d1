"""``lsts-edge data vid``: ImageNet VID and DET in their official layout to one COCO-VID style file."""

from __future__ import annotations

from pathlib import Path

import click

from lsts_edge.cli.data.tell import tell_written
from lsts_edge.cli.group import examples
from lsts_edge.cli.show_progress import rewritten_line

__all__ = ["command"]


@click.command(
    "vid",
    short_help="ImageNet VID and DET to annotations.",
    epilog=examples(
        "lsts-edge data vid ILSVRC2015 --det --output vid/train.json",
        "lsts-edge data vid ILSVRC2015 --split val --output vid/val.json",
        "lsts-edge train --data vid/train.json --preset lsts-r101 --output vid.safetensors --steps 120000",
    ),
)
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="JSON; pictures stay where they are.")
@click.option("--split", type=click.Choice(["train", "val"]), default="train", show_default=True,
              help="val is every frame of the validation videos.")  # fmt: skip
@click.option("--frames-per-video", type=int, default=15, show_default=True, help="Of a training video, spread evenly.")
@click.option("--context/--no-context", default=True, show_default=True,
              help="The frames 15, 10, 5 before and 5 after each of these too, for triplets.")  # fmt: skip
@click.option("--det", is_flag=True, help="Still images of DET with VID's 30 classes too.")
@click.option("--det-per-class", type=int, default=2000, show_default=True, help="Most of them for one class.")
def command(
    root: Path, output: Path, split: str, frames_per_video: int, context: bool, det: bool, det_per_class: int
) -> None:
    """Read ImageNet VID in ROOT (Data, Annotations, ImageSets as unpacked) and write annotations.

    Frames whose annotation is missing, broken or of another size are left out, and told.
    """
    import sys

    from lsts_edge.datasets.imagenet_vid import VidOptions, convert_vid
    from lsts_edge.datasets.publish_json import check_output, publish_json

    options = VidOptions(split, frames_per_video, context, det, det_per_class)  # type: ignore[arg-type]
    check_output(output)
    with rewritten_line(sys.stderr) as progress:
        content = convert_vid(root, output, options, progress)
    publish_json(content, output)
    tell_written(output, content)
