"""The op library is found and checked before any of its code runs; every way it can be wrong has its own error."""

from __future__ import annotations

import json
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from op_builds import install, require_tools

from lsts_edge.custom_ops import describe, library_path
from lsts_edge.custom_ops.finder import BUILD_INFO, LIBRARY_FOLDER, LIBRARY_NAME
from lsts_edge.errors import (
    OpLibraryDigest,
    OpLibraryError,
    OpLibraryMissing,
    OpLibraryProvider,
    OpLibraryVersion,
)
from lsts_edge.opspec import LSTS

SOUND = {
    "ops": [{"domain": LSTS.domain, "name": LSTS.name, "since": LSTS.since}],
    "ort_api_version": 17,
    "cpu_kernels": ["portable"],
    "cuda": None,
    "table_version": 1,
}


def stub(folder: Path, told: object, *, entries: tuple[str, ...] = ("RegisterCustomOps", "lsts_ops_describe")) -> Path:
    """A compiled library that says ``told`` of itself and leaves a canary file when it is opened."""
    require_tools("cc")
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(json.dumps(told) if not isinstance(told, str) else told)
    bodies = {
        "RegisterCustomOps": "void* RegisterCustomOps(void* o, void* b) { return 0; }",
        "lsts_ops_describe": f"const char* lsts_ops_describe(void* table) {{ return {text}; }}",
    }
    source = f"""
        #include <stdio.h>
        __attribute__((constructor)) static void canary(void) {{ fclose(fopen("{folder}/canary", "w")); }}
        {" ".join(bodies[name] for name in entries)}
    """
    (folder / "stub.c").write_text(source)
    subprocess.run(["cc", "-shared", "-fPIC", str(folder / "stub.c"), "-o", str(folder / "stub.so")], check=True)
    return install(folder, (folder / "stub.so").read_bytes())


def test_a_sound_stub_is_taken(tmp_path: Path) -> None:
    """So that the refusals below are for the reason they name."""
    folder = stub(tmp_path / "sound", SOUND)
    assert library_path(folder=folder, ort_version="1.17.0") == folder / LIBRARY_NAME
    assert (folder / "canary").exists()


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("old spec", {"ops": [{**SOUND["ops"][0], "since": 0}]}, ("LSTS version 0", "LSTS version 1")),
        ("new spec", {"ops": [{**SOUND["ops"][0], "since": 2}]}, ("LSTS version 2", "LSTS version 1")),
        ("no op", {"ops": []}, ("no op", "LSTS version 1")),
    ],
)
def test_other_specs_are_told_with_both_versions(
    tmp_path: Path, name: str, changes: dict[str, object], words: tuple[str, str]
) -> None:
    folder = stub(tmp_path / name.replace(" ", "_"), {**SOUND, **changes})
    with pytest.raises(OpLibraryVersion) as caught:
        library_path(folder=folder)
    assert all(word in str(caught.value) for word in words)


def test_an_engine_older_than_the_library_is_told(tmp_path: Path) -> None:
    folder = stub(tmp_path / "api", {**SOUND, "ort_api_version": 99})
    library_path(folder=folder)
    with pytest.raises(OpLibraryVersion) as caught:
        library_path(folder=folder, ort_version="1.32.0")
    assert "onnxruntime 1.32.0 (API 32)" in str(caught.value) and "API 99" in str(caught.value)


@pytest.mark.parametrize("missing", ["RegisterCustomOps", "lsts_ops_describe"])
def test_a_missing_entry_is_told(tmp_path: Path, missing: str) -> None:
    kept = tuple({"RegisterCustomOps", "lsts_ops_describe"} - {missing})
    folder = stub(tmp_path / missing, SOUND, entries=kept)
    with pytest.raises(OpLibraryVersion, match=f"no {missing}"):
        library_path(folder=folder)


