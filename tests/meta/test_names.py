"""One name, one thing: no public class is defined twice, and modules that once shared a name do not again."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("lsts_edge", "export", "runtime", "custom_ops", "benchmarks")
HELD_APART = {"fold", "frames", "loop", "memory"}
"""Each stood for two things: a reader of one took it for the other."""


def _modules() -> list[Path]:
    """Sources through their real paths: the links in ``lsts_edge`` are followed to the same files."""
    return sorted({path.resolve() for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")})


def _classes(path: Path) -> list[str]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return [node.name for node in body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]


def _twice(names: list[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def test_a_public_class_has_one_definition() -> None:
    found = [name for path in _modules() for name in _classes(path)]
    assert len(found) > 80 and _twice(found) == []


def test_modules_held_apart() -> None:
    assert not set(_twice([path.stem for path in _modules()])) & HELD_APART


def test_planted_doubles_are_seen(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("class Step:\n    pass\n\n\nclass _Own:\n    pass\n")
    assert _twice([*_classes(planted), "Step", "_Own"]) == ["Step"]
