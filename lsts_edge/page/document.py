"""HTML that needs no other file and no network: the page around its parts, tables, folds and pictures."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

__all__ = ["COLORS", "Table", "escaped", "fact_tiles", "figure", "folded", "page", "picture", "table"]

COLORS = """
:root { color-scheme: light dark; --ink: #1f2328; --pale: #59636e; --faint: #d1d9e0; --soft: #f6f8fa; --paper: #fff;
  --mark: #cf222e; --link: #0969da; --g0: #0072b2; --g1: #d55e00; --g2: #009e73; --g3: #d0427a; --g4: #a6761d;
  --g5: #6f42c1; --g6: #6e7781 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --pale: #9198a1; --faint: #3d444d; --soft: #151b23;
  --paper: #0d1117; --mark: #ff7b72; --link: #4493f8; --g0: #4ea8de; --g1: #ff8c42; --g2: #2fc79a; --g3: #ff7eb6;
  --g4: #d9b25f; --g5: #b392f0; --g6: #9198a1 } }
"""
"""Of page and plots: what a plot shows by group is ``--g0`` to ``--g6``."""

_STYLE = """
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1160px;
  margin: auto; padding: 28px 20px 60px }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 6px; overflow-wrap: anywhere }
h2 { font-size: 20px; margin: 40px 0 8px; border-bottom: 1px solid var(--faint) }
h3 { font-size: 16px; margin: 22px 0 6px }
p { margin: 6px 0 10px; max-width: 52em; overflow-wrap: anywhere }
a { color: var(--link) }
.note, figcaption { color: var(--pale); font-size: 13.5px }
.lead { font-size: 18px }
.warn { border-left: 4px solid var(--mark); background: var(--soft); padding: 8px 12px; margin: 10px 0 }
pre { background: var(--soft); padding: 10px 12px; border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere }
.facts { display: flex; flex-wrap: wrap; gap: 10px; margin: 14px 0 }
.facts div { background: var(--soft); border: 1px solid var(--faint); border-radius: 8px; padding: 8px 14px;
  flex: 1 1 150px }
.facts b { display: block; font-size: 22px; line-height: 1.3 }
.facts span { color: var(--pale); font-size: 13px }
.wide { overflow-x: auto }
table { border-collapse: collapse; margin: 8px 0 14px; font-size: 13.5px; font-variant-numeric: tabular-nums }
th, td { padding: 3px 10px; border-bottom: 1px solid var(--faint); text-align: right; white-space: nowrap }
th { background: var(--soft); vertical-align: bottom; white-space: normal }
th:first-child, td:first-child { text-align: left }
td.long { white-space: normal; text-align: left; min-width: 16em }
.text td:last-child, .text th:last-child { text-align: left; white-space: normal; overflow-wrap: anywhere }
tr.strong td { font-weight: 650 }
tr:hover td { background: var(--soft) }
details { margin: 8px 0 }
summary { cursor: pointer; padding: 4px 0 }
summary h2 { display: inline; border: 0; font-size: 16px; font-weight: 600 }
figure { margin: 12px 0 20px }
figure svg, figure img { max-width: 100%; height: auto; display: block }
figure.paper { overflow-x: auto } figure.paper svg { background: #fff; max-width: none }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); gap: 14px }
.sheet figure { margin: 0 }
.sheet svg { width: 100%; background: var(--soft) }
.narrow-only { display: none }
@media (max-width: 640px) { .narrow-only { display: block } .wide-only { display: none }
  body { padding: 18px 12px 40px } h1 { font-size: 22px } .lead { font-size: 16px } th, td { padding: 3px 7px }
  td.long { min-width: 12em } td:first-child { white-space: normal; min-width: 8em } }
"""
_LONG_CELL = 50  # characters that fit on one line beside other columns
_FOLD_FROM_ROWS = 9


@dataclass(frozen=True)
class Table:
    """Cells of plain text under a head; ``strong`` are numbers of the rows that stand out."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    strong: frozenset[int] = frozenset()


def escaped(text: str) -> str:
    """Text as HTML and SVG may hold it: no markup, nothing that cannot be printed."""
    return html.escape("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text))


def page(title: str, body: Iterable[str]) -> str:
    """A whole document around parts that are HTML already; ``title`` is text."""
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f"{meta}<title>{escaped(title)}</title><style>{COLORS}{_STYLE}</style>"
    lines = "\n".join(body)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{lines}\n</body></html>\n'


def table(content: Table, *, caption: str = "", fold: bool | None = None) -> str:
    """A table that scrolls sideways where it must.

    Args:
        content: what it shows.
        caption: text above it.
        fold: show only the caption and how many rows there are until asked; None folds long ones.
    """
    head = "".join(f"<th>{escaped(cell)}</th>" for cell in content.header)
    starts = ('<tr class="strong">' if index in content.strong else "<tr>" for index in range(len(content.rows)))
    rows = [f"{start}{''.join(map(_cell, row))}</tr>" for start, row in zip(starts, content.rows, strict=True)]
    kind = ' class="text"' if len(content.header) == 2 else ""
    inner = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    text = f'<div class="wide"><table{kind}>{inner}</table></div>'
    if len(rows) >= _FOLD_FROM_ROWS if fold is None else fold:
        return folded(f"{caption or content.header[0]} ({len(rows)} rows)", text)
    return f"<h3>{escaped(caption)}</h3>{text}" if caption else text


def fact_tiles(facts: Iterable[tuple[str, str]]) -> str:
    """What is read first: each a figure and what it is of."""
    tiles = (f"<div><b>{escaped(figure)}</b><span>{escaped(about)}</span></div>" for figure, about in facts)
    return f'<div class="facts">{"".join(tiles)}</div>'


def folded(summary: str, body: str, *, heading: str = "") -> str:
    """What is shown on demand: ``body`` is HTML, ``summary`` text, in a ``heading`` such as ``h2``."""
    head = f"<{heading}>{escaped(summary)}</{heading}>" if heading else escaped(summary)
    return f"<details><summary>{head}</summary>{body}</details>"


def figure(draw: Callable[[int], str], caption: str) -> str:
    """A plot drawn twice, for wide and for narrow screens: a scaled one could not be read.

    Args:
        draw: gives SVG of a width in pixels.
        caption: text below it.
    """
    wide, narrow = (
        f'<div class="{kind}-only">{draw(width)}</div>' for kind, width in (("wide", 1100), ("narrow", 370))
    )
    return f"<figure>{wide}{narrow}<figcaption>{escaped(caption)}</figcaption></figure>"


def picture(content: bytes, kind: str) -> str:
    """A data URI of a picture; ``kind`` is ``png`` or ``jpeg``."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _cell(text: str) -> str:
    kind = ' class="long"' if len(text) > _LONG_CELL else ""
    return f"<td{kind}>{escaped(text)}</td>"
