"""``kill -9`` during an export leaves the old bundle or the new one, never half of one (RELIABILITY row 10)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from attacks.measure import in_new_process


def _run(mode: str, folder: Path, count: int) -> dict[str, int]:
    return dict(in_new_process("attacks.crash", mode, str(folder), str(count)))


def _check(found: dict[str, int], count: int) -> None:
    assert sum(found.values()) == count
    assert set(found) == {"nothing", "2.0", "overwrite 1.0", "overwrite 2.0"}, found


def test_killed_at_calls_from_first_to_last(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    record_property("attacks", 40)
    _check(_run("well", tmp_path, 40), 40)
    assert not [name for name in os.listdir(tmp_path) if ".partial-" in name]


@pytest.mark.slow
@pytest.mark.strict
def test_killed_at_every_call(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    record_property("attacks", 330)
    _check(_run("well", tmp_path, 330), 330)


def test_planted_fault_a_plain_writer_leaves_halves(tmp_path: Path) -> None:
    found = _run("plainly", tmp_path, 60)
    assert found.get("half", 0) + found.get("overwrite half", 0) > 0, found
