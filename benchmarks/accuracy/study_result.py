"""The result of ``bench study``: the paper's tables and ours repeated on one data set, run by run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lsts_edge.benchmarks.envelope import Result

__all__ = ["OffsetSpread", "StudyClaim", "StudyData", "StudyResult", "StudyRun", "StudySettings", "StudyTableRow"]

Interval = tuple[float, float]


@dataclass(frozen=True)
class StudyRun:
    """One row with one seed, on the held-out sequences.

    Attributes:
        seed: of everything that is random.
        ap50: mean over the classes at IoU 0.5.
        ap: the same, over IoU 0.50 to 0.95.
        ap50_per_class: by class name.
        vid_map_by_motion: ``slow``, ``medium``, ``fast`` by FGFA's rule; empty where objects have no instance number.
        ap50_by_distance: by frames since the keyframe; empty where every frame is one.
        train_s: seconds of training; 0 where nothing is trained.
        losses: at the end of the training.
        code_sha256: over the sources of model and training that ran.
    """

    seed: int
    ap50: float
    ap: float
    ap50_per_class: Mapping[str, float | None]
    vid_map_by_motion: Mapping[str, float | None]
    ap50_by_distance: Mapping[str, float | None]
    train_s: float
    losses: Mapping[str, float]
    code_sha256: str


@dataclass(frozen=True)
class OffsetSpread:
    """Where a row samples, over all its seeds, in cells; and how far objects move in as many frames.

    Attributes:
        bins: edges of the histograms.
        start_x: share of the locations at the start in each bin, horizontally.
        start_y: vertically.
        learned_x: after training.
        learned_y: likewise.
        motion_x: of the true boxes' centres in the training sequences, over 1 to ``interval`` frames.
        motion_y: likewise.
        mean_shift: how far a location went, on average.
    """

    bins: tuple[float, ...]
    start_x: tuple[float, ...]
    start_y: tuple[float, ...]
    learned_x: tuple[float, ...]
    learned_y: tuple[float, ...]
    motion_x: tuple[float, ...]
    motion_y: tuple[float, ...]
    mean_shift: float


@dataclass(frozen=True)
class StudyTableRow:
    """One row of a table.

    Attributes:
        row: its name.
        table: which.
        label: what it is.
        interval: frames from keyframe to keyframe; None: every frame.
        paper_map: the paper's mean AP on ImageNet VID, another data set.
        parameters: of the whole network; None where there is none of ours.
        multiply_adds: of a frame, on average over the interval; optical flow that is no network is not counted. None
            where there is no network of ours.
        runs: one a seed; empty: not run.
        why_not: why it was not run.
        ap50: mean over the runs.
        ap50_interval: 95 %, sequences and runs drawn anew.
        offsets: where it samples, for learned locations.
    """

    row: str
    table: str
    label: str
    interval: int | None
    paper_map: float | None
    parameters: int | None
    multiply_adds: int | None
    runs: tuple[StudyRun, ...]
    why_not: str
    ap50: float | None
    ap50_interval: Interval | None
    offsets: OffsetSpread | None


@dataclass(frozen=True)
class StudyClaim:
    """A claim beside what was found.

    Attributes:
        claim: in words: the first row is better than the second.
        first: row.
        second: row.
        paper_points: points of mean AP by which it is in the paper, on ImageNet VID.
        points: of AP50 here; None where a row was not run.
        interval: 95 %, both rows on the same drawn sequences and seeds.
        seeds: that both rows have.
        verdict: ``holds`` and ``does not`` where the interval leaves out zero, else ``within noise``; ``not run``.
    """

    claim: str
    first: str
    second: str
    paper_points: float | None
    points: float | None
    interval: Interval | None
    seeds: int
    verdict: Literal["holds", "does not", "within noise", "not run"]


@dataclass(frozen=True)
class StudySettings:
    """What all rows share.

    Attributes:
        preset: of the network.
        checkpoint: name of the file whose backbone is frozen and whose head every row starts from.
        checkpoint_sha256: its digest.
        train: name of the training annotations.
        validation: of those that are measured on; no row saw them.
        train_sequences: of them.
        validation_sequences: of them.
        steps: of a row's training.
        batch: triplets a step.
        learning_rate: of what starts untrained.
        offset_rate: of the sampling locations.
        threads: of the processor.
        resamples: of the bootstrap.
        command: that runs every row.
        note: about the data, in words.
    """

    preset: str
    checkpoint: str
    checkpoint_sha256: str
    train: str
    validation: str
    train_sequences: int
    validation_sequences: int
    steps: int
    batch: int
    learning_rate: float
    offset_rate: float
    threads: int
    resamples: int
    command: str
    note: str


@dataclass(frozen=True)
class StudyData:
    """Every row, those that were not run too, and what follows."""

    rows: tuple[StudyTableRow, ...]
    claims: tuple[StudyClaim, ...]


@dataclass(frozen=True, kw_only=True)
class StudyResult(Result):
    """The study, as far as it was run."""

    kind: Literal["study"] = "study"
    bundle: None = None
    conditions: None = None
    settings: StudySettings
    data: StudyData
