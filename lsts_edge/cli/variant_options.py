"""The options that change a preset: ``--alignment``, ``--light-scale`` and, for everything else, ``--variant``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from lsts_edge.errors import OptionError

__all__ = ["choices_of", "variant_options"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def variant_options(command: _Command) -> _Command:
    """Add the three options to a command."""
    for option in (
        click.option(
            "--variant",
            "variants",
            multiple=True,
            metavar="NAME=VALUE",
            help="A choice of docs/network.md: row=d, say.",
        ),
        click.option("--alignment", metavar="NAME", help="What aligns the memory: lsts, match-trans, copy ..."),
        click.option(
            "--light-scale", type=float, help="Image side of the light path: 0.5 or 1 [default: the preset's]."
        ),
    ):
        command = option(command)
    return command


def choices_of(variants: tuple[str, ...], alignment: str | None, light_scale: float | None) -> dict[str, Any]:
    """What ``lsts_edge.variants.varied`` takes.

    Raises:
        OptionError: if one is no NAME=VALUE, or its value cannot be read.
    """
    from lsts_edge.variants import parse_choices

    words = {}
    for text in variants:
        name, equals, value = text.partition("=")
        if not equals:
            raise OptionError("--variant", got=repr(text), expected="NAME=VALUE", fix="Write row=d, say.")
        words[name] = value
    choices = parse_choices(words)
    if alignment is not None:
        choices["alignment"] = alignment
    if light_scale is not None:
        choices["light_scale"] = light_scale
    return choices
