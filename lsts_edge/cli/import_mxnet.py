"""``lsts-edge import-mxnet``: parameters of the released MXNet code become a checkpoint of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lsts_edge.cli.group import examples, json_option
from lsts_edge.cli.variant_options import choices_of, variant_options
from lsts_edge.errors import OptionError

if TYPE_CHECKING:
    from lsts_edge.model.mxnet_import import MxnetFit

__all__ = ["command"]

_TOLD = 20  # names of each kind


@click.command(
    "import-mxnet",
    short_help="Turn the released code's MXNet parameters into a checkpoint.",
    epilog=examples(
        "lsts-edge import-mxnet lsts_vid-0004.params --output lsts-r101.safetensors",
        "lsts-edge import-mxnet lsts_dcn-0004.params --output dcn.safetensors --variant deformable=true",
        "lsts-edge import-mxnet rfcn_vid-0002.params --output rfcn.safetensors --preset rfcn-r101",
        "lsts-edge import-mxnet uniform-0004.params --output uniform.safetensors --preset lsts-r101-uniform",
        "lsts-edge export --checkpoint lsts-r101.safetensors --output bundle",
    ),
)
@click.argument("params", metavar="FILE.params", type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Checkpoint to write (.safetensors).")
@click.option("--preset", default="lsts-r101", show_default=True, help="The file's network: one with ResNet-101.")
@variant_options
@click.option("--licence", default="not stated", show_default=True, help="Of the weights, put into the checkpoint.")
@click.option("--description", help="One line, put into the checkpoint [default: where it comes from].")
@json_option
def command(
    params: Path,
    output: Path,
    preset: str,
    light_scale: float | None,
    alignment: str | None,
    variants: tuple[str, ...],
    licence: str,
    description: str | None,
    as_json: bool,
) -> None:
    """Write FILE.params, which the paper's MXNet code has trained, as a checkpoint for export, train and evaluate.

    Prints how many arrays of each part of the network were found, and which are missing or left over. With any of
    these, or an array of another shape, nothing is written. Copies that the released code adds for inference are
    checked against what they repeat and left out.
    """
    from lsts_edge.model.checkpoint import save_checkpoint
    from lsts_edge.model.mxnet_import import MxnetFile
    from lsts_edge.presets import get_preset
    from lsts_edge.variants import varied

    if output.suffix != ".safetensors":
        fix = "Name the checkpoint so that other commands can read it."
        raise OptionError("--output", got=output.name, expected="a name ending in .safetensors", fix=fix)
    if not licence.strip():
        raise OptionError("--licence", got=repr(licence), expected="a text", fix="Leave it out if you do not know.")
    chosen = varied(get_preset(preset), choices_of(variants, alignment, light_scale))
    file = MxnetFile(params, chosen)
    if not as_json:
        for line in _lines(file.name, chosen.name, file.fit):
            click.echo(line)
    network = file.network()
    about = description or f"{chosen.name}, imported from {file.name} (MXNet)"
    metadata = {"licence": licence, "description": about, "source_file": file.name, "source_sha256": file.sha256}
    save_checkpoint(network, output, metadata)
    size = output.stat().st_size
    if as_json:
        told = {"written": str(output), "bytes": size, "preset": chosen.name, "sha256_of_source": file.sha256}
        told |= {"arrays": {part: found for part, (found, _) in file.fit.parts.items()}, "copies": file.fit.copies}
        click.echo(json.dumps(told, indent=2))
    else:
        click.echo(f"written: {output} ({size / 1e6:.1f} MB)")


def _lines(name: str, preset: str, fit: MxnetFit) -> Iterator[str]:
    yield f"{name} as {preset}: {fit.mapped} arrays mapped"
    for part, (found, wanted) in fit.parts.items():
        yield f"  {part:<18} {found:>4} of {wanted}"
    if fit.copies:
        yield f"copies for inference, left out: {', '.join(fit.copies)}"
    yield f"missing: {_some(fit.missing)}"
    yield f"left over: {_some(fit.left_over)}"


def _some(names: tuple[str, ...]) -> str:
    """The first of them; a file's names may hold anything."""
    told = ", ".join(ascii(name)[1:-1][:100] for name in names[:_TOLD])
    return told + (f" and {len(names) - _TOLD} more" if len(names) > _TOLD else "") or "none"
