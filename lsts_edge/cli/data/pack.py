"""``lsts-edge data pack``: a recipe and its data as a folder of a few MiB, to train from on another machine."""

from __future__ import annotations

from pathlib import Path

import click

from lsts_edge.cli.group import examples
from lsts_edge.cli.show_progress import rewritten_line

__all__ = ["command"]


@click.command(
    "pack",
    short_help="A recipe's data, small enough to carry.",
    epilog=examples(
        "lsts-edge data pack --recipe recipe.json --root data --output pack/",
        "lsts-edge data pack --recipe recipe.json --root data --output pack/ --mib 200 --quality 80",
        "lsts-edge train --recipe pack/recipe.json --root pack --output a.safetensors --minutes 8 --resume",
    ),
)
@click.option("--recipe", required=True, type=click.Path(path_type=Path), help="JSON, as 'train' takes it.")
@click.option("--root", default=".", show_default=True, type=click.Path(path_type=Path),
              help="Folder of the recipe's data.")  # fmt: skip
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder to make.")
@click.option("--mib", type=float, default=28.0, show_default=True, help="Most that all files together may take.")
@click.option("--quality", type=int, default=50, show_default=True, help="Of the WebP files, 1 to 100.")
def command(recipe: Path, root: Path, output: Path, mib: float, quality: int) -> None:
    """Copy a recipe with its data, images in the size that training reduces them to, as many as fit.

    The sources get the bytes by their shares, and of each sequence evenly spaced images are kept. What the recipe
    holds out, or may not take by its licence, is not packed. Train from it with: lsts-edge train --recipe
    OUTPUT/recipe.json --root OUTPUT.
    """
    import sys

    from lsts_edge.train.pack import PackOptions, pack_training, size_of_folder

    options = PackOptions(mib=mib, quality=quality)
    with rewritten_line(sys.stderr) as progress:
        packed = pack_training(recipe, root, output, options, progress)
    for one in packed:
        click.echo(
            f"{one.data}: {one.images} of {one.of_images} images, {one.sequences} of {one.of_sequences} sequences, "
            f"{one.size_bytes / 2**20:.2f} MiB"
        )
    images = sum(one.images for one in packed)
    size = size_of_folder(output) / 2**20
    click.echo(f"written: {output}: {images} images as WebP of quality {quality}, {size:.2f} MiB of {mib:g}")
