"""Who takes part in a comparison: engines, methods, LSTS forms, further bundles and peers, from the user's options."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lsts_edge.benchmarks.alignments import DenseFlow
from lsts_edge.benchmarks.compare import Entry, RunSettings, run_comparison
from lsts_edge.benchmarks.compare_result import CompareResult, CompareSettings, EntryFacts
from lsts_edge.benchmarks.contestants import BundleContestant, PeerContestant
from lsts_edge.benchmarks.envelope import Origin, Precision, bundle_facts
from lsts_edge.benchmarks.peers import NanoDetPlus, YoloxNano
from lsts_edge.benchmarks.rivals import FOR_EVERY_BUNDLE, METHODS, method_runner, method_scheduler
from lsts_edge.benchmarks.timed_clip import Clip
from lsts_edge.bundle import Bundle
from lsts_edge.errors import OpLibraryError, OptionError
from lsts_edge.kinds import check_fields
from lsts_edge.progress import Progress, silent
from lsts_edge.runtime.engines.installed import installed_engines
from lsts_edge.runtime.engines.interface import BACKENDS, Backend
from lsts_edge.runtime.engines.loads_once import LoadsOnce
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions

__all__ = ["EngineChoice", "Lineup", "LineupOptions", "compare_bundle", "line_up"]

_PEER_PX = (416, 416)


@dataclass(frozen=True)
class EngineChoice:
    """An engine with its provider and precision; ``parse`` reads ``openvino:cpu:bf16``."""

    backend: str
    provider: str = "cpu"
    precision: str = "fp32"

    @classmethod
    def parse(cls, text: str) -> EngineChoice:
        """Read ``backend[:provider[:precision]]``.

        Raises:
            OptionError: if there are more parts, or the backend is unknown.
        """
        parts = text.split(":")
        if not 1 <= len(parts) <= 3 or parts[0] not in BACKENDS:
            raise OptionError(
                "engine", got=repr(text), expected="backend[:provider[:precision]]", fix="Give openvino:cpu:bf16, say."
            )
        return cls(*parts)


@dataclass(frozen=True)
class LineupOptions:
    """What is compared. ``forms`` None takes every form the bundle has; ``engines`` empty takes what is installed.

    ``also`` are further bundles of the same model (another precision, say): per-frame and LSTS entries each.
    """

    engines: tuple[EngineChoice, ...] = ()
    methods: tuple[str, ...] = tuple(METHODS)
    forms: tuple[str, ...] | None = None
    joined: bool = True
    also: tuple[Path, ...] = ()
    yolox: Path | None = None
    nanodet: Path | None = None
    threads: int | None = None
    score_floor: float = 0.01
    max_detections: int = 100

    def __post_init__(self) -> None:
        check_fields(self)
        unknown = [name for name in self.methods if name not in METHODS]
        if unknown or not self.methods:
            raise OptionError(
                "methods", got=unknown or "none", expected=", ".join(METHODS), fix="Choose some of these."
            )
        if not 0 <= self.score_floor <= 1:
            raise OptionError("score floor", got=self.score_floor, expected="0..1", fix="Give 0.01.")

    def chosen_engines(self) -> tuple[EngineChoice, ...]:
        """The engines asked for, else every CPU engine that is installed."""
        return self.engines or tuple(EngineChoice(name) for name in installed_engines())

    def chosen_threads(self) -> int:
        """The same number for every engine: asked for, else the cores this process may use."""
        return self.threads or len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Lineup:
    """The entries, and who could not take part and why."""

    entries: tuple[Entry, ...]
    left_out: dict[str, str]


def line_up(bundle: Bundle, options: LineupOptions) -> Lineup:
    """Load everybody. One who cannot be loaded is left out with the reason, unless it is an engine asked for.

    Args:
        bundle: the bundle under comparison.
        options: what is compared.

    Raises:
        ProviderError: if an engine is missing or fails.
        BundleError: if a further bundle is refused.
        OptionError: if a peer's file is not what it should be.
    """
    entries: list[Entry] = []
    left_out: dict[str, str] = {}
    threads = options.chosen_threads()
    for engine in options.chosen_engines():
        for one in (bundle, *(Bundle.open(path) for path in options.also)):
            _add_bundle(entries, left_out, one, bundle, engine, options, threads)
        if options.yolox is not None:
            size = _peer_size(bundle)
            backend = _open(engine, threads)
            yolox = YoloxNano(options.yolox, backend, *size, options.score_floor, options.max_detections)
            precision = Precision(engine=engine.precision)
            facts = EntryFacts("yolox-nano", engine.backend, engine.provider, precision, size)
            entries.append(Entry(facts, PeerContestant(yolox)))
    if options.nanodet is not None:
        size = _peer_size(bundle)
        nanodet = NanoDetPlus(options.nanodet, threads, *size, options.score_floor, options.max_detections)
        facts = EntryFacts("nanodet-plus", "ncnn", "cpu", Precision(note="ncnn's own choice"), size)
        entries.append(Entry(facts, PeerContestant(nanodet)))
    return Lineup(tuple(entries), left_out)


def _add_bundle(
    entries: list[Entry],
    left_out: dict[str, str],
    bundle: Bundle,
    main: Bundle,
    engine: EngineChoice,
    options: LineupOptions,
    threads: int,
) -> None:
    backend, no_op = _open_with_op(engine, threads, bundle)
    methods = options.methods if bundle is main else tuple(m for m in options.methods if m in ("per-frame", "lsts"))
    scale = bundle.manifest.light_scale
    facts = [
        EntryFacts(
            method=method,
            engine=engine.backend,
            provider=engine.provider,
            precision=bundle_facts(bundle).precision(engine.precision),
            input_px=(bundle.manifest.input.height_px, bundle.manifest.input.width_px),
            form=form,
            joined=joined,
            bundle=bundle.digest,
            variant=None if scale == main.manifest.light_scale else f"light path at {scale:g}",
        )
        for method, form, joined in _variants(bundle, methods, options)
    ]
    if {one.label for one in facts} & {*(entry.name for entry in entries), *left_out}:
        facts = [replace(one, variant=bundle.path.name) for one in facts]  # in the same precision as one before it
    baseline = next((one.label for one in facts if one.method == "per-frame"), None)
    for one in facts:
        if one.form == "custom" and no_op is not None:
            left_out[one.label] = no_op
            continue
        try:
            runner = method_runner(bundle, one.method, backend, form=one.form, joined=bool(one.joined))
        except OptionError as error:
            left_out[one.label] = str(error)
            continue
        scheduler = method_scheduler(bundle.manifest, one.method)
        contestant = BundleContestant(bundle.manifest.classes, runner, options.score_floor, scheduler)
        entries.append(Entry(one, contestant, baseline if one.label != baseline else None))


def _variants(bundle: Bundle, methods: Sequence[str], options: LineupOptions) -> list[tuple[str, str | None, bool]]:
    """(method, LSTS form, joined) of every entry of a bundle."""
    lsts = bundle.manifest.lsts
    forms = [form for form in (lsts.forms if lsts else ()) if options.forms is None or form in options.forms]
    may_join = options.joined and bool(bundle.manifest.joined)
    found: list[tuple[str, str | None, bool]] = []
    for method in methods:
        if method == "lsts":
            found += [(method, form, False) for form in forms]
            found += [(method, form, True) for form in forms if may_join]
        elif method == "per-frame":
            found += [(method, None, False)] + ([(method, None, True)] if may_join else [])
        elif lsts is not None or method in FOR_EVERY_BUNDLE:
            found.append((method, None, False))
    return found


def _open_with_op(engine: EngineChoice, threads: int, bundle: Bundle) -> tuple[LoadsOnce, str | None]:
    """The engine with our op registered where the bundle has that form; else without, and why."""
    forms = bundle.manifest.lsts.forms if bundle.manifest.lsts else ()
    if "custom" in forms:
        try:
            return LoadsOnce(_open(engine, threads, custom_op=True)), None
        except OpLibraryError as error:
            return LoadsOnce(_open(engine, threads)), str(error)
    return LoadsOnce(_open(engine, threads)), None


def _open(engine: EngineChoice, threads: int, custom_op: bool = False) -> Backend:
    options = EngineOptions(engine.backend, engine.provider, threads, engine.precision)
    return open_backend(options, custom_op=custom_op)


def _peer_size(bundle: Bundle) -> tuple[int, int]:
    """The bundle's input size where the peer can take it, so that both see the same pixels; else its own 416x416."""
    height, width = bundle.manifest.input.height_px, bundle.manifest.input.width_px
    return (height, width) if height % 32 == 0 and width % 32 == 0 else _PEER_PX


