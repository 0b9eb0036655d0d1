"""Power: the processor's governor, the board's power mode, and whether the supply or the heat holds it back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lsts_edge.doctor.finding import Finding

__all__ = ["check_power"]

_SAVING = ("powersave", "conservative")
_DRIVERS_OWN = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")  # their "powersave" clocks up under load
_THROTTLED = {0: "under-voltage now", 1: "clock held back now", 2: "throttled now", 3: "near its temperature limit now"}


def check_power(sysfs: Path = Path("/sys"), var: Path = Path("/var"), etc: Path = Path("/etc")) -> list[Finding]:
    """Read what the kernel and a Jetson's own tool left in files; nothing is run or set.

    Args:
        sysfs: where the kernel shows devices.
        var: where nvpmodel keeps its state.
        etc: where nvpmodel has its table of modes.
    """
    found = [*_governor(sysfs), *_profile(sysfs), *_nvpmodel(var, etc), *_raspberry(sysfs)]
    if not found:
        got = "this machine shows no governor and no power mode (a virtual machine or container)"
        found.append(Finding("power-unknown", "note", "power", got, "Look at the host."))
    return found


def _governor(sysfs: Path) -> Iterator[Finding]:
    cpus = sysfs / "devices/system/cpu"
    governors = sorted({_line(path) for path in cpus.glob("cpu[0-9]*/cpufreq/scaling_governor")} - {""})
    if not governors:
        return
    drivers = {_line(path) for path in cpus.glob("cpu[0-9]*/cpufreq/scaling_driver")}
    facts = {"governors": governors}
    told = ", ".join(governors)
    if any(name in _SAVING for name in governors) and not drivers & set(_DRIVERS_OWN):
        fix = "For steady times: sudo cpupower frequency-set -g performance (or schedutil, which clocks up under load)."
        yield Finding("governor-saving", "warning", "CPU governor", told, fix, facts)
    else:
        yield Finding("governor-ok", "ok", "CPU governor", told, facts=facts)


def _profile(sysfs: Path) -> Iterator[Finding]:
    profile = _line(sysfs / "firmware/acpi/platform_profile")
    if profile == "low-power":
        fix = "Run: powerprofilesctl set balanced (or performance)."
        yield Finding("power-mode-low", "warning", "power profile", profile, fix, {"mode": profile})
    elif profile:
        yield Finding("power-mode-ok", "ok", "power profile", profile, facts={"mode": profile})


def _nvpmodel(var: Path, etc: Path) -> Iterator[Finding]:
    """A Jetson's mode: 0 is its largest budget; ``pmode:0002`` and the table of names are nvpmodel's files."""
    state = _line(var / "lib/nvpmodel/status")
    number = state.rpartition(":")[2].lstrip("0") or "0" if state else ""
    if not number:
        return
    names = dict(_modes(etc / "nvpmodel.conf"))
    told = f"mode {number}{' ' + names[number] if number in names else ''}"
    facts = {"mode": number, "name": names.get(number)}
    if number == "0":
        yield Finding("power-mode-ok", "ok", "nvpmodel", told, facts=facts)
    else:
        fix = "For the largest budget: sudo nvpmodel -m 0, then sudo jetson_clocks."
        yield Finding("power-mode-low", "warning", "nvpmodel", told, fix, facts)


def _modes(path: Path) -> Iterator[tuple[str, str]]:
    """``< POWER_MODEL ID=0 NAME=MAXN >`` -> ``("0", "MAXN")``."""
    for line in _text(path).splitlines():
        if "POWER_MODEL" in line:
            words = dict(word.split("=", 1) for word in line.strip("<> \n").split() if "=" in word)
            if "ID" in words and "NAME" in words:
                yield words["ID"], words["NAME"]


def _raspberry(sysfs: Path) -> Iterator[Finding]:
    """A Raspberry Pi's firmware tells in bits what holds it back."""
    for path in sysfs.glob("devices/platform/soc*/soc*:firmware/get_throttled"):
        try:
            bits = int(_line(path), 16)
        except ValueError:
            continue
        told = [text for bit, text in _THROTTLED.items() if bits >> bit & 1]
        if told:
            fix = "Use the official power supply, and a heat sink or fan."
            yield Finding("power-throttled", "warning", "supply and heat", ", ".join(told), fix, {"bits": bits})
        else:
            yield Finding("power-steady", "ok", "supply and heat", "nothing is held back", facts={"bits": bits})


def _line(path: Path) -> str:
    return (_text(path).splitlines() or [""])[0].strip()


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
