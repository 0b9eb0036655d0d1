"""What commands share: a group that imports a command only when it is called, ``--json``, and examples in help."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

__all__ = ["LazyGroup", "examples", "interval_option", "json_option", "trusted_key_option"]


def _trust(context: click.Context, parameter: click.Parameter, files: tuple[str, ...]) -> None:
    from lsts_edge.bundle.trust import trusting

    context.with_resource(trusting(files))


trusted_key_option = click.option(
    "--trusted-key",
    metavar="PEM",
    multiple=True,
    expose_value=False,
    callback=_trust,
    help="Refuse bundles that this Ed25519 public key has not signed; repeat for several keys.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


def _whole(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    return int(value) if value is not None and value.is_integer() else value


interval_option = click.option(
    "--keyframe-interval",
    type=float,
    callback=_whole,
    help="Frames from one keyframe to the next; 2.5 is 2 and 3 in turn [default: the bundle's].",
)


def examples(*lines: str) -> str:
    """An ``epilog=`` for a click command: example command lines, each on its own line, unwrapped."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


class LazyGroup(click.Group):
    """A click group whose help needs no import of its commands.

    Args:
        commands: command name -> (module, one line of help); the module's ``command`` is the click command.
        **attributes: as for ``click.Group``.
    """

    def __init__(self, *, commands: Mapping[str, tuple[str, str]], **attributes: Any) -> None:
        super().__init__(**attributes)
        self._lazy = dict(commands)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return its ``command``; None if there is no such command."""
        if cmd_name not in self._lazy:
            return None
        module, _ = self._lazy[cmd_name]
        found = importlib.import_module(module).command
        assert isinstance(found, click.Command), f"{module}.command is no click command"
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._lazy.items()])
