"""A form that crashes the engine ends a child process: told, remembered, and the other form runs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from lsts_edge.bundle import Bundle, write_bundle
from lsts_edge.bundle.manifest import WeightsInfo
from lsts_edge.custom_ops import describe
from lsts_edge.errors import OpLibraryMissing
from lsts_edge.export.exporter import export_model
from lsts_edge.model import random_network
from lsts_edge.presets import get_preset
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.form_trial import try_form

WEIGHTS = WeightsInfo("random", "none", "random weights", seed=0)

LIBRARY = """
#include <signal.h>
#include <unistd.h>
const char* lsts_ops_describe(void* table) {{ return {description}; }}
void* RegisterCustomOps(void* options, void* base) {{ {act}; return 0; }}
"""

CHOOSE = """
import json, sys
from pathlib import Path
from lsts_edge.bundle import Bundle
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.form_choice import choose_form
for _ in range(2):
    choice = choose_form(Bundle.open(sys.argv[1]), EngineOptions(threads=1), folder=Path(sys.argv[2]), rounds=1)
    print(json.dumps([choice.form, dict(choice.refused), choice.from_cache, sorted(choice.times_ms)]))
"""

TRY = """
import json, sys
from lsts_edge.bundle import Bundle
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.form_trial import try_form
trial = try_form(Bundle.open(sys.argv[1]), "lsts_current", "custom", EngineOptions(), timeout_s=float(sys.argv[2]))
print(json.dumps([trial.refused, trial.crashed]))
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    exported = export_model(random_network(get_preset("lsts-tiny"), 0), WEIGHTS, forms=("custom", "taps"))
    return write_bundle(tmp_path_factory.mktemp("trial") / "bundle", exported.manifest, exported.files)


def install_with(folder: Path, act: str) -> Path:
    """A tree whose op library does ``act`` when an engine registers it; everything else is this one's."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler to make the planted library with")
    try:
        told = json.dumps({name: value for name, value in describe().items() if name != "sha256"})
    except OpLibraryMissing as missing:
        pytest.skip(f"no op library in this install: {missing.got}")
    package = folder / "lsts_edge"
    library = package / "custom_ops" / "_lib" / "liblsts_ops.so"
    library.parent.mkdir(parents=True)
    for path in (ROOT / "lsts_edge").iterdir():
        if path.name != "custom_ops":
            (package / path.name).symlink_to(path.resolve())
    for path in (ROOT / "custom_ops").glob("*.py"):
        shutil.copy(path, package / "custom_ops")
    source = folder / "planted.c"
    source.write_text(LIBRARY.format(description=json.dumps(told), act=act))
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    digest = hashlib.sha256(library.read_bytes()).hexdigest()
    info = {"status": "built", "reason": "", "sha256": digest}
    (library.parent / "_build_info.json").write_text(json.dumps(info))
    return folder


def run(tree: Path, program: str, *words: str) -> list[list[object]]:
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("number", ["SIGABRT", "SIGSEGV"])
def test_planted_crash_is_told_and_remembered(bundle: Bundle, tmp_path: Path, number: str) -> None:
    """The default form crashes its engine natively; the program goes on with the other, and does not try again."""
    tree = install_with(tmp_path / "tree", f"signal({number}, SIG_DFL); raise({number})")
    first, again = run(tree, CHOOSE, str(bundle.path), str(tmp_path / "kept"))
    form, refused, from_cache, timed = first
    assert (form, from_cache, timed) == ("taps", False, ["taps"])
    assert isinstance(refused, dict) and set(refused) == {"custom"}
    assert f"onnxruntime ended its process with {number}" in refused["custom"]
    assert again == [form, refused, True, timed]


def test_a_refusal_that_is_no_crash_is_told_in_its_own_words(bundle: Bundle, tmp_path: Path) -> None:
    """The planted library registers nothing, so the engine knows no such op."""
    tree = install_with(tmp_path / "tree", "")
    ((refused, crashed),) = run(tree, TRY, str(bundle.path), "300")
    assert not crashed and "does not load graph lsts_current" in str(refused)
    first, again = run(tree, CHOOSE, str(bundle.path), str(tmp_path / "kept"))
    assert first == again and first[0] == "taps" and first[2] is False, "tried anew each time"


def test_a_form_that_never_answers_is_ended(bundle: Bundle, tmp_path: Path) -> None:
    tree = install_with(tmp_path / "tree", "for (;;) pause()")
    ((refused, crashed),) = run(tree, TRY, str(bundle.path), "5")
    assert not crashed and "within 5 s" in str(refused)


def test_a_form_that_runs_is_not_refused(bundle: Bundle) -> None:
    assert try_form(bundle, "lsts_current", "taps", EngineOptions("openvino", threads=1)).refused == ""
