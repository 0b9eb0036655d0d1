"""Curves are drawn with gaps where nothing is defined, and their names stand apart."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

from lsts_edge.page.curves_plot import Curve, curves_plot

SVG = "{http://www.w3.org/2000/svg}"


def test_names_stand_apart_and_gaps_stay_gaps() -> None:
    curves = [Curve(f"way {index}", f"way {index}", [(0, 1.0), (1, None), (2, 0.5), (3, 0.5)]) for index in range(6)]
    curves.append(Curve("undefined", "undefined", [(0, None), (1, None)]))
    text = curves_plot(curves, 370, x_title="frames", y_title="agreement")
    root = ElementTree.fromstring(text)
    names = {node.text: node for node in root.iter(f"{SVG}text") if (node.text or "").startswith("way ")}
    assert len(names) == 6 and "undefined" not in text
    baselines = sorted(float(node.get("y", "")) for node in names.values())
    assert all(after - before >= 14 for before, after in itertools.pairwise(baselines))
    assert baselines[-1] < float(root.get("height", "")), "inside the picture, although all curves end at the bottom"
    paths = re.findall(r'<path d="(M[^"]*)" fill="none"', text)
    assert [path.count("M") for path in paths] == [2] * 6
    assert [path.count("L") for path in paths] == [1] * 6


def test_steps_are_whole() -> None:
    text = curves_plot([Curve("hold 2", "hold", [(0, 1.0), (1, 0.9)])], 1100, x_title="frames", y_title="agreement")
    pale = [
        node.text for node in ElementTree.fromstring(text).iter(f"{SVG}text") if node.get("text-anchor") == "middle"
    ]
    assert pale == ["0", "1"]