def compare_bundle(
    bundle: Bundle,
    source: Path | None,
    options: LineupOptions,
    run: RunSettings,
    annotations: Path | None = None,
    progress: Progress = silent,
) -> CompareResult:
    """Load everybody, time them over the same frames, measure accuracy where annotations are given.

    Args:
        bundle: the bundle under comparison.
        source: a video file; None runs the procedural clip.
        options: who takes part.
        run: how much is run.
        annotations: COCO-VID style JSON; None leaves accuracy out.
        progress: told after every segment and every accuracy.

    Raises:
        ProviderError: if an engine is missing or fails.
        StreamError: if the source cannot be read.
        AnnotationError: if the annotations cannot be read.
    """
    meter = None
    if annotations is not None:
        from lsts_edge.benchmarks.accuracy.meter import AccuracyMeter

        meter = AccuracyMeter(annotations, bundle.manifest.classes, run.keyframe_interval)
    lineup = line_up(bundle, options)
    clip = Clip(source)
    data, conditions = run_comparison(
        lineup.entries,
        clip,
        run,
        left_out=lineup.left_out,
        accuracy=meter.measure if meter is not None else None,
        progress=progress,
    )
    if meter is not None:
        ours = [entry.name for entry in lineup.entries if entry.facts.method == "lsts"]
        data = replace(data, accuracy_differences={name: meter.differences(name) for name in ours[:1]})
    return CompareResult(
        origin=Origin.here(),
        bundle=bundle_facts(bundle),
        conditions=conditions,
        settings=CompareSettings(
            **asdict(run),
            frames_per_segment=run.frames_per_segment,
            threads=options.chosen_threads(),
            score_floor=options.score_floor,
            methods={name: METHODS[name] for name in options.methods},
            flow=DenseFlow.settings,
            peers=tuple(path.name for path in (options.yolox, options.nanodet) if path is not None),
            annotations=annotations.name if annotations is not None else None,
            clip=clip.facts,
        ),
        data=data,
    )
