"""A bundle never brings code: a library near it is not loaded, a pickle in it is not read (RELIABILITY row 5)."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from attacks.forged import forge
from attacks.measure import ROOT

from lsts_edge.bundle import Bundle
from lsts_edge.errors import BundleError, ManifestError, OpLibraryDigest
from lsts_edge.verify.golden import GOLDEN_FILE, Golden

SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
__attribute__((constructor)) static void canary(void) {
  FILE* file = fopen(getenv("LSTS_CANARY"), "w");
  if (file) fclose(file);
}
"""

USE_THE_OP = """
from lsts_edge.custom_ops import describe, library_path
from lsts_edge.errors import OpLibraryMissing
from lsts_edge.runtime import Detector
import numpy as np, sys
with Detector(sys.argv[1]) as detector:
    detector.push(np.zeros((72, 128, 3), np.uint8))
try:
    print(library_path(), describe()["sha256"])
except OpLibraryMissing:
    print("none")
"""


@pytest.fixture(scope="module")
def canary_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library whose constructor writes the file that LSTS_CANARY names."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler to make the hostile library with")
    folder = tmp_path_factory.mktemp("canary")
    (folder / "canary.c").write_text(SOURCE)
    library = folder / "liblsts_ops.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, folder / "canary.c"], check=True)
    return library


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "canary-ran"
    monkeypatch.setenv("LSTS_CANARY", str(path))
    return path


def test_listed_in_the_manifest(canary_library: Path, canary: Path, tmp_path: Path) -> None:
    bundle = forge(tmp_path / "bundle", files={"liblsts_ops.so": canary_library.read_bytes()})
    with pytest.raises(ManifestError, match="liblsts_ops"):
        Bundle.open(bundle)
    assert not canary.exists()


def test_named_by_a_field_of_the_manifest(canary_library: Path, canary: Path, tmp_path: Path) -> None:
    bundle = forge(tmp_path / "bundle", change=lambda data: data.update(library=str(canary_library)))
    with pytest.raises(ManifestError, match="library"):
        Bundle.open(bundle)
    assert not canary.exists()


def test_beside_the_bundle_s_files(canary_library: Path, canary: Path, hand_made_bundle: Path) -> None:
    shutil.copy(canary_library, hand_made_bundle)
    with pytest.raises(BundleError, match="liblsts_ops"):
        Bundle.open(hand_made_bundle)
    assert not canary.exists()


@pytest.mark.parametrize("way", ["working-folder", "library-path", "working-folder-symlink", "python-folder"])
def test_where_a_loader_may_look(
    way: str, canary_library: Path, canary: Path, hand_made_bundle: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    if way == "working-folder-symlink":
        (folder / canary_library.name).symlink_to(canary_library)
    else:
        shutil.copy(canary_library, folder)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if way == "library-path":
        environment["LD_LIBRARY_PATH"] = str(folder)
    elif way == "python-folder":
        environment["PYTHONPATH"] += os.pathsep + str(folder)
    command = [sys.executable, "-c", USE_THE_OP, str(hand_made_bundle)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("none", str(ROOT / "custom_ops" / "_lib")))
    assert not canary.exists()


@pytest.mark.parametrize("way", ["swapped", "symlink"])
def test_put_in_the_place_of_the_built_library(way: str, canary_library: Path, canary: Path, tmp_path: Path) -> None:
    from lsts_edge.custom_ops import library_path

    built = {"status": "built", "reason": "", "sha256": hashlib.sha256(b"the library that was built").hexdigest()}
    (tmp_path / "_build_info.json").write_text(json.dumps(built))
    if way == "symlink":
        (tmp_path / canary_library.name).symlink_to(canary_library)
    else:
        shutil.copy(canary_library, tmp_path)
    with pytest.raises(OpLibraryDigest):
        library_path(folder=tmp_path)
    assert not canary.exists()


def test_a_pickle_in_the_recorded_outputs(canary: Path, tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {canary}",)

    content = io.BytesIO()
    np.savez(content, clip=np.array([Hostile()], object))
    bundle = Bundle.open(forge(tmp_path / "bundle", files={GOLDEN_FILE: content.getvalue()}))
    with pytest.raises(BundleError):
        Golden(bundle.read(GOLDEN_FILE), "inclusive")
    assert not canary.exists()
    with np.load(io.BytesIO(content.getvalue()), allow_pickle=True) as file:
        file["clip"]
    assert canary.exists(), "planted fault: the same bytes, read with pickles allowed, run the canary"


def test_planted_fault_the_library_does_run_when_opened(canary_library: Path, canary: Path) -> None:
    program = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, str(canary_library)], check=True)
    assert canary.exists()


def _unsafe_calls(source: str) -> list[str]:
    """Calls that can run what a file holds: pickle loads, ``weights_only=False``, ``allow_pickle=True``, eval."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        unsafe = {
            "torch.load": given.get("weights_only") != "True",
            "np.load": given.get("allow_pickle", "False") != "False",
            **dict.fromkeys(("eval", "exec", "pickle.load", "pickle.loads", "yaml.load", "runpy.run_path"), True),
        }
        if unsafe.get(name, False):
            found.append(name)
    return found


def test_no_source_reads_files_in_a_way_that_runs_them() -> None:
    folders = ("lsts_edge", "export", "runtime", "custom_ops", "benchmarks", "examples")
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        assert _unsafe_calls(path.read_text(encoding="utf-8")) == [], path
    assert _unsafe_calls("torch.load(f)\nnp.load(f, allow_pickle=True)\neval(x)") == ["torch.load", "np.load", "eval"]
