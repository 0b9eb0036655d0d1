"""Describe the device a number was measured on, without naming the host: a key tells two devices apart."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["describe_device", "device_key", "device_name", "gpu_memory_used_mib", "package_versions"]

_FLAGS = (
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16", "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve",
)  # fmt: skip
_PACKAGES = (
    "lsts-edge", "numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "opencv-python", "av", "torch", "onnx", "ncnn",
)  # fmt: skip
_KEY_FIELDS = ("architecture", "cpu_model", "logical_cores", "memory_gib", "gpus", "board")


def describe_device(proc: Path = Path("/proc"), sysfs: Path = Path("/sys")) -> dict[str, Any]:
    """What the machine is: processor, cores, vector extensions, memory, system, accelerators.

    Nothing in it names the host, the user or a path. What cannot be read is None.

    Args:
        proc: where the kernel shows processes (another folder in tests).
        sysfs: where the kernel shows devices.
    """
    cpuinfo = _read(proc / "cpuinfo") or ""
    words = set((_field(cpuinfo, "flags") or _field(cpuinfo, "Features") or "").split())
    memory_kib = _field(_read(proc / "meminfo") or "", "MemTotal")
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "architecture": platform.machine(),
        "cpu_model": _cpu_model(cpuinfo),
        "logical_cores": os.cpu_count(),
        "usable_cores": affinity,
        "cpu_flags": [flag for flag in _FLAGS if flag in words],
        "cpu_cache": _caches(sysfs),
        "virtual_machine": "hypervisor" in words,
        "memory_gib": round(int(memory_kib.split()[0]) / 2**20) if memory_kib else None,
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "distribution": _distribution(),
        "python": platform.python_version(),
        "board": _board(proc),
        "gpus": _gpus(),
    }


def device_key(device: Mapping[str, Any]) -> str:
    """Twelve hex digits that are equal for equal hardware: results with different keys are never compared.

    Args:
        device: what ``describe_device`` returned (or the same after JSON).
    """
    gpus = [gpu["name"] for gpu in device.get("gpus") or []]
    identity = {name: gpus if name == "gpus" else device.get(name) for name in _KEY_FIELDS}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def device_name(device: Mapping[str, Any]) -> str:
    """One short line that a reader knows the device by."""
    named = device.get("board") or device.get("cpu_model") or "unknown processor"
    gpus = [gpu["name"] for gpu in device.get("gpus") or []]
    virtual = " (virtual machine)" if device.get("virtual_machine") else ""
    return " + ".join([f"{named}, {device.get('usable_cores')} cores, {device.get('memory_gib')} GiB{virtual}", *gpus])


def package_versions() -> dict[str, str]:
    """Versions of the packages that a time can depend on, those installed only."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None


def _field(text: str, name: str) -> str | None:
    """Value of the first ``name : value`` line."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _cpu_model(cpuinfo: str) -> str | None:
    named = _field(cpuinfo, "model name") or _field(cpuinfo, "Model")
    if named:
        return named
    implementer, part = _field(cpuinfo, "CPU implementer"), _field(cpuinfo, "CPU part")
    return f"Arm implementer {implementer} part {part}" if implementer and part else platform.processor() or None


def _caches(sysfs: Path) -> dict[str, str]:
    """Size of each cache that the first core sees, by level and type."""
    found = {}
    for index in sorted((sysfs / "devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (_read(index / name) for name in ("level", "type", "size"))
        if level and kind and size:
            found[f"L{level.strip()} {kind.strip().lower()}"] = size.strip()
    return found


def _distribution() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def _board(proc: Path) -> str | None:
    """Name of a developer board (Jetson, Raspberry Pi) from its device tree."""
    text = _read(proc / "device-tree/model")
    return text.strip("\x00 \n") or None if text else None


def gpu_memory_used_mib() -> list[float | None]:
    """What everybody together holds on each NVIDIA device now; None where its driver does not tell."""
    memories = (_gpu_memory(*device) for device in _nvml_devices())
    return [None if memory is None else round(memory.used / 2**20, 1) for memory in memories]


def _gpus() -> list[dict[str, Any]]:
    found = []
    for nvml, handle in _nvml_devices():
        memory = _gpu_memory(nvml, handle)
        found.append(
            {
                "name": _text(nvml.nvmlDeviceGetName(handle)),
                "memory_gib": None if memory is None else round(memory.total / 2**30, 1),
                "driver": _text(nvml.nvmlSystemGetDriverVersion()),
            }
        )
    return found


def _nvml_devices() -> Iterator[tuple[Any, Any]]:
    """NVML and the handle of each NVIDIA device, where its Python package and a driver are present."""
    try:
        import pynvml
    except ImportError:
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return
    try:
        for index in range(pynvml.nvmlDeviceGetCount()):
            yield pynvml, pynvml.nvmlDeviceGetHandleByIndex(index)
    finally:
        pynvml.nvmlShutdown()


def _gpu_memory(nvml: Any, handle: Any) -> Any | None:
    """Total and used bytes; None where the driver does not tell: a GPU that shares the host's memory may have none."""
    try:
        return nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
