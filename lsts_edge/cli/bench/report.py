"""``lsts-edge bench report``: one page from stored results, and the README's table and plot."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lsts_edge.cli.group import examples, json_option
from lsts_edge.errors import FileUnwritable, OptionError

__all__ = ["command"]

_FILE = click.Path(path_type=Path)


@click.command(
    "report",
    short_help="One page from stored results.",
    epilog=examples(
        "lsts-edge bench report benchmarks/results/*.json --output report.html --markdown report.md",
        "lsts-edge bench report benchmarks/results/*.json --readme README.md --tables docs/benchmarks.md",
    ),
)
@click.argument("results", type=_FILE, nargs=-1, required=True)
@click.option("--output", type=_FILE, help="Write the HTML page here.")
@click.option("--markdown", type=_FILE, help="Write the same tables here as Markdown.")
@click.option("--picture", "pictures", type=_FILE, multiple=True, help="PNG or JPEG to show at the top of the page.")
@click.option(
    "--readme", type=_FILE, help="Put the answer and a short table between the bench marks of this file, plots beside."
)
@click.option("--tables", type=_FILE, help="Put targets and all tables between the marks of this file.")
@json_option
def command(
    results: tuple[Path, ...],
    output: Path | None,
    markdown: Path | None,
    pictures: tuple[Path, ...],
    readme: Path | None,
    tables: Path | None,
    as_json: bool,
) -> None:
    """Make a report of RESULTS (JSON files of bench), which must come from one device.

    Those of wrapped detectors (wrap-NAME.json) have tables of their own and are left out.
    """
    from lsts_edge.benchmarks.readme import update_document, update_readme
    from lsts_edge.benchmarks.report import report_html, report_markdown
    from lsts_edge.benchmarks.results import read_result
    from lsts_edge.benchmarks.wrap_result import is_wrap_result

    if output is None and markdown is None and readme is None and tables is None:
        fix = "Give --output report.html, --markdown, --readme or --tables."
        raise OptionError("report", got="nowhere to write", expected="an output", fix=fix)
    found = [read_result(path) for path in results if not is_wrap_result(path)]
    written = []
    if output is not None:
        _write(output, report_html(found, pictures))
        written.append(output)
    if markdown is not None:
        _write(markdown, report_markdown(found))
        written.append(markdown)
    if readme is not None:
        written += update_readme(readme, found)
    if tables is not None:
        written.append(update_document(tables, found))
    if as_json:
        click.echo(json.dumps({"results": len(found), "written": [str(path) for path in written]}))
        return
    click.echo(f"report of {len(found)} results written: {', '.join(str(path) for path in written)}")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FileUnwritable(
            f"report {path}", got=error.strerror, expected="a writable place", fix="Choose another path."
        ) from error
