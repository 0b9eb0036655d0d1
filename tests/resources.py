"""What a process holds, sample by sample, and whether that grows: resident memory, threads, descriptors."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["ALLOWED_BYTES", "growth", "used"]

ALLOWED_BYTES = 3 << 20  # of resident memory, from the median of the second quarter to that of the last
_ALLOWED = {"resident_bytes": ALLOWED_BYTES, "threads": 0, "descriptors": 0}


def used() -> dict[str, int]:
    """What this process holds now."""
    status = Path("/proc/self/status").read_text()
    resident_kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return {
        "resident_bytes": resident_kib * 1024,
        "threads": threading.active_count(),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }


def growth(samples: Sequence[Mapping[str, float]]) -> dict[str, int]:
    """What grew by more than is allowed, and by how much; empty where nothing did.

    Args:
        samples: of ``used``, evenly spaced, at least 8. The first quarter is warm-up: caches and pools fill. Medians
            of the quarters are compared, so that a single sample in the middle of a reconnection says nothing.
    """
    quarter = len(samples) // 4
    assert quarter >= 2, f"{len(samples)} samples are too few to judge"
    found = {}
    for what, allowed in _ALLOWED.items():
        early, late = (
            sorted(sample[what] for sample in part)[quarter // 2]
            for part in (samples[quarter : 2 * quarter], samples[-quarter:])
        )
        if late - early > allowed:
            found[what] = int(late - early)
    return found
