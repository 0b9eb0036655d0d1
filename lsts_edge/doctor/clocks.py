"""Clocks: whether the time of day is kept by a server, and whether the one that frames are timed by is a good one."""

from __future__ import annotations

import ctypes
import datetime
import os
import time
from collections.abc import Callable
from pathlib import Path

from lsts_edge.doctor.finding import Finding

__all__ = ["check_clocks", "kernel_clock_state"]

_UNSYNCHRONISED = 5  # adjtimex(2): TIME_ERROR
_RELEASED_S = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc).timestamp()
_SLOW_SOURCES = ("hpet", "acpi_pm", "jiffies", "refined-jiffies")


def kernel_clock_state() -> int | None:
    """What the kernel says of the clock's synchronisation (``adjtimex``); None where it may not be asked."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(512)  # struct timex, all zeros: nothing is set, it is read
    try:
        state = int(libc.adjtimex(buffer))
    except AttributeError:
        return None
    return None if state < 0 else state


def check_clocks(
    sysfs: Path = Path("/sys"),
    state: Callable[[], int | None] = kernel_clock_state,
    now_s: Callable[[], float] = time.time,
) -> list[Finding]:
    """The time of day, who keeps it, and the monotonic clock.

    Args:
        sysfs: where the kernel shows devices.
        state: asks the kernel for the clock's synchronisation.
        now_s: the time of day.
    """
    return [_time_of_day(now_s()), _synchronised(state()), _monotonic(sysfs)]


def _time_of_day(now_s: float) -> Finding:
    moment = datetime.datetime.fromtimestamp(now_s, tz=datetime.timezone.utc)
    told = f"{moment:%Y-%m-%d %H:%M} UTC"
    if now_s < _RELEASED_S:
        fix = "Set it (timedatectl set-ntp true): until then certificates are refused and names of segments are wrong."
        return Finding("clock-wrong", "warning", "time of day", f"{told}, before this version was made", fix)
    return Finding("clock-ok", "ok", "time of day", told)


def _synchronised(state: int | None) -> Finding:
    if state is None:
        return Finding("clock-unknown", "note", "time server", "the kernel may not be asked here")
    if state == _UNSYNCHRONISED:
        got = "the clock is kept by none, or by the host of this container or virtual machine"
        fix = "Run: timedatectl set-ntp true (or install chrony). Time stamps of live sources drift from the world's."
        return Finding("clock-unsynchronised", "warning", "time server", got, fix)
    return Finding("clock-synchronised", "ok", "time server", "the kernel's clock is synchronised")


def _monotonic(sysfs: Path) -> Finding:
    clock = time.get_clock_info("monotonic")
    try:
        hardware = (sysfs / "devices/system/clocksource/clocksource0/current_clocksource").read_text().strip()
    except OSError:
        hardware = "unknown source"
    facts = {"source": hardware, "resolution_s": clock.resolution, "cores": len(os.sched_getaffinity(0))}
    if hardware in _SLOW_SOURCES:
        got = f"read from {hardware}, which takes microseconds each time"
        fix = "The kernel found its usual one unsteady (dmesg says why): update the firmware."
        return Finding("clock-slow", "warning", "monotonic clock", got, fix, facts)
    return Finding(
        "clock-monotonic", "ok", "monotonic clock", f"{hardware}, steps of {clock.resolution:g} s", facts=facts
    )
