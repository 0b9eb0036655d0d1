"""Errors: four parts in every text, codes that differ, and a builtin that a plain caller would catch."""

from __future__ import annotations

import pytest

from lsts_edge import errors

ALL = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_text_has_problem_got_expected_and_fix(kind: type[errors.LstsEdgeError]) -> None:
    with pytest.raises(errors.LstsEdgeError) as caught:
        raise kind("the lamp", got=3, expected="4 bulbs", fix="Screw one in.")
    assert str(caught.value) == "the lamp: got 3, expected 4 bulbs. Screw one in."
    assert (caught.value.problem, caught.value.got, caught.value.expected) == ("the lamp", 3, "4 bulbs")


def test_codes_differ_and_exit_statuses_are_the_documented_ones() -> None:
    codes = [kind.code for kind in ALL]
    assert len(set(codes)) == len(codes)
    assert {kind.exit_status for kind in ALL} == {1, 2, 3, 4, 5, 6, 7, 8}
    assert errors.LstsEdgeError.code == "internal"


def test_each_family_is_also_a_builtin() -> None:
    for kind in ALL:
        others = [base for base in kind.__mro__ if base.__module__ == "builtins"]
        assert len(others) > 3 or kind is errors.LstsEdgeError, f"{kind.__name__} is only an Exception"


def test_names_are_sorted_and_complete() -> None:
    assert errors.__all__ == sorted(errors.__all__)
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and not name.startswith("_")}
    assert set(errors.__all__) == {name for name in defined if issubclass(getattr(errors, name), Exception)}