@pytest.mark.parametrize("told", ["no JSON", "[]", "{}"])
def test_a_description_in_other_words_is_told(tmp_path: Path, told: str) -> None:
    with pytest.raises(OpLibraryVersion, match="describe"):
        library_path(folder=stub(tmp_path / "other", told))


@pytest.mark.parametrize(
    ("cuda", "words"),
    [
        (None, "built where no nvcc was found"),
        ({"archs": "87", "runtime_version": 13000, "driver_version": 0}, "no CUDA driver"),
        (
            {"archs": "87", "runtime_version": 13000, "driver_version": 12040},
            "a driver for CUDA 12.4 and a library with the CUDA 13.0 runtime",
        ),
    ],
)
def test_cuda_that_cannot_run_is_told(tmp_path: Path, cuda: object, words: str) -> None:
    folder = stub(tmp_path / "cuda", {**SOUND, "cuda": cuda})
    library_path(folder=folder)
    for provider in ("cuda", "tensorrt"):
        with pytest.raises(OpLibraryProvider, match=words):
            library_path(folder=folder, provider=provider)
    told = describe(folder=folder)
    assert cuda is None or (told["cuda_usable"] is False and words in told["cuda_reason"])


def test_cuda_that_can_run_is_taken(tmp_path: Path) -> None:
    cuda = {"archs": "87", "runtime_version": 12060, "driver_version": 12040}
    folder = stub(tmp_path / "cuda", {**SOUND, "cuda": cuda})
    assert library_path(folder=folder, provider="cuda")
    assert describe(folder=folder)["cuda_usable"] is True


@pytest.mark.parametrize("change", ["flip", "cut", "grow", "swap"])
def test_a_changed_file_is_refused_before_its_code_runs(tmp_path: Path, change: str) -> None:
    folder = stub(tmp_path / change, SOUND)
    path = folder / LIBRARY_NAME
    content = bytearray(path.read_bytes())
    if change == "flip":
        content[len(content) // 2] ^= 1
    elif change == "cut":
        del content[-1:]
    elif change == "grow":
        content += b"\0"
    else:
        content = bytearray(
            stub(tmp_path / "another", {**SOUND, "cpu_kernels": ["other"]}).joinpath("stub.so").read_bytes()
        )
        (tmp_path / "another" / "canary").unlink(missing_ok=True)
    path.write_bytes(bytes(content))
    for ask in (library_path, describe):
        with pytest.raises(OpLibraryDigest, match="sha256") as caught:
            ask(folder=folder)
        assert caught.value.code == "oplib-digest"
    assert not (folder / "canary").exists() and not (tmp_path / "another" / "canary").exists()


def test_another_architecture_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    folder = stub(tmp_path / "arch", SOUND)
    content = bytearray((folder / LIBRARY_NAME).read_bytes())
    other, name = (0xB7, "aarch64") if platform.machine() == "x86_64" else (0x3E, "x86_64")
    struct.pack_into("<H", content, 18, other)
    install(folder, bytes(content))
    with pytest.raises(OpLibraryVersion) as caught:
        library_path(folder=folder)
    assert f"got {name}, expected {platform.machine()}" in str(caught.value)
    assert not (folder / "canary").exists()


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"#!/bin/sh\n" * 10])
def test_a_file_that_is_no_library_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(OpLibraryVersion, match="no ELF library"):
        library_path(folder=install(tmp_path / "text", content))


def test_a_library_that_the_loader_refuses_is_told(tmp_path: Path) -> None:
    folder = stub(tmp_path / "cut", SOUND)
    install(folder, (folder / LIBRARY_NAME).read_bytes()[:200])
    with pytest.raises(OpLibraryVersion, match="cannot be opened"):
        library_path(folder=folder)


