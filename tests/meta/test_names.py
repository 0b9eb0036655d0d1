"""One name, one thing: no public type is defined twice, and modules that once shared a name do not again."""

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


def _types(path: Path) -> dict[str, str]:
    """Public classes and exported aliases (``FrameKind = Literal[...]``), and what makes two of them the same."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    plain = [node for node in body if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)]
    values = {node.targets[0].id: node.value for node in plain}
    exported = {element.value for element in getattr(values.get("__all__"), "elts", ())}
    aliases = {name: value for name, value in values.items() if name in exported and isinstance(value, ast.Subscript)}
    classes = {node.name: str(path) for node in body if isinstance(node, ast.ClassDef) and node.name[0] != "_"}
    return classes | {name: ast.unparse(value) for name, value in aliases.items()}


def _twice(names: list[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def test_a_public_type_has_one_definition() -> None:
    found = {pair for path in _modules() for pair in _types(path).items()}
    assert len(found) > 80 and _twice([name for name, _ in found]) == []


def test_modules_held_apart() -> None:
    assert not set(_twice([path.stem for path in _modules()])) & HELD_APART


def _progress_otherwise(path: Path) -> list[str]:
    """Parameters that tell of progress under another name or type than ``progress: Progress``."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, functions)]
    arguments = [a for node in nodes for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    typed = [(a.arg, ast.unparse(a.annotation)) for a in arguments if a.annotation is not None]
    tellers = ("Callable[[str], None]", "Callable[[int, int], None]", "Callable[[str, int, int], None]")
    return [name for name, kind in typed if (kind.startswith("Progress")) != (name == "progress") or kind in tellers]


def test_progress_is_told_under_one_name() -> None:
    found = {path.name: wrong for path in _modules() if (wrong := _progress_otherwise(path))}
    assert found == {}


def test_planted_doubles_are_seen(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    text = '__all__ = ["Kind"]\nKind = Literal["a"]\nOther = Literal["b"]\nclass Step: ...\nclass _Own: ...\n'
    planted.write_text(text)
    assert _types(planted) == {"Step": str(planted), "Kind": "Literal['a']"}
    assert _twice([*_types(planted), "Step", "Other"]) == ["Step"]
    planted.write_text("def f(told: Callable[[str], None], report: Progress, progress: Progress): ...\n")
    assert _progress_otherwise(planted) == ["told", "report"]
