"""The choice, with planted costs and agreements: the better way must be chosen, and the sentences must say so."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lsts_edge.publish.wrap.choose import choose_row
from lsts_edge.publish.wrap.rows import with_front
from lsts_edge.publish.wrap.study import Agreed, StudyRow, TimeMs

OUTPUT = Path("out")


def _row(way: str, interval: int, ms: float, chose: float | None, stated: float | None, **other: object) -> StudyRow:
    row = StudyRow(
        way=way,  # type: ignore[arg-type]
        keyframe_interval=interval,
        width_px=128,
        height_px=64,
        small_width_px=None,
        small_height_px=None,
        engine="onnxruntime",
        precision="fp32",
        time_ms=TimeMs(ms, ms, ms, 300),
        keyframe_ms=10.0,
        propagated_ms=None,
        cost=ms / 10,
        speedup=10 / ms,
        agreement=Agreed(stated, None, None, stated, stated, stated),
        by_distance=(),
        new_object_recall=None,
        misplaced_per_frame=None,
        false_per_frame=None,
        ap50=None,
        half="state",
        choosing_agreement=chose,
    )
    return dataclasses.replace(row, **other)  # type: ignore[arg-type]


EVERY = _row("every-frame", 1, 10.0, 1.0, 1.0)
HOLD_2 = _row("hold", 2, 5.0, 0.86, 0.86)
HOLD_3 = _row("hold", 3, 3.4, 0.77, 0.76)
FLOW_3 = _row("flow-boxes", 3, 4.0, 0.88, 0.87)
SMALL = _row("smaller-input", 1, 6.0, 0.83, 0.84, width_px=96)


def test_the_cheapest_that_keeps_enough_is_chosen_and_its_rivals_named() -> None:
    chosen = choose_row([EVERY, HOLD_2, HOLD_3, FLOW_3, SMALL], OUTPUT, min_agreement=0.85)
    row = next(one for one in chosen.rows if one.chosen)
    assert (row.way, row.keyframe_interval) == ("flow-boxes", 3) and chosen.met
    assert "2.50 x as fast as every frame, 4.00 ms instead of 10.00, at agreement 0.870" in chosen.verdict
    named = {one.label: one.reason for one in chosen.rows if one.reason and not one.chosen}
    assert named == {
        "hold 3, 128x64": "best hold at no more time",
        "every-frame, 128x64": "the detector on every frame",
    }
    assert chosen.command == "lsts-edge run out VIDEO --output-video out.mp4"


def test_a_planted_better_way_takes_its_place() -> None:
    better = _row("fused", 4, 3.9, 0.95, 0.94, small_width_px=64, small_height_px=32)
    chosen = choose_row([EVERY, HOLD_2, HOLD_3, FLOW_3, SMALL, better], OUTPUT, min_agreement=0.85)
    assert next(one for one in chosen.rows if one.chosen).way == "fused"


def test_keyframes_by_motion_are_another_schedule_of_the_same_way() -> None:
    moving = _row("flow-boxes", 6, 3.2, 0.89, 0.88, keyframe_motion=0.1, frames_per_keyframe=3.71)
    chosen = choose_row([EVERY, HOLD_3, FLOW_3, dataclasses.replace(FLOW_3, keyframe_interval=6), moving], OUTPUT,
                        min_agreement=0.87)  # fmt: skip
    row = next(one for one in chosen.rows if one.chosen)
    assert row.label == "flow-boxes 6/0.1, 128x64" and row is chosen.rows[-1]
    assert "Run flow-boxes at interval 6/0.1" in chosen.verdict
    assert "moved by 0.1 of their size, at most 6 frames after the last; 3.7 frames from one" in chosen.verdict


def test_the_best_within_a_budget_is_chosen() -> None:
    rows = [EVERY, HOLD_2, HOLD_3, FLOW_3, SMALL]
    chosen = choose_row(rows, OUTPUT, min_agreement=0.85, budget_ms=3.5)
    assert next(one for one in chosen.rows if one.chosen).label == "hold 3, 128x64"
    nothing = choose_row(rows, OUTPUT, min_agreement=0.85, budget_ms=1.0)
    assert not nothing.met and "Nothing that was measured keeps 1 ms" in nothing.verdict


def test_every_frame_is_run_where_nothing_cheaper_keeps_enough() -> None:
    chosen = choose_row([EVERY, HOLD_2, FLOW_3], OUTPUT, min_agreement=0.95)
    assert next(one for one in chosen.rows if one.chosen).way == "every-frame"
    assert chosen.verdict.startswith("Run every frame")
    assert "no cheaper way keeps an agreement of 0.95" in chosen.verdict


def test_a_choice_that_the_other_half_does_not_confirm_is_told() -> None:
    weak = dataclasses.replace(FLOW_3, agreement=dataclasses.replace(FLOW_3.agreement, pooled=0.81))
    luckier = dataclasses.replace(HOLD_3, agreement=dataclasses.replace(HOLD_3.agreement, pooled=0.84))
    chosen = choose_row([EVERY, weak, luckier], OUTPUT, min_agreement=0.85)
    assert "below 0.85, which the choosing clips kept (0.880)" in chosen.verdict
    assert "hold 3, 128x64 (onnxruntime, fp32) agrees better at no more time" in chosen.verdict


def test_another_engine_is_named_in_the_command_line() -> None:
    fast = dataclasses.replace(FLOW_3, engine="openvino", time_ms=TimeMs(2.0, 2, 2, 300))
    there = dataclasses.replace(EVERY, engine="openvino", time_ms=TimeMs(8.0, 8, 8, 300))
    chosen = choose_row([EVERY, FLOW_3, there, fast], OUTPUT, min_agreement=0.85)
    assert chosen.command.endswith("--backend openvino") and "instead of 8.00" in chosen.verdict


def test_without_anything_to_find_agreement_is_undefined() -> None:
    rows = [dataclasses.replace(row, choosing_agreement=None) for row in (EVERY, HOLD_2)]
    chosen = choose_row(rows, OUTPUT, min_agreement=0.85)
    assert chosen.verdict.startswith("Agreement is undefined") and not chosen.met
    assert next(one for one in chosen.rows if one.chosen).way == "every-frame"


def test_the_front_holds_what_loses_to_nothing_cheaper() -> None:
    front = [row.label for row in with_front([EVERY, HOLD_2, HOLD_3, FLOW_3, SMALL]) if row.on_front]
    assert front == ["every-frame, 128x64", "hold 3, 128x64", "flow-boxes 3, 128x64"]


@pytest.mark.parametrize("stated", [None, 0.5])
def test_a_half_that_finds_nothing_is_told_as_undefined(stated: float | None) -> None:
    row = dataclasses.replace(FLOW_3, agreement=Agreed(stated, None, None, None, None, None))
    verdict = choose_row([EVERY, row], OUTPUT, min_agreement=0.85).verdict
    assert ("undefined" in verdict) == (stated is None)


def test_where_the_other_half_refutes_the_choice_both_halves_choose() -> None:
    lucky = _row("hold", 10, 1.2, 0.95, 0.20)
    chosen = choose_row([EVERY, HOLD_3, FLOW_3, lucky], OUTPUT, min_agreement=0.85)
    assert next(one for one in chosen.rows if one.chosen).label == "flow-boxes 3, 128x64" and chosen.met
    assert "hold 10, 128x64 kept 0.950 on the clips that choose but 0.200 on the others" in chosen.verdict
    assert "had a part in the choice" in chosen.verdict and "had no part" not in chosen.verdict


def test_where_nothing_keeps_enough_on_both_halves_every_frame_is_run() -> None:
    lucky = _row("hold", 10, 1.2, 0.95, 0.20)
    chosen = choose_row([EVERY, HOLD_3, lucky], OUTPUT, min_agreement=0.85)
    assert next(one for one in chosen.rows if one.chosen).way == "every-frame"
    assert "hold 10, 128x64 kept 0.950" in chosen.verdict
