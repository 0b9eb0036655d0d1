"""Networks that align otherwise, or leave parts out, as bundles: every program equals torch with the state carried."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsts_edge.bundle.manifest import WeightsInfo
from lsts_edge.errors import ExportError
from lsts_edge.export.exporter import export_model
from lsts_edge.export.programs import programs_of
from lsts_edge.model import random_network
from lsts_edge.presets import get_preset
from lsts_edge.publish.publish import publish
from lsts_edge.variants import TABLE_2, varied

TINY = get_preset("lsts-tiny").resized(61, 93)
WEIGHTS = WeightsInfo("random", "none", "random weights", seed=1)


@pytest.mark.parametrize(
    ("choices", "state"),
    [
        ({}, ("task", "task_embedding")),
        ({"row": "a"}, ("task", "task_embedding")),
        ({"recurrent": True}, ("memory", "task", "task_embedding")),
        ({"recurrent": True, "srfu": "off"}, ("task", "task_embedding")),
        ({"alignment": "copy"}, ("task",)),
        ({"alignment": "none"}, ()),
        ({"alignment": "flow-warp-net"}, ("task", "picture")),
    ],
    ids=str,
)
def test_state_of_each_variant(choices: dict[str, object], state: tuple[str, ...]) -> None:
    assert programs_of(varied(TINY, choices)).state == state


def test_frames_that_do_not_look_run_no_light_path() -> None:
    for alignment in ("copy", "flow-warp-net"):
        steps = programs_of(varied(TINY, {"alignment": alignment, "row": "a"})).programs["propagated"]
        assert "light" not in [step.graph for step in steps]
    held = programs_of(varied(TINY, {"alignment": "copy", "row": "a"})).programs["propagated"]
    assert [step.graph for step in held] == ["head"]


VARIANTS = [
    {"alignment": "match-trans", "row": "c"},
    {"recurrent": True, "dfa": "mean"},
    *(
        pytest.param(choices, marks=pytest.mark.slow)
        for choices in (
            {"alignment": "non-local"}, {"alignment": "copy", "dfa": "mean"}, {"alignment": "none"}, {"row": "b"},
            {"recurrent": True, "srfu": "off", "dfa": "off"}, {"row": "d", "light_scale": 0.5},
            {"alignment": "flow-warp-net", "row": "f"}, {"alignment": "flow-warp-net", "row": "a"},
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize("choices", VARIANTS, ids=lambda choices: ",".join(f"{k}={v}" for k, v in choices.items()))
def test_every_variant_is_published(choices: dict[str, object], tmp_path: Path) -> None:
    """Split and joined graphs, over nine frames with three keyframes."""
    preset = varied(TINY, choices)
    published = publish(random_network(preset, 1), WEIGHTS, tmp_path / "bundle", frames=9)
    report, manifest = published.reports[0], published.bundle.manifest
    large = choices.get("alignment") == "flow-warp-net"  # joined graphs are for small networks
    assert report.passed and len(report.programs) == (1 if large else 2)
    assert manifest.preset == preset and (manifest.lsts is not None) is preset.samples
    assert {"feature", "task"} & set(report.programs[0].totals.tensor_errors)


@pytest.mark.parametrize(
    ("choices", "match"),
    [
        ({"alignment": "flow-warp"}, "DIS flow"),
        ({"alignment": "flow-warp-net", "recurrent": True}, "different pictures"),
    ],
)
def test_what_no_graph_can_do_is_refused_before_anything_is_traced(choices: dict[str, object], match: str) -> None:
    steps: list[str] = []
    with pytest.raises(ExportError, match=match):
        export_model(random_network(varied(TINY, choices), 0), WEIGHTS, progress=steps.append)
    assert not steps


def test_rows_are_those_of_the_table() -> None:
    switches = {row: (TABLE_2[row].srfu != "off", TABLE_2[row].dfa != "off", TABLE_2[row].transform) for row in TABLE_2}
    assert switches["a"] == (False, False, False) and switches["g"] == (True, True, True)
    assert [row for row in TABLE_2 if TABLE_2[row].dfa == "quality"] == ["f", "g"]
