"""The frame of a plot as SVG: scales, ticks, titles and a legend, and places for labels that cover nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lsts_edge.page.document import COLORS, escaped

__all__ = ["FONT_PX", "Axes", "Rectangle", "label_places", "svg_text", "text_width_px"]

FONT_PX = 12
_LINE_PX = 15
_GROUPS = 7
_EM = 0.62  # of an average character in the widest font that systems fall back to, bold or not
_STYLE = (
    ".plot text { font: 12px system-ui, sans-serif; fill: var(--ink) } .plot .pale { fill: var(--pale) }"
    " .plot .grid { stroke: var(--faint); stroke-width: 1 } .plot .leader { stroke: var(--pale); stroke-width: .6 }"
    " .plot .name { paint-order: stroke; stroke: var(--paper); stroke-width: 3px; stroke-linejoin: round }"
    " .plot .chosen { font-weight: 700 }"
)


@dataclass(frozen=True)
class Rectangle:
    """In pixels; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Rectangle) -> bool:
        """Whether they share more than an edge."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def holds(self, other: Rectangle) -> bool:
        """Whether the other lies inside."""
        across = self.left <= other.left and other.right <= self.right
        return across and self.top <= other.top and other.bottom <= self.bottom


@dataclass(frozen=True)
class Axes:
    """Two axes in a picture.

    Attributes:
        width_px: of the picture.
        height_px: likewise.
        x_range: values at the left and the right end.
        y_range: values at the lower and the upper end.
        x_title: what is along the horizontal axis.
        y_title: along the vertical one; written above it, so that no head must be turned.
        groups: names in the legend, in the order of their colours.
        x_log: whether equal ratios are equally far apart.
        y_most: no ticks above; above it is room for labels.
        right_px: kept free for labels.
        whole: whether the horizontal axis counts something.
        legend: whether the groups are named above the plot.
    """

    width_px: int
    height_px: int
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    x_title: str
    y_title: str
    groups: Sequence[str]
    x_log: bool = False
    y_most: float | None = None
    right_px: int = 14
    whole: bool = False
    legend: bool = True

    @property
    def area(self) -> Rectangle:
        """Where the marks are."""
        top = 18 + _LINE_PX * (2 + max((row for _, row, _ in self._legend()), default=-1))
        return Rectangle(44, top, self.width_px - self.right_px, self.height_px - 44)

    def x(self, value: float) -> float:
        """Pixels from the left."""
        low, high, at = ((math.log(v) if self.x_log else v) for v in (*self.x_range, value))
        return self.area.left + (at - low) / (high - low) * (self.area.right - self.area.left)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        low, high = self.y_range
        return self.area.bottom - (value - low) / (high - low) * (self.area.bottom - self.area.top)

    def color(self, group: str) -> str:
        """Of a group, as CSS."""
        return f"var(--g{self.groups.index(group) % _GROUPS})"

    def svg(self, marks: Iterable[str], *, alone: bool = False) -> str:
        """The picture; ``alone`` gives it the colours that a page would."""
        area, size = self.area, f"{self.width_px} {self.height_px}"
        parts = [f"<style>{COLORS if alone else ''}{_STYLE}</style>"]
        for name, row, left in self._legend():
            baseline = 14 + _LINE_PX * row
            parts.append(f'<circle cx="{left + 5:.1f}" cy="{baseline - 4}" r="4.5" fill="{self.color(name)}"/>')
            parts.append(svg_text(left + 14, baseline, name))
        for value in _ticks(self.y_range[0], self.y_most if self.y_most is not None else self.y_range[1]):
            y = self.y(value)
            parts.append(f'<path class="grid" d="M{area.left} {y:.1f}H{area.right}"/>')
            parts.append(svg_text(area.left - 6, y + 4, f"{value:g}", "pale", "end"))
        for value in self._x_ticks():
            x = self.x(value)
            parts.append(f'<path class="grid" d="M{x:.1f} {area.top}V{area.bottom}"/>')
            parts.append(svg_text(x, area.bottom + 16, f"{value:g}", "pale", "middle"))
        parts.append(svg_text(4, area.top - 8, self.y_title, "pale"))
        parts.append(svg_text(area.right, self.height_px - 8, self.x_title, "pale", "end"))
        head = f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {size}" width="{self.width_px}"'
        return f'{head} height="{self.height_px}" role="img">{"".join([*parts, *marks])}</svg>'

    def _x_ticks(self) -> list[float]:
        if self.x_log:
            return _log_ticks(*self.x_range)
        return _ticks(*self.x_range, most=self.width_px / 30, least_step=1.0 if self.whole else 0.0)

    def _legend(self) -> list[tuple[str, int, float]]:
        """Name, line and left edge of each group."""
        places, row, left = [], 0, 4.0
        for name in self.groups if self.legend else ():
            width = text_width_px(name) + 28
            if left > 4 and left + width > self.width_px:
                row, left = row + 1, 4.0
            places.append((name, row, left))
            left += width
        return places


def svg_text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    """A line of text: ``kind`` is among the plot's classes, ``y`` its baseline."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escaped(text)}</text>'


def text_width_px(text: str) -> float:
    """At most about so wide is a text in a plot."""
    return len(text) * FONT_PX * _EM


def label_places(
    points: Sequence[tuple[float, float, str]],
    area: Rectangle,
    *,
    never: Sequence[Rectangle],
    rather_not: Sequence[Rectangle],
) -> list[Rectangle | None]:
    """Where to write each point's text: near it, inside, over no other text, and over few marks.

    Args:
        points: x and y in pixels, and the text.
        area: that holds all labels.
        never: what no label may cover.
        rather_not: what is covered only where the way to a free place is longer.
    Returns:
        A place for each point; None where there is none.
    """
    placed: list[Rectangle] = []
    places: list[Rectangle | None] = []
    for x, y, text in points:
        width, best = text_width_px(text), None
        for step in range(16):
            for across, down in (
                (-8 - width, -9.0 - 9 * step),
                (8.0, -9.0 - 9 * step),
                (8.0, 9.0 + 9 * step),
                (-8 - width, 9.0 + 9 * step),
            ):
                place = Rectangle(x + across, y + down - 8, x + across + width, y + down + 7)
                if not area.holds(place) or any(map(place.meets, never)) or any(map(place.meets, placed)):
                    continue
                cost = 4 * step + 6 * sum(map(place.meets, rather_not)) + (3 if down > 0 else 0)
                if best is None or cost < best[0]:
                    best = (cost, place)
        places.append(best and best[1])
        placed += [best[1]] if best else []
    return places


def _ticks(low: float, high: float, most: float = 8, least_step: float = 0.0) -> list[float]:
    """Round values from low to high, at most so many."""
    step = 10.0 ** math.floor(math.log10(high - low)) / 10
    while (high - low) / step > most or step < least_step:
        step *= 2 if not str(f"{step:e}").startswith("2") else 2.5
    return [round(k * step, 10) for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Round values: powers of ten alone where there are more than three, and more of them the fewer there are."""
    factors: tuple[float, ...] = (
        (1,) if high > 1000 * low else (1, 2, 5) if high > 8 * low else (1, 1.5, 2, 3, 4, 5, 6, 8)
    )
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [value for power in powers for factor in factors if low <= (value := factor * 10.0**power) <= high]
