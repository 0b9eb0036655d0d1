"""A fresh process that imports, loads and gives its first boxes, and says when: run by ``cold_start``."""

from __future__ import annotations

import json
import sys
import time

__all__ = ["main"]


def main() -> None:
    """Print one JSON line of moments (ns of the system's monotonic clock) and memory (MiB).

    The arguments are the bundle's path, engine and stream options as JSON, and how many frames follow the first.
    ``perf_counter_ns`` reads the same clock in every process on Linux, so the parent's start time fits.
    """
    entered_ns = time.perf_counter_ns()
    bundle, options, more = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
    import numpy as np

    from lsts_edge.runtime import Detector, EngineOptions

    imported_ns = time.perf_counter_ns()
    detector = Detector(bundle, EngineOptions(**options["engine"]), **options["stream"])
    loaded_ns = time.perf_counter_ns()
    frame = np.full((360, 640, 3), 128, np.uint8)
    frame[90:270, 160:480] = 64
    detector.push(frame)
    first_ns = time.perf_counter_ns()
    rss_first = _status_mib("VmRSS")
    for _ in range(more):
        detector.push(frame)
    moments = {"entered_ns": entered_ns, "imported_ns": imported_ns, "loaded_ns": loaded_ns, "first_ns": first_ns}
    memory = {"rss_after_first_mib": rss_first, "rss_mib": _status_mib("VmRSS"), "peak_rss_mib": _status_mib("VmHWM")}
    print(json.dumps({**moments, **memory}))


def _status_mib(name: str) -> float | None:
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(name + ":"):
                return round(int(line.split()[1]) / 1024, 1)
    return None


if __name__ == "__main__":
    main()
