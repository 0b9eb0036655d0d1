"""The study: rows of the paper's tables and ours, trained on frozen features, seed by seed, and what follows."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from lsts_edge.benchmarks.accuracy.measures import rounded
from lsts_edge.benchmarks.accuracy.offsets import offset_spread
from lsts_edge.benchmarks.accuracy.recipes import ClaimRecipe, RowRecipe, read_comparisons, read_recipes
from lsts_edge.benchmarks.accuracy.study_result import (
    StudyClaim,
    StudyData,
    StudyResult,
    StudyRun,
    StudySettings,
    StudyTableRow,
)
from lsts_edge.benchmarks.accuracy.study_rows import RowRun, StudyRunner
from lsts_edge.benchmarks.accuracy.study_statistics import Draws
from lsts_edge.benchmarks.envelope import Origin
from lsts_edge.benchmarks.parameters import size_of_preset
from lsts_edge.bundle.strict_json import decode
from lsts_edge.errors import OptionError
from lsts_edge.evaluation.annotations import AnnotationSet, read_annotations
from lsts_edge.evaluation.coco import measure
from lsts_edge.evaluation.keyframe_distance import ap50_by_distance, schedule_distances
from lsts_edge.evaluation.metrics import sequence_matches
from lsts_edge.evaluation.vid import measure_vid
from lsts_edge.kinds import check_fields
from lsts_edge.model.checkpoint import load_checkpoint
from lsts_edge.progress import Progress, renamed, silent
from lsts_edge.train.allocator import keep_freed_pages
from lsts_edge.train.frozen_features import FrozenFeatures, cache_features
from lsts_edge.train.frozen_training import FrozenOptions
from lsts_edge.train.threads import set_threads

__all__ = ["PaperStudy", "StudyOptions", "paired_seeds", "set_name"]


_Measured = tuple[StudyRun, np.ndarray]  # a run, and its AP50 under each draw


@dataclass(frozen=True)
class StudyOptions:
    """What a study is of.

    Attributes:
        checkpoint: a detector with LSTS; its backbone is frozen.
        train: COCO-VID annotations that rows are trained on.
        validation: those that they are measured on.
        folder: where features and runs are kept.
        seeds: of every trained row.
        tables: only these; empty for all.
        rows: only these; empty for all.
        training: of a row.
        threads: of the processor; None leaves torch's.
        mirrored: train on every frame mirrored too.
        resamples: of the bootstrap.
        given: detection files by row.
        recipes: a folder of other rows; None for those that come along.
        comparisons: a file of other claims.
        note: about the data, for the page.
    """

    checkpoint: Path
    train: Path
    validation: Path
    folder: Path
    seeds: tuple[int, ...] = (0, 1, 2)
    tables: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    training: FrozenOptions = field(default_factory=FrozenOptions)
    threads: int | None = None
    mirrored: bool = False
    resamples: int = 1000
    given: Mapping[str, Path] = field(default_factory=dict)
    recipes: Path | None = None
    comparisons: Path | None = None
    note: str = ""

    def __post_init__(self) -> None:
        check_fields(self)


class PaperStudy:
    """Runs what is asked for and tells what there is.

    Args:
        options: of the study.
        command: that runs all rows, for the result.
        progress: told of features, steps and frames.
    Raises:
        OptionError: if a row or table is asked for that there is not.
        AnnotationError: if annotations cannot be read, or a sequence is in both.
        CheckpointError: if the checkpoint cannot be read.
    """

    def __init__(self, options: StudyOptions, command: str, progress: Progress = silent) -> None:
        self.options = options
        self.recipes = read_recipes(options.recipes)
        self._command = command
        self._progress = progress
        _check(options, self.recipes)
        set_threads(options.threads)
        keep_freed_pages()
        self._network, self._info = load_checkpoint(options.checkpoint)
        classes = self._info.preset.head.classes
        self._train = read_annotations(options.train, classes)
        self._truth = read_annotations(options.validation, classes)
        both = set(self._train.sequences()) & set(self._truth.sequences())
        if both:
            fix = "Give sets that share no sequence."
            raise OptionError("training and validation", got=sorted(both)[:3], expected="none in both", fix=fix)
        self._measured: dict[tuple[str, int], _Measured] = {}
        self._size = functools.cache(size_of_preset)
        self._draws = Draws(len(self._truth.sequences()), options.resamples)
        self._runner = StudyRunner(
            options.checkpoint,
            functools.cache(lambda: self._features(self._train, options.mirrored)),
            functools.cache(lambda: self._features(self._truth, False)),
            self._truth,
            options.training,
            options.folder / "runs",
            options.given,
            (f"{_sha256(options.train)} mirrored {options.mirrored}", _sha256(options.validation)),
            progress,
        )

    def chosen(self) -> list[RowRecipe]:
        """The rows asked for, and the trained rows whose weights or figures they need."""
        options = self.options
        wanted = {
            recipe.row
            for recipe in self.recipes
            if (not options.tables or recipe.table in options.tables)
            and (not options.rows or recipe.row in options.rows)
        }
        wanted |= {recipe.of for recipe in self.recipes if recipe.row in wanted and recipe.of is not None}
        return [recipe for recipe in self.recipes if recipe.row in wanted]

    def run(self, after: Callable[[], None] = lambda: None) -> None:
        """Run what is asked for and not on disk, all rows with the first seed, then with the next.

        Args:
            after: called after every run, to write what there is.
        """
        for recipe, seed in self._jobs():
            weights_of = self._by_name(recipe.of)
            if self._runner.finished(recipe, seed, weights_of) is None:
                self._runner.run(recipe, seed, weights_of)
                after()

    def result(self) -> StudyResult:
        """Everything on disk, whether it was asked for now or not; rows that are not there say so."""
        runs = {recipe.row: self._on_disk(recipe) for recipe in self.recipes}
        measured = {
            recipe.row: {seed: self._measure(recipe, seed, run) for seed, run in runs[recipe.row].items()}
            for recipe in self.recipes
        }
        rows = {recipe.row: self._row(recipe, runs[recipe.row], measured[recipe.row]) for recipe in self.recipes}
        comparisons = read_comparisons(self.options.comparisons) if self.options.comparisons else read_comparisons()
        claims = [self._claim(one, measured) for one in comparisons if {one.first, one.second} <= rows.keys()]
        settings = StudySettings(
            preset=self._info.preset.name,
            checkpoint=self._info.file,
            checkpoint_sha256=self._info.sha256,
            train=set_name(self.options.train),
            validation=set_name(self.options.validation),
            train_sequences=len(self._train.sequences()),
            validation_sequences=len(self._truth.sequences()),
            steps=self.options.training.steps,
            batch=self.options.training.batch,
            learning_rate=self.options.training.learning_rate,
            offset_rate=self.options.training.offset_rate,
            threads=torch.get_num_threads(),
            resamples=self.options.resamples,
            command=self._command,
            note=self.options.note,
        )
        return StudyResult(origin=Origin.here(), settings=settings, data=StudyData(tuple(rows.values()), tuple(claims)))

    def _jobs(self) -> Iterator[tuple[RowRecipe, int]]:
        for position, seed in enumerate(self.options.seeds):
            recipes = [recipe for recipe in self.chosen() if recipe.kind != "same-as"]
            # Some rows start from a trained one, so trained ones come first.
            for recipe in sorted(recipes, key=lambda recipe: recipe.of is not None):
                if not self._runner.why_not(recipe) and (position == 0 or self._runner.needs_seeds(recipe)):
                    yield recipe, seed

    def _features(self, annotations: AnnotationSet, mirrored: bool) -> FrozenFeatures:
        return cache_features(
            self._network,
            annotations,
            self.options.folder / "features",
            weights_sha256=self._info.sha256,
            mirrored=mirrored,
            progress=renamed(self._progress, f"features of {annotations.path.name}"),
        )

    def _by_name(self, row: str | None) -> RowRecipe | None:
        return next((recipe for recipe in self.recipes if recipe.row == row), None)

    def _source(self, recipe: RowRecipe) -> RowRecipe:
        """The row that is run for this one."""
        other = self._by_name(recipe.of)
        return other if recipe.kind == "same-as" and other is not None else recipe

    def _on_disk(self, recipe: RowRecipe) -> dict[int, RowRun]:
        recipe = self._source(recipe)
        if self._runner.why_not(recipe):
            return {}
        seeds = self.options.seeds if self._runner.needs_seeds(recipe) else self.options.seeds[:1]
        found = {seed: self._runner.finished(recipe, seed, self._by_name(recipe.of)) for seed in seeds}
        return {seed: run for seed, run in found.items() if run is not None}

    def _interval(self, recipe: RowRecipe) -> int | None:
        kind = self._source(recipe).kind
        return None if kind in ("per-frame", "smaller-input", "detections") else recipe.interval

    def _row(self, recipe: RowRecipe, runs: Mapping[int, RowRun], measured: Mapping[int, _Measured]) -> StudyTableRow:
        source = self._source(recipe)
        learned = [run for run in runs.values() if run.offsets is not None and run.offsets_start is not None]
        samples = source.kind == "trained" and bool(learned) and self._learns_offsets(source)
        shown = tuple(run for run, _ in measured.values())
        drawn = [draw for _, draw in measured.values()]
        return StudyTableRow(
            row=recipe.row,
            table=recipe.table,
            label=recipe.label,
            interval=self._interval(recipe),
            paper_map=recipe.paper_map,
            parameters=next((run.parameters for run in runs.values()), None),
            multiply_adds=self._multiply_adds(source),
            runs=shown,
            why_not="" if shown else self._runner.why_not(source) or "not run yet",
            ap50=round(float(np.mean([run.ap50 for run in shown])), 4) if shown else None,
            ap50_interval=rounded(self._draws.interval(drawn)) if drawn else None,
            offsets=rounded(offset_spread(learned, self._train, self._info.preset)) if samples else None,
        )

    def _learns_offsets(self, recipe: RowRecipe) -> bool:
        lsts = recipe.preset(self._info.preset).lsts
        return lsts is not None and lsts.learn_offsets

    def _multiply_adds(self, recipe: RowRecipe) -> int | None:
        """Of one frame, on average over the interval."""
        if recipe.kind in ("detections", "not-built"):
            return None
        preset = self._info.preset
        if recipe.kind in ("trained", "schedule", "seq-nms"):
            size = self._size((self._by_name(recipe.of) or recipe).preset(preset))
            keyframe, propagated = (size.path_multiply_adds(kind) or 0 for kind in ("keyframe", "propagated"))
            return (keyframe + (recipe.interval - 1) * propagated) // recipe.interval
        per_frame = dataclasses.replace(preset, lsts=None, transform=(), aggregation=None)
        if recipe.input_px is not None:
            per_frame = per_frame.resized(*recipe.input_px)
        every = recipe.interval if recipe.kind in ("hold", "flow-boxes") else 1
        return (self._size(per_frame).path_multiply_adds("first") or 0) // every

    def _measure(self, recipe: RowRecipe, seed: int, run: RowRun) -> _Measured:
        """Measured once; kept beside the run, as that takes seconds a run."""
        source = self._source(recipe)
        key = (source.row, seed)
        if key not in self._measured:
            place = self._runner.place(source, seed, self._by_name(source.of))
            path = place / f"measured-{self.options.resamples}.npz"
            if not path.exists():
                _keep(path, *self._measured_now(run, seed, self._interval(recipe)))
            self._measured[key] = _kept(path)
        return self._measured[key]

    def _measured_now(self, run: RowRun, seed: int, interval: int | None) -> _Measured:
        accuracy = measure(self._truth, run.boxes, resamples=1)
        by_motion = measure_vid(self._truth, run.boxes).mean_ap_by_motion
        distances = schedule_distances(self._truth, interval)
        by_distance = {} if interval is None else ap50_by_distance(self._truth, run.boxes, distances)
        shown = StudyRun(
            seed=seed,
            ap50=accuracy.ap50,
            ap=accuracy.ap,
            ap50_per_class=accuracy.ap50_per_class,
            vid_map_by_motion=by_motion or {},
            ap50_by_distance={str(distance): value for distance, value in by_distance.items()},
            train_s=run.train_s,
            losses=run.losses,
            code_sha256=run.code_sha256,
        )
        return rounded(shown), self._draws.of(sequence_matches(self._truth, run.boxes, 0.5))

    def _is_trained(self, row: str) -> bool:
        recipe = self._by_name(row)
        return recipe is not None and self._runner.needs_seeds(self._source(recipe))

    def _claim(self, comparison: ClaimRecipe, measured: Mapping[str, Mapping[int, _Measured]]) -> StudyClaim:
        first, second = measured[comparison.first], measured[comparison.second]
        trained = self._is_trained(comparison.first) and self._is_trained(comparison.second)
        pairs = paired_seeds(first, second, both_trained=trained)
        if not pairs:
            return StudyClaim(**vars(comparison), points=None, interval=None, seeds=0, verdict="not run")
        points = float(np.mean([first[a][0].ap50 - second[b][0].ap50 for a, b in pairs]))
        low, high = self._draws.interval([first[a][1] - second[b][1] for a, b in pairs])
        return StudyClaim(
            **vars(comparison),
            points=round(100 * points, 2),
            interval=(round(100 * low, 2), round(100 * high, 2)),
            seeds=len(pairs),
            verdict="holds" if low > 0 else "does not" if high < 0 else "within noise",
        )


def _keep(path: Path, shown: StudyRun, drawn: np.ndarray) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as stream:
        np.savez(stream, shown=np.array(json.dumps(dataclasses.asdict(shown))), drawn=drawn)
    os.replace(part, path)


def _kept(path: Path) -> _Measured:
    with np.load(path, allow_pickle=False) as stored:
        return decode(StudyRun, json.loads(str(stored["shown"])), path.name), stored["drawn"]


def paired_seeds(first: Collection[int], second: Collection[int], *, both_trained: bool) -> list[tuple[int, int]]:
    """Seeds of two rows side by side: those that both have; an untrained row stands beside each of the other's."""
    if not first or not second:
        return []
    seeds = sorted(set(first) & set(second) if both_trained else {*first, *second})
    return [(seed if seed in first else min(first), seed if seed in second else min(second)) for seed in seeds]


def _check(options: StudyOptions, recipes: Sequence[RowRecipe]) -> None:
    tables, rows = {recipe.table for recipe in recipes}, {recipe.row for recipe in recipes}
    for name, wanted, known in (
        ("--tables", options.tables, tables),
        ("--rows", options.rows, rows),
        ("--detections", tuple(options.given), rows),
    ):
        unknown = sorted(set(wanted) - known)
        if unknown:
            raise OptionError(name, got=unknown[0], expected=", ".join(sorted(known)), fix="Correct it, or see --list.")
    if not options.seeds:
        raise OptionError("--seeds", got="none", expected="at least one", fix="Give a number from 1 on.")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def set_name(path: Path) -> str:
    """Of a data set: its file and the folder around it."""
    return f"{path.parent.name}/{path.name}"
