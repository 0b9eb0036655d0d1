"""The table of promises: every pattern names a test that exists, and the document shows the committed result."""

from __future__ import annotations

import ast
import json
from pathlib import Path

from promises import BEGIN, END, PROMISES, is_one_of, table


def test_every_pattern_names_tests_that_exist(root: Path) -> None:
    names = [
        f"{path.relative_to(root).as_posix()}::{node.name}"
        for path in (root / "tests").rglob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    for promise in PROMISES:
        for pattern in (*promise.attacks, *promise.planted):
            assert any(is_one_of(name, [pattern]) for name in names), pattern


def test_the_document_shows_the_committed_result(root: Path) -> None:
    result = json.loads((root / "benchmarks" / "results" / "faults" / "attacks.json").read_text())
    text = (root / "docs" / "reliability.md").read_text()
    assert text.partition(BEGIN)[2].partition(END)[0].strip() == table(result)


def test_everything_held_and_every_planted_fault_was_caught(root: Path) -> None:
    result = json.loads((root / "benchmarks" / "results" / "faults" / "attacks.json").read_text())
    assert [row["row"] for row in result["rows"]] == [promise.row for promise in PROMISES]
    for row in result["rows"]:
        assert row["attacks"] == row["held"] > 0 and row["planted"] == row["caught"], row
