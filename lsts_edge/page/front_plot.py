"""Quality against time: every way a dot that tells more when pointed at, and the front of the best ones named."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from lsts_edge.page.axes import Axes, Rectangle, label_places, svg_text, text_width_px
from lsts_edge.page.document import escaped

__all__ = ["FrontPlot", "Mark"]

_NARROW_PX = 640
_RADIUS_PX = 4.5


@dataclass(frozen=True)
class Mark:
    """One way.

    Attributes:
        ms: its time, above 0.
        value: its quality; more is better.
        number: it has this number in the table beside the plot.
        name: written beside it, if it is on the front or chosen.
        told: shown when it is pointed at.
        group: its colour, told in the legend.
        low: lower end of the quality's interval; None where there is none.
        high: upper end.
        on_front: nothing as fast or faster is better.
        chosen: to be seen at once.
    """

    ms: float
    value: float
    number: int
    name: str
    told: str
    group: str
    low: float | None = None
    high: float | None = None
    on_front: bool = False
    chosen: bool = False


@dataclass(frozen=True)
class FrontPlot:
    """Ways as dots: time along, on a logarithmic axis, quality up.

    Attributes:
        marks: at least one.
        x_title: such as ``ms a frame``.
        y_title: what the quality is.
        value_line: a quality that was asked for.
        ms_line: a time that was asked for.
        line_name: of that line.
    """

    marks: Sequence[Mark]
    x_title: str
    y_title: str
    value_line: float | None = None
    ms_line: float | None = None
    line_name: str = ""

    @property
    def front(self) -> list[Mark]:
        """The marks on the front, the fastest first."""
        return sorted((mark for mark in self.marks if mark.on_front), key=lambda mark: mark.ms)

    def axes(self, width_px: int) -> Axes:
        """The plot's frame."""
        times = [mark.ms for mark in self.marks] + ([] if self.ms_line is None else [self.ms_line])
        ends = [value for mark in self.front for value in (mark.low, mark.high) if value is not None]
        values = [*(mark.value for mark in self.marks), *ends, *([] if self.value_line is None else [self.value_line])]
        low, high = min(values), max(values)
        room = max(high - low, 0.02) * 0.06
        groups = tuple(dict.fromkeys(mark.group for mark in self.marks))
        ratio = max(max(times) / min(times), 1.2) ** 0.06
        above = room if width_px < _NARROW_PX else 4 * room  # names of the best ways stand there
        x_range, y_range = (min(times) / ratio, max(times) * ratio), (low - room, high + above)
        height_px = 420 if width_px < _NARROW_PX else 520
        return Axes(
            width_px,
            height_px,
            x_range,
            y_range,
            self.x_title,
            self.y_title,
            groups,
            x_log=True,
            y_most=high + room / 2,
        )

    def labels(self, width_px: int) -> list[tuple[Mark, str, Rectangle]]:
        """What is written beside which mark, and where; numbers where names have no room."""
        axes = self.axes(width_px)
        named = [mark for mark in self.marks if mark.on_front or mark.chosen]
        front = sorted(named, key=lambda mark: (not mark.chosen, -mark.ms))  # the best have least room
        dots = {mark: _dot(axes, mark) for mark in self.marks}
        rather_not = [dot for mark, dot in dots.items() if mark not in front] + _front_line(axes, self.front)
        never = [*(dots[mark] for mark in front), *(place for _, place in self._lines(axes))]
        texts = [str(mark.number) if width_px < _NARROW_PX else f"{mark.number}  {mark.name}" for mark in front]
        points = [(axes.x(mark.ms), axes.y(mark.value), text) for mark, text in zip(front, texts, strict=True)]
        places = label_places(points, axes.area, never=never, rather_not=rather_not)
        found = [(mark, text, place) for mark, text, place in zip(front, texts, places, strict=True) if place]
        left = [mark for mark, place in zip(front, places, strict=True) if place is None]
        points = [(axes.x(mark.ms), axes.y(mark.value), str(mark.number)) for mark in left]
        taken = [*never, *(place for _, _, place in found)]
        places = label_places(points, axes.area, never=taken, rather_not=rather_not)
        return found + [(mark, str(mark.number), place) for mark, place in zip(left, places, strict=True) if place]

    def svg(self, width_px: int, *, alone: bool = False) -> str:
        """The picture; ``alone`` for a file of its own."""
        axes, area = self.axes(width_px), self.axes(width_px).area
        parts = []
        for path, place in self._lines(axes):
            parts.append(f'<path d="{path}" stroke="var(--pale)" stroke-dasharray="5 4"/>')
            parts.append(svg_text(place.left, place.bottom - 3, self.line_name, "pale name"))
        steps = "".join(f"H{axes.x(mark.ms):.1f}V{axes.y(mark.value):.1f}" for mark in self.front[1:])
        if self.front:
            first = self.front[0]
            start = f"M{axes.x(first.ms):.1f} {axes.y(first.value):.1f}"
            parts.append(f'<path d="{start}{steps}H{area.right}" fill="none" stroke="var(--pale)" stroke-width="1.5"/>')
        parts += [_drawn(axes, mark) for mark in sorted(self.marks, key=lambda mark: (mark.chosen, mark.on_front))]
        for mark, text, place in self.labels(width_px):
            x, y = axes.x(mark.ms), axes.y(mark.value)
            right = place.left > x
            near, middle = (place.left, "start") if right else (place.right, "end"), (place.top + place.bottom) / 2
            if abs(middle - y) > 14:
                parts.append(f'<path class="leader" d="M{x:.1f} {y:.1f}L{near[0]:.1f} {middle:.1f}"/>')
            kind = "name chosen" if mark.chosen else "name"
            parts.append(svg_text(near[0], middle + 4, text, kind, near[1]))
        return axes.svg(parts, alone=alone)

    def _lines(self, axes: Axes) -> list[tuple[str, Rectangle]]:
        """What was asked for: a line, and where its name stands."""
        area, width, found = axes.area, text_width_px(self.line_name), []
        if self.value_line is not None:
            y = axes.y(self.value_line)
            place = Rectangle(area.left + 4, y - 17, area.left + 4 + width, y - 2)
            found.append((f"M{area.left} {y:.1f}H{area.right}", place))
        if self.ms_line is not None:
            x = axes.x(self.ms_line)
            left = x - 4 - width if x + 4 + width > area.right else x + 4
            place = Rectangle(left, area.bottom - 18, left + width, area.bottom - 3)
            found.append((f"M{x:.1f} {area.top}V{area.bottom}", place))
        return found


