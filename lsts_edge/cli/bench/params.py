"""``lsts-edge bench params``: exact parameters and multiply-adds of a preset or a bundle, beside the paper's table."""

from __future__ import annotations

import json

import click

from lsts_edge.cli.group import examples, json_option, trusted_key_option
from lsts_edge.cli.variant_options import choices_of, variant_options
from lsts_edge.presets import get_preset, preset_names
from lsts_edge.variants import varied

__all__ = ["command"]


@click.command(
    "params",
    short_help="Parameters and multiply-adds, beside the paper's.",
    epilog=examples(
        "lsts-edge bench params --preset lsts-lite",
        "lsts-edge bench params --preset lsts-r101 --height 608 --width 1024",
        "lsts-edge bench params --preset lsts-r101 --alignment flow-warp-net --variant row=c",
        "lsts-edge bench params --bundle demo/bundle --json",
    ),
)
@click.option("--preset", metavar="NAME", help=f"One of {', '.join(preset_names())}.  [default: lsts-r101]")
@click.option("--bundle", type=click.Path(), metavar="DIR", help="Read the counts in a bundle's manifest instead.")
@click.option(
    "--height", "height_px", type=click.IntRange(32, 4096), help="Network input height instead of the preset's."
)
@click.option("--width", "width_px", type=click.IntRange(32, 4096), help="Network input width instead of the preset's.")
@trusted_key_option
@variant_options
@json_option
def command(
    preset: str | None,
    bundle: str | None,
    height_px: int | None,
    width_px: int | None,
    variants: tuple[str, ...],
    alignment: str | None,
    light_scale: float | None,
    as_json: bool,
) -> None:
    """Count every subgraph, the keyframe path and the propagated path."""
    from lsts_edge.benchmarks.parameters import size_of_bundle, size_of_preset

    choices = choices_of(variants, alignment, light_scale)
    if bundle is None:
        report = size_of_preset(varied(get_preset(preset or "lsts-r101").resized(height_px, width_px), choices))
    else:
        if preset is not None or height_px is not None or width_px is not None or choices:
            raise click.UsageError("--bundle states its own model and size: leave the other options out.")
        from lsts_edge.bundle import Bundle

        report = size_of_bundle(Bundle.open(bundle).manifest)
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.to_text())
