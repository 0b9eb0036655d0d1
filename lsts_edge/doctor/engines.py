"""Engines: which are installed, which packages overwrite each other, and what each provider really runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lsts_edge.doctor.finding import Finding
from lsts_edge.doctor.probe import GRAPHS
from lsts_edge.runtime.child import ChildLimits, Ending, run_child
from lsts_edge.runtime.engines.installed import installed_engines, onnxruntime_packages, opencv_packages
from lsts_edge.runtime.engines.interface import BACKENDS, INSTALL_LINES

__all__ = ["check_engines"]

_LIMITS = ChildLimits(time_s=120.0)  # a TensorRT engine of the probe graphs is built in half a minute
_TRIAL = "lsts_edge.doctor.provider_trial"
_AT_ONCE = 2


def check_engines(engines: Sequence[str] = tuple(BACKENDS), limits: ChildLimits = _LIMITS) -> list[Finding]:
    """Each provider of each engine runs small graphs in a child process: a crash there is a finding.

    The level of a provider that does not run is ``error``, of TensorRT ``warning``: its package brings it on machines
    without its libraries too.

    Args:
        engines: names of those to look at.
        limits: of each child.
    """
    found = list(_clashes())
    engines = [name for name in engines if name in installed_engines()]
    if not engines:
        return [*found, Finding("engine-missing", "error", "engines", "none is installed", INSTALL_LINES)]
    if any(one.code == "engine-clash" for one in found):
        engines = [name for name in engines if name != "onnxruntime"]  # what would be tried is anybody's guess
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for group in pool.map(lambda engine: _engine(engine, limits), engines):
            found += group
    return found


def _clashes() -> Iterator[Finding]:
    for packages, code, level in (
        (onnxruntime_packages(), "engine-clash", "error"),
        (opencv_packages(), "opencv-clash", "warning"),
    ):
        if len(packages) > 1:
            got = " and ".join(f"{name} {version}" for name, version in packages.items()) + ", which share one folder"
            fix = f"Run: pip uninstall {' '.join(packages)}, then install one of them again."
            what = "ONNX Runtime" if code == "engine-clash" else "OpenCV"
            yield Finding(code, level, what, got, fix, {"packages": packages})  # type: ignore[arg-type]


def _engine(engine: str, limits: ChildLimits) -> list[Finding]:
    ending = run_child(_TRIAL, [engine, ""], limits, engine)
    if ending is None:
        return [_no_child(engine)]
    told = _lines(ending)
    offered = next((line["offered"] for line in told if "offered" in line), None)
    if ending.refused or offered is None:
        got = ending.refused or "it did not say which providers there are"
        fix = f"Reinstall it, or install another version: pip install --force-reinstall {engine}."
        return [Finding("engine-broken", "error", engine, got, fix, {"crashed": ending.crashed})]
    version = next((line["version"] for line in told if "version" in line), "")
    short, told_facts = version.partition("-")[0], {"version": version, "providers": offered}
    found = [Finding("engine-ok", "ok", engine, short, facts=told_facts)]
    for provider in offered:
        found += _provider(engine, provider, limits)
    if absent := [name for name in BACKENDS[engine] if name not in offered]:
        fix = "Nothing to do without such a device; with one, install its driver and the engine's package for it."
        facts = {"engine": engine, "providers": absent}
        found.append(
            Finding("provider-absent", "note", f"{engine} {', '.join(absent)}", "not offered here", fix, facts)
        )
    return found


def _provider(engine: str, provider: str, limits: ChildLimits) -> Iterator[Finding]:
    ending = run_child(_TRIAL, [engine, provider], limits, f"{engine} on {provider}")
    if ending is None:
        yield _no_child(engine)
        return
    told = _lines(ending)
    graphs = {line["graph"]: line for line in told if "graph" in line}
    last = next((line["begun"] for line in reversed(told) if "begun" in line), "")
    died = last if ending.refused and last not in graphs else ""
    what, facts = f"{engine} {provider}", {"engine": engine, "provider": provider}
    plain = graphs.get("taps")
    if plain is None:
        fix = "Update the driver or the engine, or use another provider."
        code = "provider-crashed" if ending.crashed else "provider-unusable"
        yield Finding(code, _severity(provider), what, ending.refused or "it said nothing", fix, facts)
        return
    if plain.get("refused"):
        yield Finding("provider-unusable", _severity(provider), what, plain["refused"], plain["fix"], facts)
        return
    if plain["wrong"]:
        fix = "Do not use it: update the driver or the engine."
        yield Finding("provider-wrong", "error", what, plain["wrong"], fix, facts)
        return
    forms = [name for name, line in graphs.items() if not line.get("refused") and not line["wrong"]]
    got = f"ran LSTS as {', '.join(forms)}: right numbers"
    yield Finding("provider-ok", "ok", what, got, facts={**facts, "forms": forms})
    for name in GRAPHS[1:]:
        yield from _form(what, name, graphs.get(name), ending.refused if name == died else "", facts)


def _form(what: str, name: str, told: dict[str, Any] | None, died: str, facts: dict[str, Any]) -> Iterator[Finding]:
    what, facts = f"{what}, form {name}", {**facts, "form": name}
    use = "Use --lsts-form taps."
    if died:
        yield Finding("form-crashed", "warning", what, died, f"{use} auto finds this out by itself.", facts)
    elif told is not None and told.get("refused"):
        yield Finding(
            "form-unusable", "note", what, told["refused"], f"{told['fix']} Until then the form is taps.", facts
        )
    elif told is not None and told["wrong"]:
        yield Finding("form-wrong", "error", what, told["wrong"], use, facts)


def _severity(provider: str) -> Any:
    return "warning" if provider == "tensorrt" else "error"


def _lines(ending: Ending) -> list[dict[str, Any]]:
    """What the child told; an engine may have printed lines of its own between."""
    found = []
    for line in ending.output.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def _no_child(engine: str) -> Finding:
    got = "no interpreter to start a child process with, so nothing was tried"
    return Finding("provider-untried", "note", engine, got, "Run lsts-edge in an ordinary Python.")
