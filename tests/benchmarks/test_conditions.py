"""The machine's side of a result: counters are read where they exist and the reason is given where not."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lsts_edge.benchmarks.conditions import ConditionsRecorder, EnergyUsed
from lsts_edge.benchmarks.energy import EnergyMeter, PowerMeter, RaplMeter, open_energy_meter
from lsts_edge.benchmarks.machine import Gpu, describe_device


def rapl_zone(folder: Path, microjoules: int, wrap: int = 1_000_000) -> Path:
    zone = folder / "intel-rapl:0"
    zone.mkdir(exist_ok=True)
    (zone / "energy_uj").write_text(f"{microjoules}\n")
    (zone / "max_energy_range_uj").write_text(f"{wrap}\n")
    return zone


def test_rapl_counts_and_wraps(tmp_path: Path) -> None:
    zone = rapl_zone(tmp_path, 900_000)
    meter = open_energy_meter(tmp_path)
    assert isinstance(meter, RaplMeter)
    assert meter.joules() == 0.0
    (zone / "energy_uj").write_text("950000")
    assert meter.joules() == pytest.approx(0.05)
    (zone / "energy_uj").write_text("49999")
    assert meter.joules() == pytest.approx(0.15)


def test_power_meter_adds_watts_over_time() -> None:
    before = time.perf_counter()
    meter = PowerMeter("a fake board", lambda: 20.0, period_s=0.01)
    start = time.perf_counter()
    time.sleep(0.1)
    end = time.perf_counter()
    joules = meter.joules()
    after = time.perf_counter()
    meter.close()
    assert 20.0 * (end - start) <= joules <= 20.0 * (after - before)  # however late anything runs


def test_no_meter_gives_the_reason(tmp_path: Path) -> None:
    meter = open_energy_meter(tmp_path)
    assert meter.joules() is None
    assert "no RAPL zone" in (meter.reason or "")
    stopped = ConditionsRecorder(lambda: meter).start().stop()
    assert stopped.energy == EnergyUsed(None, None, meter.reason)


def test_energy_of_a_run_is_the_difference() -> None:
    class Counter(EnergyMeter):
        source = "a fake counter"
        count = 5.0

        def joules(self) -> float:
            self.count += 2.0
            return self.count

    assert ConditionsRecorder(Counter).start().stop().energy.joules == 2.0


def test_clocks_throttling_and_load_of_others(tmp_path: Path) -> None:
    cpu = tmp_path / "sys/devices/system/cpu/cpu0"
    for name in ("cpufreq", "thermal_throttle"):
        (cpu / name).mkdir(parents=True)
    (cpu / "cpufreq/scaling_governor").write_text("powersave\n")
    (cpu / "cpufreq/scaling_cur_freq").write_text("1800000\n")
    (cpu / "thermal_throttle/core_throttle_count").write_text("3\n")
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "temp").write_text("71000\n")
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "stat").write_text("cpu 1000 0 0 9000 0 0 0 0 0 0\n")
    recorder = ConditionsRecorder(EnergyMeter, proc=proc, sysfs=tmp_path / "sys").start()
    (cpu / "thermal_throttle/core_throttle_count").write_text("7\n")
    (proc / "stat").write_text("cpu 51000 0 0 59000 0 0 0 0 0 0\n")
    found = recorder.stop()
    assert found.governor == "powersave"
    assert found.clock_mhz == (1800.0, 1800.0)
    assert found.throttle_events == 4
    assert found.temperature_c == (71.0, 71.0)
    assert found.busy_by_others == pytest.approx(0.5, abs=0.01), "half of the time, and it was not ours"


def test_our_own_work_is_not_others_load() -> None:
    recorder = ConditionsRecorder(EnergyMeter).start()
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    found = recorder.stop()
    assert found.cpu_time_s >= 0.2
    assert found.busy_by_others is None or 0.0 <= found.busy_by_others <= 1.0


PEAK = """
import numpy as np
from lsts_edge.benchmarks.conditions import peak_rss_mib, reset_peak_rss
if reset_peak_rss():
    before = peak_rss_mib()
    array = np.ones(64 * 2**20, dtype=np.uint8)
    print(peak_rss_mib() - before)
"""


def test_peak_memory_sees_a_planted_array() -> None:
    """In a process of its own: here, pages that an earlier test freed might be used again and not count."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    if not done.stdout:
        pytest.skip("the kernel does not let the peak be reset")
    assert 60 <= float(done.stdout) < 80


def test_device_from_another_kernel(tmp_path: Path) -> None:
    (tmp_path / "device-tree").mkdir()
    (tmp_path / "device-tree/model").write_text("NVIDIA Jetson Orin Nano Developer Kit\x00")
    (tmp_path / "cpuinfo").write_text(
        "processor : 0\nFeatures : fp asimd asimdhp i8mm\nCPU implementer : 0x41\nCPU part : 0xd42\n"
    )
    (tmp_path / "meminfo").write_text("MemTotal: 7990000 kB\n")
    device = describe_device(tmp_path, tmp_path)
    assert device.board == "NVIDIA Jetson Orin Nano Developer Kit"
    assert device.cpu_model == "Arm implementer 0x41 part 0xd42"
    assert device.cpu_flags == ("asimd", "asimdhp", "i8mm")
    assert device.memory_gib == 8


class NoNvidia(Exception):
    """What the stand-in's calls raise, as the driver's library has one class for all its errors."""


def _driver(told: bool) -> SimpleNamespace:
    """A stand-in for NVML with one device; on a machine without one its calls cannot be reached otherwise."""

    def memory(handle: int) -> SimpleNamespace:
        if not told:
            raise NoNvidia
        return SimpleNamespace(total=8 << 30, used=(300 + handle) << 20)

    return SimpleNamespace(
        NVMLError=NoNvidia,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetMemoryInfo=memory,
        nvmlDeviceGetName=lambda handle: b"stand-in",
        nvmlSystemGetDriverVersion=lambda: "1.0",
    )


@pytest.mark.parametrize(("told", "used", "total"), [(True, 300.0, 8.0), (False, None, None)])
def test_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch, told: bool, used: float | None, total: float | None) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", _driver(told))
    found = ConditionsRecorder(EnergyMeter).start().stop()
    assert found.gpu_memory_used_mib == ((used,), (used,))
    assert describe_device().gpus == (Gpu("stand-in", total, "1.0"),)


def test_no_package_means_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert ConditionsRecorder(EnergyMeter).start().stop().gpu_memory_used_mib == ((), ())
    assert describe_device().gpus == ()
