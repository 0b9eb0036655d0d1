"""Telemetry of the engines: on or off, and what they left on this disk when it was on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lsts_edge.doctor.finding import Finding
from lsts_edge.telemetry import TELEMETRY_VARIABLE, telemetry_asked_for

__all__ = ["check_telemetry"]

_TRACES = (
    "{cache}/Microsoft/DeveloperTools/.onnxruntime",
    "{home}/intel/openvino_ga_cid",
    "{home}/intel/stats",
)


def check_telemetry() -> list[Finding]:
    """Whether the engines report to their makers from here, and ids that they keep from before."""
    value = os.environ.get(TELEMETRY_VARIABLE)
    facts = {
        "asked_for": telemetry_asked_for(),
        "ORT_DISABLE_TELEMETRY": os.environ.get("ORT_DISABLE_TELEMETRY"),
        "openvino_telemetry_kept_out": sys.modules.get("openvino_telemetry", ...) is None,
    }
    if telemetry_asked_for():
        got, fix = f"as the engines' makers ship them ({TELEMETRY_VARIABLE}={value})", f"Unset {TELEMETRY_VARIABLE}."
        found = [Finding("telemetry-on", "note", "telemetry", got, fix, facts)]
    else:
        found = [Finding("telemetry-off", "ok", "telemetry", "off, of every engine", facts=facts)]
        if value not in (None, "", "off"):
            got, fix = f"{TELEMETRY_VARIABLE} has a value that asks for nothing", "Only the word on turns it on."
            found.append(Finding("telemetry-variable", "warning", "telemetry", got, fix))
    if traces := _traces():
        got = f"ids that engines kept earlier: {', '.join(traces)}"
        found.append(Finding("telemetry-traces", "note", "telemetry", got, f"Run: rm -r {' '.join(traces)}"))
    return found


def _traces() -> list[str]:
    home = os.environ.get("HOME") or os.path.expanduser("~")
    cache = os.environ.get("XDG_CACHE_HOME") or f"{home}/.cache"
    paths = [Path(pattern.format(cache=cache, home=home)) for pattern in _TRACES]
    return [str(path) for path in paths if path.exists()]