def _dot(axes: Axes, mark: Mark) -> Rectangle:
    x, y, half = axes.x(mark.ms), axes.y(mark.value), _RADIUS_PX + 1
    return Rectangle(x - half, y - half, x + half, y + half)


def _front_line(axes: Axes, front: Sequence[Mark]) -> list[Rectangle]:
    """Its pieces, as thin rectangles."""
    pieces = []
    for mark, after in itertools.pairwise(front):
        x1, y1, x2, y2 = axes.x(mark.ms), axes.y(mark.value), axes.x(after.ms), axes.y(after.value)
        pieces += [Rectangle(x1, y1 - 1, x2, y1 + 1), Rectangle(x2 - 1, y2, x2 + 1, y1)]
    return pieces


def _drawn(axes: Axes, mark: Mark) -> str:
    """A dot; off the front a pale one, chosen with a ring."""
    x, y, color = axes.x(mark.ms), axes.y(mark.value), axes.color(mark.group)
    parts = [f"<g><title>{escaped(mark.told)}</title>"]
    if mark.on_front and mark.low is not None and mark.high is not None:
        parts.append(
            f'<path d="M{x:.1f} {axes.y(mark.high):.1f}V{axes.y(mark.low):.1f}" stroke="{color}" opacity=".45"/>'
        )
    if mark.chosen:
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="none" stroke="{color}" stroke-width="2"/>')
    opacity = "" if mark.on_front or mark.chosen else ' opacity=".38"'
    return "".join([*parts, f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS_PX}" fill="{color}"{opacity}/></g>'])