@pytest.mark.parametrize(
    ("note", "words"),
    [
        (None, "build not run: there is no"),
        ("{", "cannot be read"),
        ("[]", "no JSON object"),
        ({"status": "failed", "reason": "cmake was not found", "sha256": None}, "build failed: cmake was not found"),
        ({"status": "skipped", "reason": "LSTS_EDGE_BUILD_OPS=0", "sha256": None}, "LSTS_EDGE_BUILD_OPS=0"),
        ({"status": "built", "reason": "", "sha256": "0"}, "the library file is not there"),
    ],
)
def test_an_install_without_library_says_why(tmp_path: Path, note: object, words: str) -> None:
    if note is not None:
        (tmp_path / BUILD_INFO).write_text(note if isinstance(note, str) else json.dumps(note))
    with pytest.raises(OpLibraryMissing) as caught:
        library_path(folder=tmp_path)
    assert words in str(caught.value)
    assert "--lsts-form" not in str(caught.value), "only the bundle knows whether it has another form"
    assert caught.value.exit_status == 4 and isinstance(caught.value, OpLibraryError)


def test_the_installed_library_is_what_the_spec_says() -> None:
    try:
        told = describe()
    except OpLibraryMissing as missing:
        pytest.skip(f"no op library in this install: {missing.got}")
    (op,) = told["ops"]
    assert (op["domain"], op["name"], op["since"]) == (LSTS.domain, LSTS.name, LSTS.since)
    assert set(op["dtypes"]) == set(LSTS.tolerance)
    assert {name: tuple(values) for name, values in op["attributes"].items()} == LSTS.attributes
    assert told["ort_api_version"] == 17
    assert told["cpu_kernels"][-1] == "portable"
    assert told["sha256"] == json.loads((LIBRARY_FOLDER / BUILD_INFO).read_text())["sha256"]
    if platform.machine() == "x86_64":
        flags = set(Path("/proc/cpuinfo").read_text().split())
        assert ("avx2" in told["cpu_kernels"]) == ({"avx2", "fma", "f16c"} <= flags)
        wide = {"avx512f", "avx512vl", "avx512bw", "avx512dq"}
        assert ("avx512" in told["cpu_kernels"]) == (wide <= flags)


def test_the_library_shows_two_symbols() -> None:
    require_tools("nm")
    try:
        path = library_path()
    except OpLibraryMissing as missing:
        pytest.skip(f"no op library in this install: {missing.got}")
    listed = subprocess.run(["nm", "-D", "--defined-only", str(path)], capture_output=True, text=True, check=True)
    assert {line.split()[-1] for line in listed.stdout.splitlines()} == {"RegisterCustomOps", "lsts_ops_describe"}


def test_the_package_imports_no_engine() -> None:
    probe = (
        "import sys, lsts_edge.custom_ops; "
        "print([m for m in ('torch', 'onnx', 'onnxruntime', 'openvino') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_files_for_one_cpu_lend_no_code_to_others(root: Path, tmp_path: Path, isa: str) -> None:
    """A weak symbol compiled for AVX-512 could be the copy that the linker keeps for everybody."""
    require_tools("c++", "nm")
    if platform.machine() != "x86_64":
        pytest.skip("the files for x86-64 need its compiler")
    sources = root / "custom_ops"
    flags = ["-mavx2", "-mfma", "-mf16c"]
    flags += ["-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq"] if isa == "avx512" else []
    words = ["c++", "-std=c++17", "-O1", "-w", "-fPIC", f"-I{sources}", f"-I{sources}/include", *flags]
    target = tmp_path / "kernel.o"
    subprocess.run([*words, "-c", str(sources / "cpu" / f"lsts_{isa}.cc"), "-o", str(target)], check=True)
    listed = subprocess.run(["nm", "-C", "--defined-only", str(target)], capture_output=True, text=True, check=True)
    shared = [line for line in listed.stdout.splitlines() if line.split()[1] in "TWVDuBRG"]
    kernel = {"avx2": "lsts::kKernelAvx2", "avx512": "lsts::kKernelAvx512"}[isa]
    assert {line.split(maxsplit=2)[2] for line in shared} == {kernel}
