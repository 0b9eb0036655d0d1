"""Wraps a detector: reads it, proves its graphs, measures ways on clips, chooses one, and writes the bundle."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lsts_edge import __version__
from lsts_edge.bundle import Bundle
from lsts_edge.bundle.draft import DraftBundle
from lsts_edge.bundle.propagation import Parameter
from lsts_edge.bundle.write import check_target
from lsts_edge.errors import OptionError, ProviderMissing
from lsts_edge.evaluation.annotations import AnnotationSet, read_annotations
from lsts_edge.progress import Progress, silent
from lsts_edge.publish.wrap.cache import Cache
from lsts_edge.publish.wrap.candidates import Candidate, candidates
from lsts_edge.publish.wrap.choose import choose_row
from lsts_edge.publish.wrap.clips import ClipReader, CutClip, find_clips, read_clips
from lsts_edge.publish.wrap.describe import (
    clips_used,
    detector_used,
    plan_notes,
    sample_used,
    size_notes,
    truth_notes,
)
from lsts_edge.publish.wrap.finish import finish_bundle
from lsts_edge.publish.wrap.found import LEAST_SCORE
from lsts_edge.publish.wrap.labels import Labels
from lsts_edge.publish.wrap.lowered import LEAST_AGREEMENT, int8_agreement, int8_graph
from lsts_edge.publish.wrap.make import make_draft
from lsts_edge.publish.wrap.measure import Block, find_all, spread_blocks, time_all
from lsts_edge.publish.wrap.networks import Networks
from lsts_edge.publish.wrap.options import WrapOptions
from lsts_edge.publish.wrap.parity import check_original
from lsts_edge.publish.wrap.plan import MOST_FRAMES, Plan, make_plan
from lsts_edge.publish.wrap.recording import choose_scenes
from lsts_edge.publish.wrap.rows import HalfFound, Timed, make_rows
from lsts_edge.publish.wrap.sample import Piece, SampledPieces, sample_pieces
from lsts_edge.publish.wrap.study import LeftOut, MachineUsed, Precision, Study, TruthUsed
from lsts_edge.publish.wrap.subject import Size, Subject, open_subject, smaller_sizes
from lsts_edge.publish.wrap.truth import family_truth, given_truth, stills_truth
from lsts_edge.publish.wrap.worst import worst_frames
from lsts_edge.runtime.engines.installed import installed_engines
from lsts_edge.runtime.engines.interface import INSTALL_LINES
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.preprocess import Preprocessor

if TYPE_CHECKING:
    from lsts_edge.publish.wrap.learn.way import LearntWay

__all__ = ["Wrapped", "wrap"]


Graphs = dict[Precision, dict[Size, bytes]]

_PROOF_FRAMES = 30
_PILOT_FRAMES = 3
_CALIBRATION_FRAMES = 64
_INT8_FRAMES = 100


@dataclass(frozen=True)
class Wrapped:
    """A bundle on disk, and the study that it was chosen by."""

    bundle: Bundle
    study: Study


def wrap(
    detector: Path,
    clips: Sequence[Path],
    output: Path,
    *,
    machine: MachineUsed,
    cache: Path,
    options: WrapOptions | None = None,
    progress: Progress = silent,
) -> Wrapped:
    """From somebody's ONNX file and footage to a bundle that runs the way that pays.

    Args:
        detector: the ONNX file.
        clips: videos, and folders of them; none where ``options.annotations`` has sequences.
        output: the bundle's directory.
        machine: where times are measured.
        cache: folder for results, with which an interrupted run goes on.
        options: None takes the usual ones.
        progress: told of every step.

    Raises:
        DetectorError: if the detector cannot be read, or not at the size.
        StreamError: if no clip can be used.
        AnnotationError: if labels cannot be read.
        OptionError: if an option does not fit.
        FileUnwritable: if the bundle or results cannot be written.
        ProviderError: if no engine is installed, or one fails.
        CheckFailed: if graphs do not give what the file gives.
    """
    options = options or WrapOptions()
    if not clips and options.annotations is None:
        raise OptionError("--clips", got="none", expected="videos or a folder of them", fix="Give your own footage.")
    check_target(output, overwrite=options.overwrite)
    engines = _engines(options)
    progress(f"reading {detector.name}")
    subject = open_subject(
        detector,
        family=options.family,
        overrides=options.overrides,
        classes=options.classes,
        size=options.size,
    )
    for line in subject.notes:
        progress(f"  {line}")
    labels = None if options.annotations is None else Labels.read(options.annotations, subject.classes)
    read, left_out = read_clips(find_clips(clips), None if labels is None else labels.annotations, progress)
    truth = _truth_from(options, subject)
    work = _Work(
        subject,
        read,
        labels,
        truth,
        options,
        engines,
        Cache(cache, fresh=options.fresh),
        machine,
        progress,
        time.monotonic(),
    )
    return work.run(left_out, output)


def _truth_from(options: WrapOptions, subject: Subject) -> TruthUsed | AnnotationSet:
    """What boxes are true, or the stills that will tell; what is wrong with it is told before anything is proved."""
    if options.truth_score is not None:
        return given_truth(options.truth_score)
    if options.stills is None:
        return family_truth(subject.spec.family)
    return read_annotations(options.stills, subject.classes)


@dataclass(frozen=True)
class _Work:
    """One detector on its way."""

    subject: Subject
    clips: Sequence[CutClip]
    labels: Labels | None
    truth_from: TruthUsed | AnnotationSet
    options: WrapOptions
    engines: tuple[EngineOptions, ...]
    cache: Cache
    machine: MachineUsed
    progress: Progress
    begin_s: float

    def run(self, left_out: Sequence[LeftOut], output: Path) -> Wrapped:
        """Prove, measure, choose, write."""
        subject, options, progress = self.subject, self.options, self.progress
        sizes = (subject.size, *smaller_sizes(subject))
        notes = list(size_notes(subject, sizes, self.clips))
        everything = sample_pieces(self.clips, most_frames=MOST_FRAMES, longest_frames=150)
        some = self._frames(everything.pieces, _PROOF_FRAMES)
        graphs: Graphs = {"fp32": self._proved(sizes, some)}
        networks = {"fp32": self._networks(graphs["fp32"], "fp32")}
        truth = self._truth(networks["fp32"])
        progress(f"boxes are true from a score of {truth.words}")
        network_s = networks["fp32"].seconds(some[:_PILOT_FRAMES])
        if options.precision == "auto":
            lowered, note = self._lowered(graphs["fp32"], networks["fp32"], everything, truth)
            notes.append(note)
            if lowered is not None:
                graphs["int8"] = lowered
                networks["int8"] = self._networks(lowered, "int8")
        learnt, spent_s = self._learnt()
        told: dict[str, Parameter] | None = None if learnt is None else {"learnt": learnt.digest[:12]}
        ways = candidates(subject.size, sizes[1:], options.intervals, options.motions, told)
        if learnt is not None:
            networks["fp32"] = self._networks(graphs["fp32"], "fp32", learnt.draft)
        plan = self._plan(network_s, ways, graphs, spent_s)
        notes += plan_notes(plan, network_s[subject.size], options.minutes)
        for note in notes:
            progress(note)
        sample = sample_pieces(self.clips, most_frames=plan.most_frames, longest_frames=plan.longest_frames)
        found = {
            precision: find_all(
                networks.pop(precision), ways, self.clips, sample.pieces, self.cache, self._key(one), progress
            )
            for precision, one in graphs.items()
        }
        blocks = spread_blocks(sample.pieces, plan.blocks)
        times = self._times(sizes, ways, graphs, blocks, None if learnt is None else learnt.draft)
        rows = make_rows(ways, sample, self.clips, found, times, truth, self.labels, progress)
        chosen = choose_row(rows, output, min_agreement=options.min_agreement, budget_ms=options.budget_ms)
        row = next(one for one in chosen.rows if one.chosen)
        way = next(index for index, one in enumerate(ways) if one.is_of(row))
        boxes = HalfFound.of(sample, found["fp32"], "state").boxes(0)
        true_boxes = int((boxes.boxes.scores >= truth.score).sum())
        minutes = (time.monotonic() - self.begin_s) / 60
        study = Study(
            name=options.name or _plain_name(output),
            detector=detector_used(subject),
            truth=truth,
            machine=dataclasses.replace(self.machine, threads=options.threads),
            clips=clips_used(self.clips, sample),
            left_out=tuple(left_out),
            sample=sample_used(sample, true_boxes, sum(one.end - one.first for one in blocks), minutes),
            min_agreement=options.min_agreement if options.budget_ms is None else None,
            budget_ms=options.budget_ms,
            verdict=chosen.verdict,
            command=chosen.command,
            met=chosen.met,
            rows=chosen.rows,
            worst=worst_frames(
                sample, self.clips, found["fp32"], found[row.precision], way, truth.score, subject.classes
            ),
            notes=(*notes, *truth_notes(true_boxes)),
        )
        scenes = choose_scenes(sample.pieces, found["fp32"], LEAST_SCORE) if options.record else []
        finished = finish_bundle(
            subject, graphs[row.precision], study, options, self.engines, output,
            clips=self.clips, scenes=scenes, progress=progress, learnt=learnt,
        )  # fmt: skip
        return Wrapped(finished.bundle, finished.study)

    def _frames(self, pieces: Sequence[Piece], count: int) -> list[np.ndarray]:
        """Frames spread over pieces."""
        reader = ClipReader()
        of_each = -(-count // len(pieces))
        step = max(1, len(pieces) * of_each // count)
        found: list[np.ndarray] = []
        for piece in pieces[::step]:
            stride = max(1, piece.frames // of_each)
            part = reader.part(self.clips[piece.clip], piece.first, piece.end)
            found += itertools.islice(part, 0, stride * of_each, stride)
        return found[:count]

    def _proved(self, sizes: Sequence[Size], frames: Sequence[np.ndarray]) -> dict[Size, bytes]:
        """The graphs in float32, each compared with the file before an hour is spent on them."""
        graphs = {}
        backend = open_backend(self.engines[0])
        for size in sizes:
            self.progress(f"comparing the graph at {size[1]}x{size[0]} with {self.subject.file}")
            draft = make_draft(self.subject, {size: self.subject.graph(size)}, size)
            prepare = Preprocessor(draft.manifest.input)
            images = [prepare(frame)[0].copy() for frame in frames]
            check_original(self.subject, draft, images, self.engines, backend)
            graphs[size] = self.subject.graph(size)
        return graphs

    def _learnt(self) -> tuple[LearntWay | None, float]:
        """What was learnt, and the seconds it took, which are not the measurement's."""
        options, begin_s = self.options, time.monotonic()
        if options.learn is None:
            return None, 0.0
        from lsts_edge.publish.wrap.learn.way import learnt_way  # needs torch

        backend = open_backend(self.engines[0])
        way = learnt_way(self.subject, self.clips, self.cache, backend, options.learn, progress=self.progress)
        return way, time.monotonic() - begin_s

    def _networks(
        self, graphs: Mapping[Size, bytes], precision: Precision, learnt: DraftBundle | None = None
    ) -> Networks:
        drafts = {
            size: make_draft(self.subject, {size: content}, size, precision=precision)
            for size, content in graphs.items()
        }
        return Networks(drafts, self.engines[0], learnt)

    def _truth(self, networks: Networks) -> TruthUsed:
        if isinstance(self.truth_from, TruthUsed):
            return self.truth_from
        assert self.options.stills is not None
        name = self.options.stills.name
        return stills_truth(self.truth_from, name, networks.at(self.subject.size), self.progress)

    def _lowered(
        self, graphs: Mapping[Size, bytes], networks: Networks, sample: SampledPieces, truth: TruthUsed
    ) -> tuple[dict[Size, bytes] | None, str]:
        """int8 graphs, if they are worth a look, and what is to be said of them."""
        choosing = sample.of("choose")
        lowered = {}
        for size, content in graphs.items():
            key = {**self._key({size: content}), "what": "int8", "clips": self._clip_digests()}
            kept = self.cache.content(key)
            if kept is None:
                self.progress(f"quantising at {size[1]}x{size[0]}")
                prepare = Preprocessor(make_draft(self.subject, {size: content}, size).manifest.input)
                frames = self._frames(choosing, _CALIBRATION_FRAMES)
                kept = int8_graph(content, [prepare(frame)[0].copy() for frame in frames])
                self.cache.keep_content(key, kept)
            lowered[size] = kept
        network = self._networks({self.subject.size: lowered[self.subject.size]}, "int8").at(self.subject.size)
        frames = self._frames(choosing, _INT8_FRAMES)
        agreed = int8_agreement(networks.at(self.subject.size), network, frames, truth.score)
        if agreed is not None and agreed >= LEAST_AGREEMENT:
            return lowered, f"int8 is measured too: it agrees with float32 by {agreed:.3f}, frame by frame."
        found = "undefined, for nothing is found" if agreed is None else f"{agreed:.3f}"
        asked = f"{LEAST_AGREEMENT} are asked for"
        return None, f"int8 is left out: its agreement with float32, frame by frame, is {found}; {asked}."

    def _plan(self, network_s: Mapping[Size, float], ways: Sequence[Candidate], graphs: Graphs, spent_s: float) -> Plan:
        """What fits the time; the plan of an interrupted run is kept to, so that its results are of use."""
        key = {
            "what": "plan",
            "minutes": self.options.minutes,
            "ways": len(ways),
            "graphs": [self._key(one) for one in graphs.values()],
            "engines": [engine.name for engine in self.engines],
            "clips": self._clip_digests(),
        }
        kept = self.cache.plain(key)
        if kept is not None:
            self.progress("an earlier run's plan and results are used as far as they go; --fresh measures again")
            return Plan(**kept)
        left_s = self.options.minutes * 60 - (time.monotonic() - self.begin_s - spent_s)
        plan = make_plan(max(left_s, 1.0), network_s, ways, precisions=len(graphs), engines=len(self.engines))
        self.cache.keep_plain(key, plan.to_dict())
        return plan

    def _times(
        self,
        sizes: Sequence[Size],
        ways: Sequence[Candidate],
        graphs: Graphs,
        blocks: Sequence[Block],
        learnt: DraftBundle | None,
    ) -> Timed:
        times = {}
        for engine, (precision, one) in itertools.product(self.engines, graphs.items()):
            drafts = {size: make_draft(self.subject, one, size, precision=precision) for size in sizes}
            key = {**self._key(one), "machine": self.machine.key}
            times[engine.name, precision] = time_all(
                drafts, ways, self.clips, blocks, engine, self.cache, key, self.progress, learnt
            )
        return times

    def _key(self, graphs: Mapping[Size, bytes]) -> dict[str, Any]:
        """What results follow from: graphs, the engine that agreement is measured on, and frames into graphs."""
        spec = self.subject.spec
        engine = self.engines[0]
        return {
            "graphs": [[*size, hashlib.sha256(content).hexdigest()] for size, content in sorted(graphs.items())],
            "resize": [spec.resize, spec.pad_value],
            "engine": [engine.name, open_backend(engine).version],
            "version": __version__,
        }

    def _clip_digests(self) -> list[str]:
        return [clip.digest for clip in self.clips]


def _engines(options: WrapOptions) -> tuple[EngineOptions, ...]:
    installed = installed_engines()
    if not (options.engines or installed):
        raise ProviderMissing("no inference engine", got="none", expected="one at least", fix=INSTALL_LINES)
    found = tuple(EngineOptions(name, threads=options.threads) for name in options.engines or installed)
    for engine in found:
        open_backend(engine)  # told now, not after an hour
    return found


def _plain_name(output: Path) -> str:
    name = os.path.basename(os.path.realpath(output))
    return name if name.isprintable() else ascii(name)[1:-1]
