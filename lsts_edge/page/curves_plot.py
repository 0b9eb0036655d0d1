"""How a quality falls with whole steps, one curve each, named at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lsts_edge.page.axes import Axes, svg_text, text_width_px
from lsts_edge.page.document import escaped

__all__ = ["Curve", "curves_plot"]

_LINE_PX = 15


@dataclass(frozen=True)
class Curve:
    """Points from left to right; None is a gap. ``strong`` curves are thicker."""

    name: str
    group: str
    points: Sequence[tuple[int, float | None]]
    strong: bool = False


def curves_plot(curves: Sequence[Curve], width_px: int, *, x_title: str, y_title: str) -> str:
    """SVG of the curves that have any value; at least one has."""
    curves = [curve for curve in curves if any(value is not None for _, value in curve.points)]
    values = [value for curve in curves for _, value in curve.points if value is not None]
    steps = [step for curve in curves for step, _ in curve.points]
    groups = tuple(dict.fromkeys(curve.group for curve in curves))
    room = max(max(values) - min(values), 0.02) * 0.08
    y_range = (min(values) - room, max(values) + room)
    right_px = round(max(text_width_px(curve.name) for curve in curves)) + 16
    x_range = (min(steps) - 0.2, max(max(steps), min(steps) + 1) + 0.2)
    axes = Axes(width_px, 330, x_range, y_range, x_title, y_title, groups, right_px=right_px, whole=True, legend=False)
    parts, ends = [], []
    for curve in curves:
        color, path, move = axes.color(curve.group), "", "M"
        dots = []
        for step, value in curve.points:
            if value is None:
                move = "M"
                continue
            x, y = axes.x(step), axes.y(value)
            path, move = f"{path}{move}{x:.1f} {y:.1f}", "L"
            told = escaped(f"{curve.name}: {value:.3f} at {step}")
            dots.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"><title>{told}</title></circle>')
        width = 3 if curve.strong else 1.5
        parts += [f'<path d="{path}" fill="none" stroke="{color}" stroke-width="{width}"/>', *dots]
        if curve.points[-1][0] == max(steps):
            ends.append((y, x, curve))
        else:
            parts.append(svg_text(x + 7, y - 7, curve.name, _kind(curve)))
    ends.sort(key=lambda end: end[0])
    for (y, x, curve), beside in zip(ends, _spread([y for y, _, _ in ends], axes.area.bottom), strict=True):
        left = axes.area.right + 8
        parts.append(f'<path class="leader" d="M{x:.1f} {y:.1f}L{left - 3} {beside:.1f}"/>')
        parts.append(svg_text(left, beside + 4, curve.name, _kind(curve)))
    return axes.svg(parts)


def _kind(curve: Curve) -> str:
    return "name chosen" if curve.strong else "name"


def _spread(ends_px: Sequence[float], lowest_px: float) -> list[float]:
    """The same places in order, moved as far as lines of text must be apart, none below the lowest."""
    places: list[float] = []
    for y in ends_px:
        places.append(max(y, places[-1] + _LINE_PX) if places else y)
    for index in range(len(places) - 1, -1, -1):
        below = places[index + 1] - _LINE_PX if index + 1 < len(places) else lowest_px
        places[index] = min(places[index], below)
    return places
