"""``lsts-edge doctor``: what is wrong with this machine, a bundle or a source, and what to do about it."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from lsts_edge import __version__
from lsts_edge.cli.group import examples, json_option, trusted_key_option
from lsts_edge.cli.show_progress import rewritten_line

if TYPE_CHECKING:
    from lsts_edge.doctor import Finding

__all__ = ["command"]

SCHEMA = 1
_COLOURS = {"ok": "green", "note": None, "warning": "yellow", "error": "red"}
_WIDEST_NAME, _NARROWEST, _WIDEST = 34, 60, 140
_ARROW = "-> "


@click.command(
    "doctor",
    short_help="Check this machine, a bundle or a source; print the fix of each finding.",
    epilog=examples(
        "lsts-edge doctor",
        "lsts-edge doctor --bundle demo/bundle",
        "lsts-edge doctor --source rtsp://USER:PASSWORD@camera/stream --source-option rtsp_transport=udp",
        "lsts-edge doctor --source /dev/video0 --json",
    ),
)
@click.option("--bundle", type=click.Path(), help="Verify this bundle and run its recorded clip on what works here.")
@click.option("--source", metavar="SOURCE", help="Open this file, folder, pipe, camera or URL and watch it.")
@click.option("--source-option", "pairs", metavar="KEY=VALUE", multiple=True, help="Of the source; repeat. As for run.")
@click.option("--expect-digest", metavar="SHA256", help="The bundle must have this digest.")
@trusted_key_option
@json_option
def command(
    bundle: str | None, source: str | None, pairs: tuple[str, ...], expect_digest: str | None, as_json: bool
) -> None:
    """Look at engines and what they really run, op library, decoders, cameras, clocks, power, cache and telemetry.

    Providers are tried in child processes, so that a driver that crashes is a finding. Nothing on the machine is
    changed, and nothing printed holds a password. Exit status 1 where a finding is an error, 0 otherwise;
    docs/doctor.md lists the codes and the keys of --json.
    """
    from lsts_edge.doctor import examine_bundle, examine_machine, examine_source
    from lsts_edge.errors import OptionError
    from lsts_edge.runtime.sources.options import SourceOptions

    for name, given, other, value in (
        ("--source-option", pairs, "--source", source),
        ("--expect-digest", expect_digest, "--bundle", bundle),
    ):
        if given and value is None:
            raise OptionError(name, got=f"no {other}", expected=f"{other} with it", fix=f"Add {other}.")
    options = SourceOptions().with_pairs(pairs)
    groups: list[tuple[str, list[Finding]]] = []
    with rewritten_line(sys.stderr) as progress:
        groups.append(("This machine", examine_machine(progress)))
        if bundle is not None:
            progress("bundle")
            groups.append(("Bundle", examine_bundle(bundle, groups[0][1], expect_digest=expect_digest)))
        if source is not None:
            progress("source")
            groups.append(("Source", examine_source(source, options)))
    found = [finding for _, group in groups for finding in group]
    if as_json:
        click.echo(json.dumps(_report(found), indent=2))
    else:
        for title, group in groups:
            click.secho(f"\n{title}" if title != "This machine" else title, bold=True)
            for line in _lines(group):
                click.echo(line)
        click.echo(f"\n{_verdict(found)}")
    sys.exit(any(finding.level == "error" for finding in found))


def _report(found: Sequence[Finding]) -> dict[str, object]:
    from lsts_edge.doctor.finding import LEVELS

    worst = max((finding.level for finding in found), key=LEVELS.index)
    return {
        "schema": SCHEMA,
        "lsts_edge": __version__,
        "worst": worst,
        "findings": [finding.to_dict() for finding in found],
    }


def _lines(found: Sequence[Finding]) -> Iterator[str]:
    """A row for each finding: its level, what was looked at and what was there; below, where there is one, the fix."""
    width = min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)
    column = min(max(len(finding.what) for finding in found), _WIDEST_NAME)
    indent = " " * (9 + column + 2)
    for finding in found:
        level = click.style(finding.level.ljust(9), fg=_COLOURS[finding.level])
        got = _wrapped(finding.got, width - len(indent))
        if len(finding.what) > column:
            yield level + finding.what
        else:
            yield level + finding.what.ljust(column + 2) + got.pop(0)
        yield from (indent + line for line in got)
        if finding.fix:
            fix = _wrapped(finding.fix, width - len(indent) - len(_ARROW))
            yield from (indent + (_ARROW if index == 0 else "   ") + line for index, line in enumerate(fix))


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of a text; paths and options stay whole, so that they can be copied."""
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False) or [""]


def _verdict(found: Sequence[Finding]) -> str:
    counts = Counter(finding.level for finding in found)
    told = [f"{counts[level]} {level}{'s' if counts[level] != 1 else ''}" for level in ("error", "warning", "note")]
    text = ", ".join(told)
    if counts["error"]:
        return click.style(f"{text}: not everything works", fg="red")
    if counts["warning"]:
        return click.style(f"{text}: it works, and could work better", fg="yellow")
    return click.style(f"{text}: all is well", fg="green")
