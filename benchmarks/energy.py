"""Joules where the device tells them: RAPL (Intel, AMD), NVML (NVIDIA), jtop (Jetson); else None and the reason."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["EnergyMeter", "PowerMeter", "RaplMeter", "open_energy_meter"]

logger = logging.getLogger(__name__)


class EnergyMeter:
    """A meter that tells nothing: what a device without a readable counter has.

    Args:
        reason: why there is no figure.
    """

    source: str | None = None

    def __init__(self, reason: str | None = None) -> None:
        self.reason = reason

    def joules(self) -> float | None:
        """Joules counted since some fixed moment; None where nothing counts them."""
        return None

    def close(self) -> None:
        """Stop whatever runs in the background."""


class RaplMeter(EnergyMeter):
    """The processor packages' own counters (microjoules, each wraps at its own range).

    Read it at least once per wrap, about every 20 minutes at 200 W.

    Args:
        zones: folders such as ``/sys/class/powercap/intel-rapl:0``.

    Raises:
        OSError: if a counter cannot be read (by default only root may).
    """

    source = "RAPL package counters"

    def __init__(self, zones: list[Path]) -> None:
        super().__init__()
        self._wraps = {zone / "energy_uj": int((zone / "max_energy_range_uj").read_text()) for zone in zones}
        self._last = {counter: int(counter.read_text()) for counter in self._wraps}
        self._microjoules = 0

    def joules(self) -> float:
        """Joules since this meter was made."""
        for counter, wrap in self._wraps.items():
            now = int(counter.read_text())
            self._microjoules += (now - self._last[counter]) % (wrap + 1)
            self._last[counter] = now
        return self._microjoules / 1e6


class PowerMeter(EnergyMeter):
    """A device that tells watts only: a background thread reads it and adds watts times seconds.

    Args:
        source: what is read, for the result file.
        watts: reads the power now.
        period_s: between two readings.
    """

    def __init__(self, source: str, watts: Callable[[], float], period_s: float = 0.2) -> None:
        super().__init__()
        self.source = source
        self._watts = watts
        self._joules = 0.0
        self._last = (time.perf_counter(), watts())
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, args=(period_s,), name="power-meter", daemon=True)
        self._thread.start()

    def joules(self) -> float:
        """Joules since this meter was made."""
        with self._lock:
            now = (time.perf_counter(), self._watts())
            self._joules += (now[0] - self._last[0]) * (now[1] + self._last[1]) / 2
            self._last = now
            return self._joules

    def close(self) -> None:
        """End the background thread."""
        self._stopped.set()
        self._thread.join()

    def _sample(self, period_s: float) -> None:
        while not self._stopped.wait(period_s):
            self.joules()


class _NvmlMeter(EnergyMeter):
    """The first NVIDIA device's own counter (millijoules since the driver was loaded)."""

    source = "NVML total energy of GPU 0"

    def __init__(self) -> None:
        super().__init__()
        import pynvml

        pynvml.nvmlInit()
        self._handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        self._count = pynvml.nvmlDeviceGetTotalEnergyConsumption
        self.joules()

    def joules(self) -> float:
        return float(self._count(self._handle)) / 1e3


def open_energy_meter(powercap: Path = Path("/sys/class/powercap"), accelerator: bool = False) -> EnergyMeter:
    """The meter that fits: the accelerator's when it does the work, else the processor's, else the board's.

    Args:
        powercap: where the kernel shows RAPL zones (another folder in tests).
        accelerator: whether an NVIDIA device does the work.
    """
    reasons = []
    if accelerator:
        try:
            return _NvmlMeter()
        except Exception as error:  # NVML raises its own classes, and its package may be absent
            reasons.append(f"NVML: {type(error).__name__}")
    zones = sorted(path for path in powercap.glob("*-rapl:*") if path.name.count(":") == 1)
    if zones:
        try:
            return RaplMeter(zones)
        except OSError as error:
            reasons.append(f"RAPL counters not readable ({type(error).__name__}; root only by default)")
    else:
        reasons.append("no RAPL zone (a virtual machine, or neither Intel nor AMD)")
    board = _open_jtop()
    if board is not None:
        return board
    reasons.append("no jtop service (Jetson)")
    return EnergyMeter("; ".join(reasons))


def _open_jtop() -> EnergyMeter | None:
    """Jetson's total board power; the package is jetson-stats, and its service must run."""
    try:
        from jtop import jtop
    except ImportError:
        return None
    try:
        board = jtop()
        board.start()
        return PowerMeter("jtop total board power", lambda: float(board.power["tot"]["power"]) / 1e3)
    except Exception as error:  # jtop raises its own class when the service is absent
        logger.warning("jtop is installed and does not answer: %s", error)
        return None
