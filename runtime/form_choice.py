"""Choose the LSTS form on the device: a short measurement, kept in the user's cache, never in the bundle.

Which form is fastest depends on the engine, its version, the processor and the threads, so a bundle carries them all
and ``auto`` times them here once: each form's LSTS graph on random inputs, in turn. The answer is kept under the
bundle's digest, the device, the engine and the op library, and taken from there the next time.
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

import numpy as np

from lsts_edge.bundle import Bundle
from lsts_edge.bundle.manifest import GraphInfo
from lsts_edge.errors import OpLibraryError, OptionError, ProviderError
from lsts_edge.runtime.engines.interface import Session
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions

__all__ = ["FormChoice", "cache_folder", "choose_form"]

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


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/lsts-edge`` or ``~/.cache/lsts-edge``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lsts-edge"


def choose_form(
    bundle: Bundle, options: EngineOptions | None = None, *, folder: Path | None = None, rounds: int = 15
) -> FormChoice:
    """Time the bundle's forms on this device, or take what was measured before.

    Args:
        bundle: an open bundle with an LSTS model.
        options: the engine, which must not be open yet; its ``lsts_form`` and ``joined`` say nothing here.
        folder: where choices are kept; ``cache_folder()`` unless given.
        rounds: timed runs of each form, in turn.

    Returns:
        The choice. A form that cannot run here (no op library, say) is left out and named in ``refused``.

    Raises:
        OptionError: if the bundle has no LSTS, or none of the forms that can be chosen.
        ProviderError: if the engine or provider is missing, or no form runs.
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
    sessions, refused, version = _open_forms(bundle, forms, options)
    default = lsts.default_form if lsts.default_form in sessions else next(iter(sessions))
    if len(sessions) == 1:
        return FormChoice(default, {}, refused, from_cache=False)
    key = _key(bundle.digest, options.name, version, options.provider, str(options.threads), options.precision)
    path = (folder or cache_folder()) / "forms" / f"{key}.json"
    times = _read(path, set(sessions))
    from_cache = times is not None
    if times is None:
        times = _measure(sessions, bundle.manifest.graphs[_graph_of(bundle)], rounds)
        _write(path, times)
    fastest = min(times, key=lambda form: times[form])
    form = fastest if times[fastest] <= _MARGIN * times[default] else default
    return FormChoice(form, times, refused, from_cache)


def _graph_of(bundle: Bundle) -> str:
    """The LSTS graph that runs most often: the one of propagated frames."""
    steps = bundle.manifest.programs.get("propagated", ())
    for step in steps:
        if len(bundle.manifest.graphs[step.graph].forms) > 1:
            return step.graph
    return next(name for name, graph in bundle.manifest.graphs.items() if len(graph.forms) > 1)


def _open_forms(
    bundle: Bundle, forms: list[str], options: EngineOptions
) -> tuple[dict[str, Session], dict[str, str], str]:
    graph = _graph_of(bundle)
    sessions: dict[str, Session] = {}
    refused: dict[str, str] = {}
    version = ""
    for form in forms:
        try:
            engine = open_backend(options, custom_op=form == "custom")
            sessions[form] = engine.load(bundle.model_for(options.name, graph, form), graph)
            version = engine.version
        except OpLibraryError as error:
            refused[form] = str(error)
    if not sessions:
        raise ProviderError(
            f"no LSTS form of the bundle runs on {options.name}",
            got="; ".join(refused.values()),
            expected=" or ".join(forms),
            fix="Export the bundle with --lsts-form all.",
        )
    return sessions, refused, version


def _measure(sessions: Mapping[str, Session], graph: GraphInfo, rounds: int) -> dict[str, float]:
    random = np.random.RandomState(0)
    feeds: dict[str, np.ndarray] = {}
    for tensor in graph.inputs:
        shape = [size if isinstance(size, int) else 32 for size in tensor.shape]  # an open size: a typical map
        feeds[tensor.name] = (random.standard_normal(shape) * 0.1).astype(tensor.dtype)
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


def _read(path: Path, forms: set[str]) -> dict[str, float] | None:
    """Times measured before; None where there are none for these forms, or the file is not ours."""
    try:
        kept = json.loads(path.read_text())
        times = {str(form): float(value) for form, value in kept["times_ms"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return times if set(times) == forms and all(0 < value < 1e9 for value in times.values()) else None


def _write(path: Path, times: Mapping[str, float]) -> None:
    """Keep the times; a cache that cannot be written costs a measurement at each start and nothing else."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".form.", delete=False) as staged:
            json.dump({"schema": _SCHEMA, "times_ms": dict(times)}, staged)
        os.replace(staged.name, path)
    except OSError as error:
        logger.warning("the choice of LSTS form is not kept: %s", error.strerror)
