"""Propagators by name: unknown names and parameters are refused with what is known, and parameters are JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lsts_edge.boxes import Boxes
from lsts_edge.errors import OptionError, ShapeError, StateError
from lsts_edge.runtime.propagators import PROPAGATORS, make_propagator, propagator_parameters


def test_every_way_is_made_by_its_own_name():
    assert PROPAGATORS == ("hold", "flow-boxes", "fused", "smaller-input")
    for name in PROPAGATORS:
        assert make_propagator(name).name == name


@pytest.mark.parametrize("name", PROPAGATORS)
def test_parameters_come_back_whole_through_json(name):
    parameters = propagator_parameters(name)
    again = json.loads(json.dumps(parameters))
    assert propagator_parameters(name, again) == parameters


def test_given_parameter_is_kept():
    assert propagator_parameters("fused", {"detected_weight": 0.25})["detected_weight"] == 0.25
    assert propagator_parameters("hold", {"score_decay": 0.5}) == {"score_decay": 0.5}


def test_unknown_name_and_parameter_list_what_is_known():
    with pytest.raises(OptionError, match="hold, flow-boxes, fused, smaller-input"):
        make_propagator("magic")
    with pytest.raises(OptionError, match=r"speed.*score_decay"):
        make_propagator("hold", {"speed": 1})
    with pytest.raises(OptionError, match="none"):
        make_propagator("smaller-input", {"size": 320})


def test_hold_shows_the_keyframe_again_until_reset():
    found = Boxes(np.ones((1, 4)), np.array([0.5]), np.array([2]))
    hold = make_propagator("hold", {"score_decay": 0.5})
    hold.keyframe(None, found)
    assert hold.propagate(None).moved.tolist() == [True]
    assert hold.propagate(None).boxes.scores.tolist() == [0.125]
    hold.keyframe(None, found)
    assert hold.propagate(None).boxes.scores.tolist() == [0.25]
    hold.reset()
    with pytest.raises(StateError):
        hold.propagate(None)


def test_boxes_that_do_not_fit_each_other_are_refused():
    with pytest.raises(ShapeError):
        Boxes(np.ones((2, 4)), np.array([0.5]), np.array([2]))
