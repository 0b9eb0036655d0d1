"""Chooses the precision of each subgraph: int8 or fp16 where it saves time and the measured drop in AP50 is small."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from lsts_edge.bundle import DraftBundle
from lsts_edge.bundle.precision_info import LowPrecision, PrecisionChoice, PrecisionInfo
from lsts_edge.errors import CheckFailed, OptionError
from lsts_edge.evaluation.annotations import AnnotationSet, read_annotations
from lsts_edge.progress import Progress, silent
from lsts_edge.publish.calibration import CalibrationClips, Recording, record_feeds
from lsts_edge.publish.gate import MAX_DROP_POINTS, MAX_UPPER_POINTS, Figures, Gate, Judge
from lsts_edge.publish.graph_times import FrameTimes, GraphTimer, time_graphs
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions

__all__ = ["PrecisionPlan", "choose_precision", "plan_precision"]

MAX_CALIBRATION_SEQUENCES = 8

Mode = Literal["fp16", "int8", "auto"]
Lowered = Mapping[str, LowPrecision]  # graph -> what it is; others are float32
Versions = dict[tuple[str, LowPrecision], bytes]  # graph and precision -> the graph in it, serialised


@dataclass(frozen=True)
class PrecisionPlan:
    """What ``--precision`` and its options ask for."""

    mode: Mode
    clips: CalibrationClips
    gate: Gate | None
    graphs: tuple[str, ...] = ()
    """Only these may become lower; none leaves it to the mode."""
    timer: GraphTimer = time_graphs
    """What times the graphs: the order in which ``auto`` tries them follows these times."""


def plan_precision(
    mode: Mode,
    classes: tuple[str, ...],
    *,
    calibrate: Path | None,
    calibrate_sequences: Sequence[str] = (),
    gate: Path | None = None,
    gate_sequences: Sequence[str] = (),
    held_out: Sequence[str] = (),
    max_drop_points: float = MAX_DROP_POINTS,
    graphs: Sequence[str] = (),
) -> PrecisionPlan:
    """Check the options against each other and read the annotations.

    Args:
        mode: ``fp16``, ``int8`` or ``auto``.
        classes: of the model.
        calibrate: COCO-VID style annotations (``.json``) or a video; ``fp16`` has no ranges and needs none.
        calibrate_sequences: of the annotations; none takes up to 8 that the gate leaves.
        gate: annotations to measure AP50 on; None takes those of ``calibrate`` when sequences are named or held out.
        gate_sequences: of the gate; none takes those held out, or all of another file than ``calibrate``'s.
        held_out: sequences that the checkpoint was not trained on.
        max_drop_points: limit of the drop, 0..100 AP50 points.
        graphs: the only ones to lower, the head among them if named; none leaves it to the mode.

    Raises:
        OptionError: if something is missing, unknown or out of range, or gate and calibration share a sequence.
        AnnotationError: if a file cannot be read.
    """
    from lsts_edge.export.quantize import QUANTIZABLE

    _graphs_to_lower(graphs, list(QUANTIZABLE))
    if calibrate is None and mode != "fp16":
        fix = "Add --calibrate ANNOTATIONS.json or --calibrate VIDEO."
        raise OptionError(f"--precision {mode}", got="nothing to calibrate on", expected="real clips", fix=fix)
    if not 0 <= max_drop_points <= 100:
        raise OptionError("--max-ap-drop", got=max_drop_points, expected="0..100 AP50 points", fix="Give points.")
    source = read_annotations(calibrate, classes) if calibrate and calibrate.suffix == ".json" else None
    if source is None and calibrate_sequences:
        fix = "Leave them out, or add --calibrate ANNOTATIONS.json."
        raise OptionError("--calibrate-sequences", got="no annotations", expected="annotations", fix=fix)
    judge = None if gate is None else read_annotations(gate, classes)
    if judge is None and source is not None and (gate_sequences or set(held_out) & set(source.sequences())):
        judge = source
    if judge is not None:
        judge = _gate_of(judge, source, gate_sequences, held_out)
    if judge is None and (mode == "auto" or gate_sequences):
        fix = "Add --gate ANNOTATIONS.json, or --gate-sequences of the calibration's file."
        raise OptionError(f"--precision {mode}", got="nothing to measure AP50 on", expected="a gate", fix=fix)
    judged = set() if judge is None else set(judge.sequences())
    if source is not None:
        source = _calibration_of(source, calibrate_sequences, judged)
        _refuse_overlap(set(source.sequences()) & judged)
    limits = None if judge is None else Gate(judge, bool(judged) and judged <= set(held_out), max_drop_points)
    return PrecisionPlan(
        mode, CalibrationClips(calibrate, {} if source is None else source.sequences()), limits, tuple(graphs)
    )


def choose_precision(
    exported: DraftBundle,
    plan: PrecisionPlan,
    *,
    forms: Sequence[str] | None,
    threads: int | None = None,
    finish: Callable[[DraftBundle], DraftBundle] = lambda draft: draft,
    progress: Progress = silent,
) -> Iterator[DraftBundle]:
    """Lower the precision of what pays and passes: drafts, the best first; asking for the next refuses the last.

    ``auto`` starts from float32 and takes graphs and precisions one by one, what saves most time first; a graph stays
    lowered if the drop of all lowered graphs together is within the limits in every program set of the files that
    would be written. A draft that is refused is followed by the choice before it, and so on to float32. ``int8`` and
    ``fp16`` take the graphs that the plan names, without names every one but the head, and give one draft.

    Args:
        exported: in float32; it has matched torch.
        plan: calibration, gate and mode.
        forms: LSTS forms to judge, the first of which is timed; None of a network without LSTS.
        threads: of the engines.
        finish: makes of a draft what will be written, such as IR beside the graphs.
        progress: told of each step as it starts.

    Yields:
        Finished drafts, whose manifests tell how they were chosen.

    Raises:
        CheckFailed: if one precision was asked for and its drop is beyond a limit.
        OptionError: if this network lacks a graph that the plan names, or its float32 form finds too little on the
            gate for a drop to show.
    """
    from lsts_edge.export.exporter import with_lowered
    from lsts_edge.export.quantize import QUANTIZABLE

    gate = plan.gate
    judged = () if gate is None else tuple(gate.truth.sequences())
    split = _split(exported)
    names = _graphs_to_lower(plan.graphs, [name for name in QUANTIZABLE if name in split.manifest.graphs])
    form = None if forms is None else forms[0]
    progress(f"running {plan.clips.description} for the inputs of each graph")
    recording = record_feeds(split, plan.clips, form=form, threads=threads)
    versions = _lowered(split, names, plan.mode, recording, progress)
    progress("timing each graph in each precision")
    backend = open_backend(EngineOptions(threads=threads), custom_op=form == "custom")
    graph_ms = plan.timer(backend, _to_time(split, versions, form), recording.feeds)
    times = FrameTimes(graph_ms, split.manifest)
    judge = None if gate is None else Judge(gate, forms, threads, progress)
    rows: list[PrecisionChoice] = []

    def build(lowered: Lowered) -> DraftBundle:
        return finish(with_lowered(exported, {name: (kind, versions[name, kind]) for name, kind in lowered.items()}))

    def measure(lowered: Lowered) -> PrecisionChoice:
        figures = Figures() if judge is None else judge.measure(build(lowered), lowered)
        if not figures.passed and plan.mode != "auto":
            assert gate is not None
            raise _beyond(figures, gate, plan.mode)
        keyframe_ms, propagated_ms = times.frame_ms(lowered)
        rows.append(PrecisionChoice(lowered, *figures[:3], keyframe_ms, propagated_ms, figures.passed, chosen=False))
        return rows[-1]

    chosen = measure({})
    if plan.mode == "auto":
        chosen = _search(measure, chosen, times.paying(tuple(versions)))
    else:
        chosen = measure({name: kind for name, kind in versions if name != "head" or plan.graphs})
    while True:
        progress(f"chosen: {chosen.words}")
        info = PrecisionInfo(
            mode=plan.mode,
            calibration=plan.clips.description,
            calibration_frames=recording.frames,
            gate=None if gate is None else gate.truth.path.name,
            gate_sequences=judged,
            gate_held_out=gate is not None and gate.held_out,
            max_drop_points=MAX_DROP_POINTS if gate is None else gate.max_drop_points,
            max_upper_points=MAX_UPPER_POINTS if gate is None else gate.max_upper_points,
            engine=f"{backend.name} {backend.version}, {threads or 'all'} threads",
            torch_tensor_error=0.0,
            graph_ms=graph_ms,
            choices=tuple(dataclasses.replace(row, chosen=row is chosen) for row in rows),
        )
        draft = build(chosen.lowered)
        yield DraftBundle.of(dataclasses.replace(draft.manifest, precision=info), draft.files)
        if plan.mode != "auto" or not chosen.lowered:
            return
        # The search kept each choice for being faster than the last: the one before is the best that is left.
        at = next(index for index, row in enumerate(rows) if row is chosen)
        rows[at] = dataclasses.replace(chosen, passed=False)
        chosen = next(row for row in reversed(rows[:at]) if row.passed)


def _lowered(
    split: DraftBundle, names: Sequence[str], mode: Mode, recording: Recording, progress: Progress
) -> Versions:
    """The named graphs in each precision that the mode looks at."""
    from lsts_edge.export.half import halved
    from lsts_edge.export.quantize import quantized

    versions: Versions = {}
    for name in names:
        raw = split.files[split.manifest.graphs[name].forms["default"]]
        if mode != "fp16":
            progress(f"quantising {name} on {len(recording.feeds[name])} of its inputs")
            versions[name, "int8"] = quantized(name, raw, recording.feeds[name]).SerializeToString(deterministic=True)
        if mode != "int8":
            versions[name, "fp16"] = halved(name, raw).SerializeToString(deterministic=True)
    return versions


def _search(
    measure: Callable[[Lowered], PrecisionChoice], start: PrecisionChoice, paying: Sequence[tuple[str, LowPrecision]]
) -> PrecisionChoice:
    """Greedy: what saves most is tried first and kept if it passes; a graph is lowered once."""
    chosen = start
    refused: list[tuple[str, LowPrecision, PrecisionChoice]] = []  # beside which choice
    for name, kind in paying:
        if name not in chosen.lowered:
            row = measure({**chosen.lowered, name: kind})
            chosen = row if row.passed else chosen
            refused += [] if row.passed else [(name, kind, chosen)]
    # What failed alone may pass beside graphs that were taken later: errors of two graphs can cancel.
    for name, kind, beside in refused:
        if beside is not chosen and name not in chosen.lowered:
            row = measure({**chosen.lowered, name: kind})
            chosen = row if row.passed else chosen
    return chosen


def _to_time(split: DraftBundle, versions: Versions, form: str | None) -> dict[str, dict[str, bytes]]:
    """Graph -> precision -> serialised graph, float32 first."""
    found: dict[str, dict[str, bytes]] = {
        name: {"fp32": split.files[info.forms.get(form or "default") or info.forms["default"]]}
        for name, info in split.manifest.graphs.items()
    }
    for (name, kind), content in versions.items():
        found[name][kind] = content
    return found


def _gate_of(
    judge: AnnotationSet, source: AnnotationSet | None, names: Sequence[str], held_out: Sequence[str]
) -> AnnotationSet:
    known = set(judge.sequences())
    if names:
        return judge.only(_known("--gate-sequences", names, known))
    stated = set(held_out) & known
    if stated:
        return judge.only(stated)
    if source is not None and os.path.realpath(judge.path) == os.path.realpath(source.path):
        raise OptionError(
            "--gate",
            got="the calibration's file and no names, and the checkpoint states no sequence that was held out",
            expected="sequences of its own",
            fix="Add --gate-sequences NAMES.",
        )
    return judge


def _calibration_of(source: AnnotationSet, names: Sequence[str], judged: set[str]) -> AnnotationSet:
    if names:
        return source.only(_known("--calibrate-sequences", names, set(source.sequences())))
    rest = [name for name in source.sequences() if name not in judged]
    if not rest:
        _refuse_overlap(judged)
    picked = np.unique(np.linspace(0, len(rest) - 1, min(MAX_CALIBRATION_SEQUENCES, len(rest))).astype(int))
    return source.only({rest[index] for index in picked})


def _graphs_to_lower(asked: Sequence[str], able: Sequence[str]) -> Sequence[str]:
    """Those of ``able`` that were asked for, all of them if none was named."""
    _known("--lower", asked, set(able), f"graphs that may leave float32: {', '.join(sorted(able))}")
    return [name for name in able if name in asked] if asked else able


def _known(option: str, names: Sequence[str], known: set[str], expected: str = "names in the annotations") -> set[str]:
    unknown = sorted(set(names) - known)
    if unknown:
        raise OptionError(option, got=unknown, expected=expected, fix="Correct them.")
    return set(names)


def _refuse_overlap(shared: set[str]) -> None:
    if shared:
        raise OptionError(
            "gate and calibration",
            got=f"{', '.join(sorted(shared)[:6])} in both",
            expected="different sequences: ranges that were fitted to the gate would flatter it",
            fix="Name others with --calibrate-sequences or --gate-sequences.",
        )


def _beyond(figures: Figures, gate: Gate, mode: Mode) -> CheckFailed:
    return CheckFailed(
        f"AP50 of the {mode} graphs ({figures.where}) on {gate.truth.path.name}",
        got=f"{figures.ap50:.3f}, a drop of {figures.drop_points:.2f} points, "
        f"at most {figures.drop_upper_points:.2f} with 95 %",
        expected=f"at most {gate.max_drop_points:g} and {gate.max_upper_points:g} points",
        fix="Use --precision auto, which leaves the graphs that lose too much in float32, or other clips.",
    )


def _split(exported: DraftBundle) -> DraftBundle:
    """The same export without joined graphs: precisions are chosen on their parts."""
    manifest = exported.manifest
    joined = {step.graph for steps in manifest.joined.values() for step in steps}
    graphs = {name: info for name, info in manifest.graphs.items() if name not in joined}
    used = {file for info in graphs.values() for file in info.forms.values()}
    files = {name: content for name, content in exported.files.items() if name in used}
    return DraftBundle.of(dataclasses.replace(manifest, graphs=graphs, joined={}, files={}), files)
