"""``lsts-edge data render``: figures of simple shapes in motion, with exact boxes, from a seed."""

from __future__ import annotations

from pathlib import Path

import click

from lsts_edge.cli.data.tell import tell_written
from lsts_edge.cli.group import examples
from lsts_edge.cli.show_progress import rewritten_line
from lsts_edge.cli.size_option import size_hw

__all__ = ["command"]


@click.command(
    "render",
    short_help="Figures in motion, with exact boxes.",
    epilog=examples(
        "lsts-edge data render --output rendered/ --videos 20 --frames 60 --seed 0",
        "lsts-edge data render --output blurred/ --videos 20 --seed 0 --blur 0.9",
        "lsts-edge train --data rendered/annotations.json --output figures.safetensors --steps 400",
    ),
)
@click.option("--output", required=True, type=click.Path(path_type=Path),
              help="Folder to make: annotations.json and pictures.")  # fmt: skip
@click.option("--videos", type=int, default=20, show_default=True, help="How many.")
@click.option("--frames", type=int, default=60, show_default=True, help="Of each.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same one gives the same set.")
@click.option("--size", default="448x256", show_default=True, metavar="WIDTHxHEIGHT", help="Of the pictures.")
@click.option("--speed", type=float, help="Own lengths a frame that figures move [default: drawn, .0006 to .13].")
@click.option("--blur", type=float, help="Share of a frame's time that the shutter is open [default: drawn, 0 to 1].")
@click.option("--occlusion", type=int, help="Things that stand before the figures [default: drawn, 0 to 4].")
@click.option("--camera", type=float, help="How much it pans, shakes and travels, 0 to 1 [default: drawn].")
def command(
    output: Path,
    videos: int,
    frames: int,
    seed: int,
    size: str,
    speed: float | None,
    blur: float | None,
    occlusion: int | None,
    camera: float | None,
) -> None:
    """Render videos of persons, riders, vehicles, birds and quadrupeds made of boxes, tubes and ellipsoids.

    What is fixed by an option changes nothing else: the same seed with another --blur is the same set, with other
    pictures and the same boxes. Needs the extra [render]; no GPU, no display.
    """
    import sys

    from lsts_edge.datasets.render.options import RenderOptions
    from lsts_edge.datasets.render.render_set import ANNOTATIONS, render_set

    height, width = size_hw(size)
    options = RenderOptions(videos, frames, seed, width, height, speed, blur, occlusion, camera)
    with rewritten_line(sys.stderr) as progress:
        content = render_set(options, output, progress)
    tell_written(output / ANNOTATIONS, content)
