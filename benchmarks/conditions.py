"""What the machine was doing while it was timed: others' load, clocks, power mode, throttling, memory, energy."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsts_edge.benchmarks.energy import EnergyMeter, open_energy_meter
from lsts_edge.benchmarks.machine import gpu_memory_used_mib

__all__ = ["Conditions", "ConditionsRecorder", "EnergyUsed", "peak_rss_mib", "reset_peak_rss"]

_CPU = Path("devices/system/cpu")


def peak_rss_mib(proc: Path = Path("/proc")) -> float:
    """Largest resident memory of this process so far (or since ``reset_peak_rss``), in MiB."""
    for line in _lines(proc / "self/status"):
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) / 1024, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def reset_peak_rss(proc: Path = Path("/proc")) -> bool:
    """Let the peak start again from what is resident now; False where the kernel does not allow it."""
    try:
        (proc / "self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class EnergyUsed:
    """Joules and where they come from, or the ``reason`` that there are none."""

    joules: float | None
    source: str | None
    reason: str | None


Pair = tuple[float | None, float | None]
"""Before and after."""


@dataclass(frozen=True)
class Conditions:
    """What the machine was doing meanwhile; what it does not tell is None.

    ``busy_by_others`` is the share of all processor time that other processes took: near 0 on a quiet machine.
    ``gpu_memory_used_mib`` is what each NVIDIA device had in use before and after, by everybody: engines keep what
    they once allocated, so the latter is the peak.
    """

    wall_s: float
    cpu_time_s: float
    busy_by_others: float | None
    load_average: tuple[float, float]
    peak_rss_mib: float
    governor: str | None
    clock_mhz: Pair
    power_mode: str | None
    throttle_events: int | None
    temperature_c: Pair
    energy: EnergyUsed
    gpu_memory_used_mib: tuple[tuple[float | None, ...], tuple[float | None, ...]] = ((), ())


class ConditionsRecorder:
    """Record what happens between ``start`` and ``stop``; a number without it cannot be trusted.

    Args:
        energy_meter: where joules come from; by default the best one the device offers.
        proc: where the kernel shows processes (another folder in tests).
        sysfs: where the kernel shows devices.
    """

    def __init__(
        self,
        energy_meter: Callable[[], EnergyMeter] | None = None,
        proc: Path = Path("/proc"),
        sysfs: Path = Path("/sys"),
    ) -> None:
        self._proc = proc
        self._sysfs = sysfs
        self._meter = (energy_meter or open_energy_meter)()
        self._before: dict[str, Any] | None = None

    def start(self) -> ConditionsRecorder:
        """Take the first reading; returns itself."""
        self._before = self._read()
        return self

    def stop(self) -> Conditions:
        """What happened since ``start``."""
        before, after = self._before or self._read(), self._read()
        wall_s = after["wall_s"] - before["wall_s"]
        cpu_s = after["cpu_s"] - before["cpu_s"]
        busy = total = None
        if before["stat"] and after["stat"]:
            total = after["stat"][1] - before["stat"][1]
            busy = after["stat"][0] - before["stat"][0]
        others = None
        if total:
            others = round(min(max((busy or 0.0) - cpu_s, 0.0) / total, 1.0), 4)
        joules = None
        if before["joules"] is not None and after["joules"] is not None:
            joules = round(after["joules"] - before["joules"], 4)
        return Conditions(
            wall_s=round(wall_s, 3),
            cpu_time_s=round(cpu_s, 3),
            busy_by_others=others,
            load_average=(before["load"], after["load"]),
            peak_rss_mib=peak_rss_mib(self._proc),
            governor=after["governor"],
            clock_mhz=(before["clock_mhz"], after["clock_mhz"]),
            power_mode=after["power_mode"],
            throttle_events=_difference(before["throttles"], after["throttles"]),
            temperature_c=(before["temperature_c"], after["temperature_c"]),
            energy=EnergyUsed(joules, self._meter.source, self._meter.reason),
            gpu_memory_used_mib=(before["gpu_memory_mib"], after["gpu_memory_mib"]),
        )

    def _read(self) -> dict[str, Any]:
        cpus = self._sysfs / _CPU
        return {
            "wall_s": time.perf_counter(),
            "cpu_s": time.process_time(),
            "stat": self._stat(),
            "load": round(os.getloadavg()[0], 2),
            "governor": _only(_values(cpus, "cpu[0-9]*/cpufreq/scaling_governor")),
            "clock_mhz": _mean([int(v) / 1000 for v in _values(cpus, "cpu[0-9]*/cpufreq/scaling_cur_freq")]),
            "power_mode": _only(_values(self._sysfs, "firmware/acpi/platform_profile")) or _nvpmodel(),
            "throttles": _total(_values(cpus, "cpu[0-9]*/thermal_throttle/core_throttle_count")),
            "temperature_c": max(
                (int(v) / 1000 for v in _values(self._sysfs / "class/thermal", "thermal_zone*/temp")), default=None
            ),
            "gpu_memory_mib": gpu_memory_used_mib(),
            "joules": self._meter.joules(),
        }

    def _stat(self) -> tuple[float, float] | None:
        """(busy, all) processor seconds of the whole machine since boot."""
        for line in _lines(self._proc / "stat"):
            name, *ticks = line.split()
            if name == "cpu":
                counts = [int(tick) for tick in ticks[:8]]
                hertz = os.sysconf("SC_CLK_TCK")
                return (sum(counts) - counts[3] - counts[4]) / hertz, sum(counts) / hertz
        return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _values(folder: Path, pattern: str) -> list[str]:
    found = [_lines(path) for path in sorted(folder.glob(pattern))]
    return [lines[0].strip() for lines in found if lines]


def _only(values: list[str]) -> str | None:
    return ", ".join(sorted(set(values))) or None


def _mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 1) if values else None


def _total(values: list[str]) -> int | None:
    return sum(int(value) for value in values) if values else None


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _nvpmodel() -> str | None:
    """Power mode of a Jetson as its own tool stored it."""
    lines = _lines(Path("/var/lib/nvpmodel/status"))
    return lines[0].strip() if lines else None
