"""Describe the device a number was measured on, without naming the host: a key tells two devices apart."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsts_edge.runtime.engines.installed import installed_versions

__all__ = ["Device", "Gpu", "describe_device", "gpu_memory_used_mib", "package_versions"]

_FLAGS = (
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16", "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve",
)  # fmt: skip
_PACKAGES = (
    "lsts-edge", "numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "opencv-python", "av", "torch", "onnx", "ncnn",
)  # fmt: skip


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA device; ``memory_gib`` None where its driver does not tell."""

    name: str
    memory_gib: float | None
    driver: str


@dataclass(frozen=True)
class Device:
    """What a machine is: processor, cores, vector extensions, memory, system, accelerators.

    Nothing in it names the host, the user or a path. What could not be read is None.
    """

    architecture: str
    cpu_model: str | None
    logical_cores: int | None
    usable_cores: int | None
    cpu_flags: tuple[str, ...]
    cpu_cache: Mapping[str, str]
    virtual_machine: bool
    memory_gib: int | None
    system: str
    distribution: str | None
    python: str
    board: str | None
    gpus: tuple[Gpu, ...]

    @property
    def key(self) -> str:
        """Twelve hex digits that are equal for equal hardware: results with different keys are never compared."""
        identity = {
            "architecture": self.architecture,
            "cpu_model": self.cpu_model,
            "logical_cores": self.logical_cores,
            "memory_gib": self.memory_gib,
            "gpus": [gpu.name for gpu in self.gpus],
            "board": self.board,
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """One short line that a reader knows the device by."""
        named = self.board or self.cpu_model or "unknown processor"
        virtual = " (virtual machine)" if self.virtual_machine else ""
        processor = f"{named}, {self.usable_cores} cores, {self.memory_gib} GiB{virtual}"
        return " + ".join([processor, *(gpu.name for gpu in self.gpus)])


def describe_device(proc: Path = Path("/proc"), sysfs: Path = Path("/sys")) -> Device:
    """The machine this runs on.

    Args:
        proc: where the kernel shows processes (another folder in tests).
        sysfs: where the kernel shows devices.
    """
    cpuinfo = _read(proc / "cpuinfo") or ""
    words = set((_field(cpuinfo, "flags") or _field(cpuinfo, "Features") or "").split())
    memory_kib = _field(_read(proc / "meminfo") or "", "MemTotal")
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Device(
        architecture=platform.machine(),
        cpu_model=_cpu_model(cpuinfo),
        logical_cores=os.cpu_count(),
        usable_cores=affinity,
        cpu_flags=tuple(flag for flag in _FLAGS if flag in words),
        cpu_cache=_caches(sysfs),
        virtual_machine="hypervisor" in words,
        memory_gib=round(int(memory_kib.split()[0]) / 2**20) if memory_kib else None,
        system=f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        distribution=_distribution(),
        python=platform.python_version(),
        board=_board(proc),
        gpus=tuple(_gpus()),
    )


def package_versions() -> dict[str, str]:
    """Versions of the packages that a time can depend on, those installed only."""
    return installed_versions(_PACKAGES)


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


def gpu_memory_used_mib() -> tuple[float | None, ...]:
    """What everybody together holds on each NVIDIA device now; None where its driver does not tell."""
    memories = (_gpu_memory(*device) for device in _nvml_devices())
    return tuple(None if memory is None else round(memory.used / 2**20, 1) for memory in memories)


def _gpus() -> Iterator[Gpu]:
    for nvml, handle in _nvml_devices():
        memory = _gpu_memory(nvml, handle)
        yield Gpu(
            _text(nvml.nvmlDeviceGetName(handle)),
            None if memory is None else round(memory.total / 2**30, 1),
            _text(nvml.nvmlSystemGetDriverVersion()),
        )


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
