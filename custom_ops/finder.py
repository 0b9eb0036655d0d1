"""Find the compiled op library of this install and check it before any of its code runs.

A constructor runs when a library is opened, so the file is held to the digest that was recorded when it was built, and
to this machine's architecture, first. Only then is it opened, and asked which ops it holds. A bundle never names a
library: the only one that is ever opened lies in this package.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import platform
import struct
from pathlib import Path
from typing import Any

from lsts_edge.errors import OpLibraryDigest, OpLibraryMissing, OpLibraryProvider, OpLibraryVersion
from lsts_edge.opspec import OPS

__all__ = ["LIBRARY_FOLDER", "describe", "library_path", "open_library"]

LIBRARY_FOLDER = Path(__file__).resolve().parent / "_lib"
LIBRARY_NAME = "liblsts_ops.so"
BUILD_INFO = "_build_info.json"

_BUILD_AGAIN = "Install lsts-edge again on a machine with CMake and a C++17 compiler."
_ELF_MACHINES = {0x3E: "x86_64", 0xB7: "aarch64", 0x28: "arm", 0x03: "i386", 0xF3: "riscv64"}
_MACHINE_NAMES = {"amd64": "x86_64", "arm64": "aarch64"}
_MOST_BYTES = 256 << 20
_TOLD = {"ops", "ort_api_version", "cpu_kernels", "cuda", "table_version"}


def library_path(*, ort_version: str | None = None, provider: str = "cpu", folder: Path = LIBRARY_FOLDER) -> Path:
    """The library's file, checked: digest, architecture, entries, ops and their versions, and what is asked of it.

    Args:
        ort_version: version of the ONNX Runtime that will register it, e.g. ``1.23.2``; None checks no engine.
        provider: ``cpu``, or ``cuda`` or ``tensorrt``, which need the CUDA kernels and a driver for their runtime.
        folder: where the build left the library and its note.

    Returns:
        A path for ``SessionOptions.register_custom_ops_library``.

    Raises:
        OpLibraryMissing: if this install was built without it; the text says why.
        OpLibraryDigest: if the file is not the one that was built.
        OpLibraryVersion: if it is for another machine, lacks an entry, holds other ops or needs a newer engine.
        OpLibraryProvider: if the provider needs kernels it does not hold, or a newer driver.
    """
    path = _verified_file(folder)
    told = _checked_description(path)
    if ort_version is not None:
        _check_engine(path, told, ort_version)
    if provider != "cpu":
        _check_cuda(path, told, provider)
    return path


def describe(*, folder: Path = LIBRARY_FOLDER) -> dict[str, Any]:
    """What the library says of itself: ops and versions, ONNX Runtime API, CPU kernels usable here, CUDA.

    Args:
        folder: where the build left the library and its note.

    Returns:
        ``library_version``, ``ort_api_version``, ``ops``, ``cpu_kernels`` (the fastest first), ``cuda`` (None, or
        ``archs``, ``runtime_version`` and ``driver_version``), ``sha256``, and with CUDA kernels ``cuda_usable`` with
        ``cuda_reason`` where they are not.

    Raises:
        OpLibraryMissing: if this install was built without it.
        OpLibraryDigest: if the file is not the one that was built.
        OpLibraryVersion: if it is for another machine, lacks an entry or holds other ops.
    """
    path = _verified_file(folder)
    told = dict(_checked_description(path))
    told["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    if told["cuda"] is not None:
        reason = _cuda_reason(told["cuda"])
        told["cuda_usable"], told["cuda_reason"] = reason is None, reason
    return told


@functools.cache
def open_library(path: Path) -> ctypes.CDLL:
    """The opened library; call ``library_path`` first, which checks it.

    Raises:
        OpLibraryVersion: if the dynamic loader refuses it.
    """
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise OpLibraryVersion(
            f"op library {path.name} cannot be opened",
            got=str(error),
            expected="a library that the system's loader takes",
            fix=_BUILD_AGAIN,
        ) from error


def _verified_file(folder: Path) -> Path:
    path = folder / LIBRARY_NAME
    info = _build_info(folder)
    if info.get("status") != "built" or not path.is_file():
        reason = str(info.get("reason") or "the library file is not there").strip()
        raise OpLibraryMissing(
            "this install has no op library",
            got=f"build {info.get('status', 'not run')}: {reason}",
            expected=f"{LIBRARY_NAME} built during installation",
            fix=_BUILD_AGAIN,
        )
    if path.stat().st_size > _MOST_BYTES:
        raise OpLibraryDigest(
            f"op library {path.name} is too large",
            got=f"{path.stat().st_size} bytes",
            expected=f"at most {_MOST_BYTES}",
            fix=_BUILD_AGAIN,
        )
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != info.get("sha256"):
        raise OpLibraryDigest(
            f"op library {path.name} is not the file that was built",
            got=f"sha256 {digest}",
            expected=f"sha256 {info.get('sha256')}",
            fix="Install lsts-edge again; do not copy libraries into the package.",
        )
    _check_machine(path, content)
    return path


def _build_info(folder: Path) -> dict[str, Any]:
    try:
        info = json.loads((folder / BUILD_INFO).read_text())
    except FileNotFoundError:
        return {"status": "not run", "reason": f"there is no {BUILD_INFO}"}
    except (OSError, ValueError) as error:
        return {"status": "unknown", "reason": f"{BUILD_INFO} cannot be read: {error}"}
    return info if isinstance(info, dict) else {"status": "unknown", "reason": f"{BUILD_INFO} is no JSON object"}


def _check_machine(path: Path, content: bytes) -> None:
    here = _MACHINE_NAMES.get(platform.machine().lower(), platform.machine().lower())
    if len(content) < 20 or content[:4] != b"\x7fELF":
        got = "a file that is no ELF library"
    else:
        number = struct.unpack_from("<H" if content[5] == 1 else ">H", content, 18)[0]
        got = _ELF_MACHINES.get(number, f"machine number {number}")
    if got != here:
        raise OpLibraryVersion(
            f"op library {path.name} is for another machine", got=got, expected=here, fix=_BUILD_AGAIN
        )


@functools.cache
def _description(path: Path) -> dict[str, Any]:
    library = open_library(path)
    missing = [name for name in ("RegisterCustomOps", "lsts_ops_describe") if not hasattr(library, name)]
    if missing:
        raise OpLibraryVersion(
            f"op library {path.name} lacks an entry",
            got=f"no {', '.join(missing)}",
            expected="RegisterCustomOps and lsts_ops_describe",
            fix=_BUILD_AGAIN,
        )
    entry = library.lsts_ops_describe
    entry.restype = ctypes.c_char_p
    entry.argtypes = [ctypes.c_void_p]
    try:
        told = json.loads(entry(None))
    except (TypeError, ValueError) as error:
        raise OpLibraryVersion(
            f"op library {path.name} does not describe itself", got=str(error), expected="JSON", fix=_BUILD_AGAIN
        ) from error
    if (
        not isinstance(told, dict)
        or not {"ops", "ort_api_version", "cpu_kernels", "cuda", "table_version"} <= told.keys()
    ):
        raise OpLibraryVersion(
            f"op library {path.name} describes itself in other words",
            got=str(told)[:200],
            expected=", ".join(sorted(_TOLD)),
            fix=_BUILD_AGAIN,
        )
    return told


def _checked_description(path: Path) -> dict[str, Any]:
    """The description, its ops held to the specifications."""
    told = _description(path)
    held = [(op.get("domain"), op.get("name"), op.get("since")) for op in told["ops"]]
    if any((spec.domain, spec.name, spec.since) not in held for spec in OPS):
        raise OpLibraryVersion(
            f"op library {path.name} and this lsts-edge disagree about the ops",
            got=", ".join(f"{domain}::{name} version {since}" for domain, name, since in held) or "no op",
            expected=", ".join(f"{spec.qualified_name} version {spec.since}" for spec in OPS),
            fix=_BUILD_AGAIN,
        )
    return told


def _check_engine(path: Path, told: dict[str, Any], ort_version: str) -> None:
    parts = ort_version.split(".")
    offered = int(parts[1]) if len(parts) > 1 and parts[0] == "1" and parts[1].isdigit() else None
    needed = int(told["ort_api_version"])
    if offered is not None and offered < needed:
        raise OpLibraryVersion(
            f"op library {path.name} needs a newer ONNX Runtime",
            got=f"onnxruntime {ort_version} (API {offered})",
            expected=f"onnxruntime 1.{needed} or newer (API {needed})",
            fix="Install a newer onnxruntime.",
        )


def _check_cuda(path: Path, told: dict[str, Any], provider: str) -> None:
    if told["cuda"] is None:
        raise OpLibraryProvider(
            f"op library {path.name} has no kernels for provider {provider}",
            got="CPU kernels only: it was built where no nvcc was found",
            expected="CUDA kernels",
            fix="Install lsts-edge again where nvcc is in PATH.",
        )
    reason = _cuda_reason(told["cuda"])
    if reason is not None:
        raise OpLibraryProvider(
            f"the CUDA kernels of op library {path.name} cannot run here",
            got=reason,
            expected=f"a driver for CUDA {_cuda_version(told['cuda']['runtime_version'])}",
            fix="Update the driver, or build the library with the CUDA toolkit that the driver supports.",
        )


def _cuda_reason(cuda: dict[str, Any]) -> str | None:
    runtime, driver = int(cuda["runtime_version"]), int(cuda["driver_version"])
    if driver == 0:
        return "no CUDA driver"
    if driver // 1000 < runtime // 1000:
        return f"a driver for CUDA {_cuda_version(driver)} and a library with the CUDA {_cuda_version(runtime)} runtime"
    return None


def _cuda_version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
