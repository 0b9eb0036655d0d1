"""What weights do on pictures from elsewhere, beside detectors that a user would pick instead, on the same frames."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lsts_edge.benchmarks.accuracy.measures import rounded
from lsts_edge.benchmarks.detector_boxes import DETECTOR_SUFFIXES, run_detector
from lsts_edge.benchmarks.elsewhere_result import ElsewhereRow, Figure
from lsts_edge.boxes import Boxes
from lsts_edge.evaluation.annotations import AnnotationSet, read_annotations
from lsts_edge.evaluation.bundles import run_bundle
from lsts_edge.evaluation.coco import measure
from lsts_edge.evaluation.metrics import Matches, as_one_class, paired_difference, sequence_matches
from lsts_edge.progress import Progress, renamed, silent
from lsts_edge.read_file import read_file

__all__ = ["Entrant", "measure_elsewhere", "who_labelled"]

_RESAMPLES = 1000


@dataclass(frozen=True)
class Entrant:
    """A model to measure.

    Attributes:
        path: a bundle's directory, a checkpoint, or somebody's ONNX detector of COCO's classes.
        keyframe_interval: of the schedule; None takes every picture by itself.
    """

    path: Path
    keyframe_interval: int | None = None

    @property
    def name(self) -> str:
        """For tables."""
        schedule = "" if self.keyframe_interval is None else f", interval {self.keyframe_interval}"
        return f"{self.path.name}{schedule}"


def measure_elsewhere(
    entrants: Sequence[Entrant],
    rivals: Sequence[Entrant],
    annotations: Sequence[Path],
    classes: tuple[str, ...],
    *,
    threads: int | None = None,
    resamples: int = _RESAMPLES,
    progress: Progress = silent,
) -> list[ElsewhereRow]:
    """Measure everybody on every file.

    A detector of COCO's classes is judged in our groups by the rule that the taught labels follow: a rider is a
    person and what he rides, where the truth has riders.

    Args:
        entrants: who is measured.
        rivals: who is measured too, and whom the others are set against, pair by pair.
        annotations: COCO or COCO-VID style files.
        classes: of the truth.
        threads: of the engine or torch.
        resamples: of the bootstrap over sequences.
        progress: told of every picture.

    Raises:
        AnnotationError: if a file cannot be read.
        LstsEdgeError: if a model cannot be opened.
    """
    rows = []
    for path in annotations:
        truth = read_annotations(path, classes)
        alone = truth.as_one_class()
        matches: dict[str, list[list[Matches]]] = {}
        measured = []
        for entrant in [*entrants, *rivals]:
            found, digest = _run(entrant, truth, threads, renamed(progress, f"{path.parent.name}, {entrant.name}"))
            single = {key: as_one_class(boxes) for key, boxes in found.items()}
            matches[entrant.name] = list(sequence_matches(alone, single, 0.5).values())
            measured.append((entrant, digest, found))
        for entrant, digest, found in measured:
            agnostic = measure(truth, found, class_agnostic=True, resamples=resamples)
            usual = measure(truth, found, resamples=resamples)
            others = [rival.name for rival in rivals if rival.name != entrant.name]
            rows.append(
                ElsewhereRow(
                    model=entrant.name,
                    file=entrant.path.name,
                    sha256=digest,
                    keyframe_interval=entrant.keyframe_interval,
                    annotations=f"{path.parent.name}/{path.name}",
                    images=usual.images,
                    sequences=usual.sequences,
                    objects=sum(int((~record.ignore).sum()) for record in truth.images),
                    ap50_class_agnostic=_figure(agnostic.ap50, agnostic.ap50_interval),
                    ap50=_figure(usual.ap50, usual.ap50_interval),
                    ap50_per_class=rounded(usual.ap50_per_class),
                    difference={name: _difference(matches[entrant.name], matches[name], resamples) for name in others},
                )
            )
    return rows


def who_labelled(path: Path) -> str:
    """People, or the detectors that the file names."""
    info = json.loads(read_file(path)).get("info") or {}
    teachers = [str(teacher["file"]) for teacher in info.get("teachers", [])]
    return f"boxes of {' and '.join(teachers)}, fused" if teachers else "labels of the file"


def _run(
    entrant: Entrant, truth: AnnotationSet, threads: int | None, progress: Progress
) -> tuple[dict[int, Boxes], str]:
    """Boxes by image id in the classes of the truth, and the digest of what was run."""
    path, interval = entrant.path, entrant.keyframe_interval
    if path.is_dir():
        from lsts_edge.bundle import Bundle
        from lsts_edge.runtime.engines.options import EngineOptions

        bundle = Bundle.open(path)
        engine = EngineOptions(threads=threads)
        return run_bundle(bundle, truth, keyframe_interval=interval, engine=engine, progress=progress), bundle.digest
    if path.suffix in DETECTOR_SUFFIXES:
        return run_detector(path, truth, threads, progress)
    from lsts_edge.model.checkpoint import load_checkpoint
    from lsts_edge.train.inference import run_checkpoint

    network, info = load_checkpoint(path)
    found = run_checkpoint(network, truth, keyframe_interval=interval, threads=threads, progress=progress)
    return found, info.sha256


def _figure(value: float, interval: tuple[float, float]) -> Figure:
    return Figure(round(value, 4), round(interval[0], 4), round(interval[1], 4))


def _difference(first: Sequence[Sequence[Matches]], second: Sequence[Sequence[Matches]], resamples: int) -> Figure:
    found = paired_difference(first, second, resamples)
    return Figure(found["difference"], found["low"], found["high"])
