"""On the plot of a front no label covers another, every dot tells what it is, and text stays text."""

from __future__ import annotations

import itertools
import random
from xml.etree import ElementTree

import pytest

from lsts_edge.page.axes import Rectangle, label_places
from lsts_edge.page.front_plot import FrontPlot, Mark

WIDE_PX, NARROW_PX = 1100, 370


def _plot(seed: int, count: int, spread: float) -> FrontPlot:
    """Points along a rising front, crowded where ``spread`` is small, and as many below it."""
    draw = random.Random(seed)
    marks = []
    for number in range(count):
        ms, value = 1 + spread * number, 0.5 + 0.5 * number / count
        below = (ms * draw.uniform(1.0, 2.0), value * draw.uniform(0.6, 1.0))
        name = f"flow-boxes {number}, 448x256"
        marks.append(Mark(ms, value, number, name, name, "flow-boxes", value - 0.1, value + 0.1, True, number == 2))
        marks.append(Mark(*below, count + number, f"other {number}", f"told {number}", "hold"))
    return FrontPlot(marks, "ms", "agreement", value_line=0.7, line_name="0.7 asked for")


@pytest.mark.parametrize("width_px", [WIDE_PX, NARROW_PX])
@pytest.mark.parametrize(("count", "spread"), [(3, 1.0), (12, 0.3), (25, 0.02), (60, 0.001)])
def test_labels_cover_neither_each_other_nor_the_front(count: int, spread: float, width_px: int) -> None:
    plot = _plot(count, count, spread)
    axes, labels = plot.axes(width_px), plot.labels(width_px)
    places = [place for _, _, place in labels]
    assert all(axes.area.holds(place) for place in places)
    assert not [pair for pair in itertools.combinations(places, 2) if pair[0].meets(pair[1])]
    for mark in plot.front:
        x, y = axes.x(mark.ms), axes.y(mark.value)
        assert not any(place.left < x < place.right and place.top < y < place.bottom for place in places)
    assert {mark.number for mark, _, _ in labels} <= {mark.number for mark in plot.front}, "only the front is named"
    assert count > 12 or len(labels) == count, "where there is room, all of it"
    assert labels[0][0].chosen or not any(mark.chosen for mark, _, _ in labels)


def test_a_name_without_room_becomes_a_number() -> None:
    plot = _plot(1, 25, 0.02)
    texts = {text for _, text, _ in plot.labels(WIDE_PX)}
    assert "2  flow-boxes 2, 448x256" in texts, "the chosen one keeps its name"
    assert {text for _, text, _ in plot.labels(NARROW_PX)} <= {str(number) for number in range(25)}


def test_a_label_without_a_place_is_left_out() -> None:
    area = Rectangle(0, 0, 60, 40)
    first, second = label_places([(30, 25, "12"), (30, 25, "a name that is too long")], area, never=[], rather_not=[])
    assert first is not None and second is None


@pytest.mark.parametrize("width_px", [WIDE_PX, NARROW_PX])
def test_every_dot_is_inside_and_tells_what_it_is(width_px: int) -> None:
    plot = _plot(3, 12, 0.3)
    axes = plot.axes(width_px)
    for mark in plot.marks:
        x, y = axes.x(mark.ms), axes.y(mark.value)
        assert axes.area.holds(Rectangle(x, y, x, y))
    root = ElementTree.fromstring(plot.svg(width_px, alone=True))
    titles = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert sorted(titles) == sorted(mark.told for mark in plot.marks)


def test_hostile_names_are_text() -> None:
    name = '<script>alert("1")</script>\x00&\u202e'
    svg = FrontPlot([Mark(1, 0.5, 1, name, name, name, on_front=True)], name, name).svg(WIDE_PX, alone=True)
    root = ElementTree.fromstring(svg)
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))
    assert '<script>alert("1")</script>' in "".join(root.itertext())
    assert "\u202e" not in svg


def test_one_point_and_equal_points_can_be_drawn() -> None:
    for count in (1, 2):
        marks = [Mark(2.0, 1.0, number, "every-frame", "", "every-frame", on_front=True) for number in range(count)]
        ElementTree.fromstring(FrontPlot(marks, "ms", "agreement").svg(WIDE_PX))
    ElementTree.fromstring(FrontPlot(marks, "ms", "agreement", ms_line=0.5, line_name="budget").svg(NARROW_PX))
