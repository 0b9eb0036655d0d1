"""Engines report to nobody: their telemetry is off before they can be imported, unless the user asks for it.

ONNX Runtime 1.32 keeps a device id and a database in the user's cache and sends events to its maker; it reads
``ORT_DISABLE_TELEMETRY`` when its library is loaded, and never again. OpenVINO's Python package sends an event each
time it is imported, and keeps an id in ``~/intel``, by way of the package ``openvino_telemetry``; where that cannot be
imported it takes its own stand-in that does nothing, and there is no other switch that writes nothing to the disk.

``import lsts_edge`` calls this, the one place that no way to an engine goes around: ours, a child process's, or a
program's that imports an engine after us.
"""

from __future__ import annotations

import os
import sys

__all__ = ["TELEMETRY_VARIABLE", "silence_engines", "telemetry_asked_for"]

TELEMETRY_VARIABLE = "LSTS_EDGE_TELEMETRY"
"""``on`` leaves the engines as their makers ship them; anything else, or nothing, silences them."""

_PACKAGE = "openvino_telemetry"


def telemetry_asked_for() -> bool:
    """Whether the user wants the engines' telemetry."""
    return os.environ.get(TELEMETRY_VARIABLE, "").lower() == "on"


def silence_engines() -> None:
    """Turn telemetry off in this process and those that it starts, for engines that are not imported yet."""
    if telemetry_asked_for():
        return
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    sys.modules.setdefault(_PACKAGE, None)  # type: ignore[arg-type]  # None: an import of it is refused
