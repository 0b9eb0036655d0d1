"""What the wheel and the source archive hold: modules, op sources, the default bundle, and nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import build_wheel, copy_checkout, make_environment, pip_install

FOLDERS = ("export", "runtime", "custom_ops", "benchmarks")
DATA = "lsts_edge/data/"
STUDY = "benchmarks/accuracy/"  # its rows and claims are data files
CODE = (".py", ".cc", ".cu", ".cuh", ".h", ".map", ".cmake", "CMakeLists.txt", "py.typed")


def _expected(root: Path) -> set[str]:
    """Code in the package folders of the checkout, and its data, under the names it has in the package."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "lsts_edge", *FOLDERS],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    names = {name for name in listed if name.endswith(CODE) or name.startswith((DATA, STUDY))}
    names = {name for name in names if (root / name).exists()}
    return {name if name.startswith("lsts_edge/") else f"lsts_edge/{name}" for name in names}


def test_the_wheel_holds_all_code_and_the_default_bundle(wheel: Path, root: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    built = {name for name in names if "/_lib/" in name}
    assert names - built == _expected(root)
    assert built <= {f"lsts_edge/custom_ops/_lib/{name}" for name in ("liblsts_ops.so", "_build_info.json")}
    assert {f"{DATA}NOTICE", f"{DATA}LICENSE", f"{DATA}default/manifest.json"} <= names
    assert wheel.stat().st_size < 7_000_000
    data = sum(entry.file_size for entry in zipfile.ZipFile(wheel).infolist() if entry.filename.startswith(DATA))
    assert 1e6 < data < 6.5e6


_NON_COMMERCIAL = re.compile(rb"CC[ -]BY[ -]NC|NonCommercial|non-commercial", re.IGNORECASE)


def test_nothing_in_the_wheel_is_for_non_commercial_use_only(wheel: Path, root: Path) -> None:
    """No weights, pictures or recordings under such a licence: data and notices, the code that speaks of it apart."""
    archive = zipfile.ZipFile(wheel)
    data = {name: archive.read(name) for name in archive.namelist() if DATA in name or "licenses/" in name}
    assert len(data) >= 6
    assert [name for name, content in data.items() if _NON_COMMERCIAL.search(content)] == []
    restricted = [path.read_bytes() for path in (root / "examples" / "weights").iterdir()]
    assert any(_NON_COMMERCIAL.search(content) for content in restricted)  # the search finds what there is
    restricted += [path.read_bytes() for path in (root / "examples" / "bundles").rglob("*") if path.is_file()]
    assert {archive.read(name) for name in archive.namelist()} & set(restricted) <= {b""}


def test_metadata(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    metadata = archive.read(next(n for n in archive.namelist() if n.endswith("METADATA"))).decode()
    required = [line.split(": ")[1] for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    base = {line.split(">")[0].split("<")[0] for line in required if "extra ==" not in line}
    assert base == {"numpy", "opencv-python", "click", "av"}
    assert "License: Apache-2.0" in metadata
    licences = {name.partition("licenses/")[2] for name in archive.namelist() if "/licenses/" in name}
    assert licences == {"LICENSE", f"{DATA}LICENSE", f"{DATA}NOTICE"}


def test_the_source_archive_builds_the_same_package(wheel: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    copy_checkout(source)
    program = "from setuptools import build_meta; print(build_meta.build_sdist('dist'))"
    subprocess.run([sys.executable, "-c", program], cwd=source, capture_output=True, text=True, check=True)
    archive = next((source / "dist").glob("*.tar.gz"))
    with tarfile.open(archive) as file:
        file.extractall(tmp_path / "unpacked", filter="data")
    unpacked = next((tmp_path / "unpacked").iterdir())
    program = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"
    environment = {**os.environ, "LSTS_EDGE_BUILD_OPS": "0"}
    subprocess.run([sys.executable, "-c", program], cwd=unpacked, env=environment, capture_output=True, check=True)
    again = zipfile.ZipFile(next((unpacked / "dist").glob("*.whl")))
    first = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("liblsts_ops.so")}
    assert set(again.namelist()) == first


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None and shutil.which("g++") is None, reason="no C++ compiler")
def test_the_wheel_has_the_op_library_where_a_compiler_is(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    copy_checkout(source)
    wheel = build_wheel(source, tmp_path, LSTS_EDGE_BUILD_OPS="1")
    archive = zipfile.ZipFile(wheel)
    info = json.loads(archive.read("lsts_edge/custom_ops/_lib/_build_info.json"))
    assert info["status"] == "built", info["reason"]
    assert "lsts_edge/custom_ops/_lib/liblsts_ops.so" in archive.namelist()
    assert wheel.name.split("-")[2:4] == ["py3", "none"]
    assert "linux" in wheel.name


@pytest.mark.parametrize("way", ["told-not-to", "no-compiler"])
def test_without_a_compiler_the_install_succeeds_and_says_why(way: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    copy_checkout(source)
    python = make_environment(tmp_path / "environment", with_dependencies=True)
    variables = {
        "told-not-to": {"LSTS_EDGE_BUILD_OPS": "0"},
        "no-compiler": {"CXX": "/no/compiler", "CC": "/no/compiler"},
    }
    pip_install(python, "--no-deps", "--no-build-isolation", str(source), **variables[way])
    packages = next((tmp_path / "environment").glob("lib/python*/site-packages"))
    info = json.loads((packages / "lsts_edge" / "custom_ops" / "_lib" / "_build_info.json").read_text())
    assert info["status"] == {"told-not-to": "skipped", "no-compiler": "failed"}[way]
    assert info["reason"]
    assert info["sha256"] is None
    assert not list(packages.glob("lsts_edge/custom_ops/_lib/*.so"))
    assert "py3-none-any" in next(packages.glob("lsts_edge-*.dist-info/WHEEL")).read_text()
