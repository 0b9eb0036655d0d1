"""House rules that a machine can check: how modules open, what they export, and that each error has its test."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from lsts_edge import errors

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("lsts_edge", "export", "runtime", "custom_ops", "benchmarks")
MODULES = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if not any(p.is_symlink() for p in path.parents)
)
MAX_LINES = 500
MAX_PACKAGE_NAMES = 10


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "lsts_edge" else ("lsts_edge", *parts)
    return ".".join(parts).removesuffix(".__init__")


def _names_in_all(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return list(ast.literal_eval(node.value))
    return None


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_module(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 10))
    docstring = ast.get_docstring(tree)
    assert docstring, "no docstring"
    assert len(text.splitlines()) <= MAX_LINES
    assert path.stem not in ("utils", "common", "helpers")
    if path.name == "__main__.py":
        return
    assert "from __future__ import annotations" in text
    names = _names_in_all(tree)
    assert names is not None, "no __all__"
    assert len(set(names)) == len(names)
    if path.name == "__init__.py":
        assert len(names) <= MAX_PACKAGE_NAMES
    module = importlib.import_module(_name(path))
    assert [name for name in names if not hasattr(module, name)] == []


_SEE = re.compile(r"\bsee (\w+) in ([\w/]+\.(?:cu|cuh|cc|h|py))\b")


def test_comments_name_what_exists() -> None:
    """``see NAME in FILE`` in the op's sources: both are there."""
    paths = [path for path in (ROOT / "custom_ops").rglob("*") if path.suffix in (".cc", ".cu", ".cuh", ".h")]
    sources = {path.name: path.read_text(encoding="utf-8") for path in paths}
    named = [(name, file) for text in sources.values() for name, file in _SEE.findall(text)]
    assert named and [pair for pair in named if pair[0] not in sources.get(Path(pair[1]).name, "")] == []


def test_top_level_is_the_agreed_one() -> None:
    for folder in FOLDERS[1:]:
        link = ROOT / "lsts_edge" / folder
        assert link.is_symlink()
        assert link.readlink() == Path("..") / folder
        assert (ROOT / folder / "__init__.py").is_file()


def _tested_errors(sources: list[str]) -> set[str]:
    """Classes that some test expects by ``pytest.raises``, and codes that some test compares with."""
    found: set[str] = set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "raises":
                found |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                found |= {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
            elif isinstance(node, ast.Compare | ast.Call | ast.JoinedStr):
                found |= {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return found


def test_every_error_is_raised_by_some_test() -> None:
    here = Path(__file__).resolve()
    paths = [p for p in (ROOT / "tests").rglob("test_*.py") if p != here and p.name != "test_errors.py"]
    tested = _tested_errors([path.read_text(encoding="utf-8") for path in paths])
    text = "\n".join(word for word in tested if "error[" in word)
    untested = [
        kind.__name__
        for kind in (getattr(errors, name) for name in errors.__all__)
        if not {kind.__name__, kind.code} & tested and f"error[{kind.code}]" not in text
    ]
    assert untested == []


def test_planted_fault_a_mention_is_no_test() -> None:
    assert "StateError" not in _tested_errors(["# StateError\nfrom lsts_edge.errors import StateError\n"])
    assert "StateError" in _tested_errors(["import pytest\nwith pytest.raises(StateError):\n    pass\n"])
