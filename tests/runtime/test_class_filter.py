"""Classes that somebody wants: by name or number, everything else refused with what there is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lsts_edge.errors import OptionError
from lsts_edge.runtime import Detector
from lsts_edge.runtime.class_filter import wanted_labels

CLASSES = ("person", "traffic light", "car")


def test_names_in_any_case_and_numbers() -> None:
    assert wanted_labels(["Person", " CAR "], CLASSES).tolist() == [True, False, True]
    assert wanted_labels([1], CLASSES).tolist() == [False, True, False]
    assert wanted_labels(["2"], CLASSES).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (["persom"], "Did you mean 'person'"),
        ([3], "person, traffic light, car"),
        ([-1], "Choose from these"),
        ([True], "Choose from these"),
        ([""], "class"),
        ([1.5], "class"),
        ([], "Leave it out"),
        ("person", "names or labels"),
    ],
)
def test_what_is_no_class(wanted: list[str], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        wanted_labels(wanted, CLASSES)


def test_a_detector_keeps_only_them(hand_made_bundle: Path) -> None:
    """The hand-made network sees one person in any picture."""
    picture = np.full((64, 96, 3), 80, np.uint8)
    assert Detector(hand_made_bundle, classes=["person"]).push(picture).label_names == ("person",)
    other = Detector(hand_made_bundle, classes=["bird", 2])
    assert other.push(picture).label_names == () == other.share().push(picture).label_names
