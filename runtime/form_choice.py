"""Choose the LSTS form on the device: a short measurement, kept in the user's cache, never in the bundle.

Which form is fastest depends on the engine, its version, the processor and the threads, so a bundle carries them all
and ``auto`` times them here once: each form's LSTS graph on random inputs, in turn. Before that each form is tried in a
process of its own, so that an engine that a form crashes ends that process and not this one. The answer is kept under
the bundle's digest, the device, the engine and the op library, and taken from there the next time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lsts_edge.bundle import Bundle
from lsts_edge.bundle.manifest import GraphInfo, LstsInfo
from lsts_edge.cache import cache_folder
from lsts_edge.errors import OpLibraryError, OptionError, ProviderError
from lsts_edge.runtime.engines.interface import Backend, Session
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.form_trial import example_feeds, try_form

__all__ = ["FormChoice", "choose_form"]

logger = logging.getLogger(__name__)

_CANDIDATES = ("taps", "custom")  # GridSample is for comparison: many times slower on every engine
_SCHEMA = 1
_MARGIN = 0.95  # the default form is left only for one that takes at most this share of its time


@dataclass(frozen=True)
class FormChoice:
    """The form to run and why.

    Attributes:
        form: ``taps`` or ``custom``.
        times_ms: median time of each form's graph; empty where there was nothing to choose.
        refused: form to the reason why it cannot run here.
        from_cache: True where an earlier measurement answered.
    """

    form: str
    times_ms: Mapping[str, float]
    refused: Mapping[str, str]
    from_cache: bool


def choose_form(
    bundle: Bundle, options: EngineOptions | None = None, *, folder: Path | None = None, rounds: int = 15
) -> FormChoice:
    """Time the bundle's forms on this device, or take what was measured before.

    Args:
        bundle: an open bundle with an LSTS model.
        options: the engine, which must not be open yet; its ``lsts_form`` and ``joined`` say nothing here.
        folder: where choices are kept; the user's cache unless given. Without a home they are not kept.
        rounds: timed runs of each form, in turn.

    Returns:
        The choice. A form that cannot run here (no op library, say) is left out and named in ``refused``.

    Raises:
        OptionError: if the bundle has no LSTS, or none of the forms that can be chosen.
        ProviderError: if the engine or provider is missing, or no form runs (the text says of what each died).
    """
    options = options or EngineOptions()
    lsts = bundle.manifest.lsts
    forms = [form for form in _CANDIDATES if lsts is not None and form in lsts.forms]
    if lsts is None or not forms:
        raise OptionError(
            "LSTS form auto",
            got="a per-frame model" if lsts is None else f"forms {', '.join(lsts.forms)}",
            expected=f"a bundle with {' or '.join(_CANDIDATES)}",
            fix="Leave --lsts-form out, or export the bundle with --lsts-form all.",
        )
    if len(forms) == 1:
        return FormChoice(forms[0], {}, {}, from_cache=False)
    refused: dict[str, str] = {}
    engines = _open_engines(forms, options, refused)
    if len(engines) == 1:
        return FormChoice(next(iter(engines)), {}, refused, from_cache=False)
    version = next((engine.version for engine in engines.values()), "")
    key = _key(bundle.digest, options.name, version, options.provider, str(options.threads), options.precision)
    folder = folder or cache_folder()
    path = None if folder is None else folder / "forms" / f"{key}.json"
    kept = None if path is None else _read(path, set(engines))
    if kept is not None:
        return FormChoice(_fastest(kept.times_ms, lsts), kept.times_ms, {**refused, **kept.refused}, from_cache=True)
    graph, crashed = _graph_of(bundle), {}
    for form in engines:
        trial = try_form(bundle, graph, form, options)
        if trial.refused:
            refused[form] = trial.refused
            if trial.crashed:
                crashed[form] = trial.refused
    running = [form for form in engines if form not in refused]
    if not running:
        raise ProviderError(
            f"no LSTS form of the bundle runs on {options.name}",
            got="; ".join(f"{form}: {reason}" for form, reason in refused.items()),
            expected=" or ".join(forms),
            fix="Export the bundle with --lsts-form all.",
        )
    sessions = {form: engines[form].load(bundle.model_for(options.name, graph, form), graph) for form in running}
    times = _measure(sessions, bundle.manifest.graphs[graph], rounds)
    if set(times) | set(crashed) == set(engines):  # another refusal may be gone the next time
        _write(path, _Kept(times, crashed))
    return FormChoice(_fastest(times, lsts), times, refused, from_cache=False)


@dataclass(frozen=True)
class _Kept:
    """What the cache holds: times of the forms that ran, and of what the others died."""

    times_ms: Mapping[str, float]
    refused: Mapping[str, str]


def _fastest(times: Mapping[str, float], lsts: LstsInfo) -> str:
    default = lsts.default_form if lsts.default_form in times else next(iter(times))
    fastest = min(times, key=lambda form: times[form])
    return fastest if times[fastest] <= _MARGIN * times[default] else default


def _graph_of(bundle: Bundle) -> str:
    """The LSTS graph that runs most often: the one of propagated frames."""
    steps = bundle.manifest.programs.get("propagated", ())
    for step in steps:
        if len(bundle.manifest.graphs[step.graph].forms) > 1:
            return step.graph
    return next(name for name, graph in bundle.manifest.graphs.items() if len(graph.forms) > 1)


def _open_engines(forms: list[str], options: EngineOptions, refused: dict[str, str]) -> dict[str, Backend]:
    engines = {}
    for form in forms:
        try:
            engines[form] = open_backend(options, custom_op=form == "custom")
        except OpLibraryError as error:
            refused[form] = str(error)
    return engines


def _measure(sessions: Mapping[str, Session], graph: GraphInfo, rounds: int) -> dict[str, float]:
    feeds = example_feeds(graph)
    samples: dict[str, list[float]] = {form: [] for form in sessions}
    for number in range(-3, rounds):  # three untimed rounds first
        for form in sorted(sessions, reverse=number % 2 == 0):
            start_ns = time.perf_counter_ns()
            sessions[form].run(feeds)
            if number >= 0:
                samples[form].append((time.perf_counter_ns() - start_ns) / 1e6)
    return {form: round(statistics.median(found), 4) for form, found in samples.items()}


def _key(*parts: str) -> str:
    device = (platform.machine(), _processor(), str(len(os.sched_getaffinity(0))), _library_digest())
    return hashlib.sha256("\n".join((str(_SCHEMA), *parts, *device)).encode()).hexdigest()[:32]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "CPU part", "CPU implementer"))}))


def _library_digest() -> str:
    from lsts_edge.custom_ops import describe

    try:
        return str(describe()["sha256"])
    except OpLibraryError:
        return "none"


def _read(path: Path, forms: set[str]) -> _Kept | None:
    """What was measured before; None where there is nothing for these forms, or the file is not ours."""
    try:
        content = json.loads(path.read_text())
        times = {str(form): float(value) for form, value in content["times_ms"].items()}
        refused = {str(form): str(reason) for form, reason in content.get("refused", {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    whole = set(times) | set(refused) == forms and not set(times) & set(refused)
    return _Kept(times, refused) if times and whole and all(0 < value < 1e9 for value in times.values()) else None


def _write(path: Path | None, kept: _Kept) -> None:
    """Keep the answer; a cache that cannot be written costs a measurement at each start and nothing else."""
    if path is None:
        logger.warning("the choice of LSTS form is not kept: no home folder (XDG_CACHE_HOME=FOLDER names another)")
        return
    content = {"schema": _SCHEMA, "times_ms": dict(kept.times_ms), "refused": dict(kept.refused)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".form.", delete=False) as staged:
            json.dump(content, staged)
        os.replace(staged.name, path)
    except OSError as error:
        logger.warning("the choice of LSTS form is not kept: %s", error.strerror)
