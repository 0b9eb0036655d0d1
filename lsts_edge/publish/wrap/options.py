"""What a user may say about wrapping a detector, as one value that is checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lsts_edge.errors import OptionError
from lsts_edge.kinds import check_fields
from lsts_edge.publish.wrap.candidates import INTERVALS, MOTIONS
from lsts_edge.publish.wrap.learn.options import LearnOptions
from lsts_edge.publish.wrap.subject import Size

if TYPE_CHECKING:
    from lsts_edge.export.detectors.spec import Family

__all__ = ["WrapOptions"]


@dataclass(frozen=True)
class WrapOptions:
    """How a detector is read, measured and chosen for.

    Attributes:
        family: which rules to read it by; None recognises it.
        overrides: fields of its spec.
        classes: file of class names; None takes those of the model, or COCO's.
        size: height and width of the largest input; None takes the file's own.
        truth_score: boxes of the detector from here on are true; None takes that of ``stills``, or of its family.
        stills: labelled stills to find that score on.
        annotations: labelled sequences, measured on like clips and judged by their labels too.
        min_agreement: the cheapest way that keeps it is chosen.
        budget_ms: the way that agrees best within this mean time is chosen instead.
        intervals: from keyframe to keyframe.
        motions: share of their size that boxes move before a keyframe is due; ways that move boxes are measured so too.
        precision: ``auto`` looks at int8 too.
        engines: that are timed; none takes those that are installed.
        threads: of the engines; None leaves it to them.
        minutes: that measuring may take.
        name: of the bundle; empty takes the file's.
        licence: of the weights.
        openvino: write OpenVINO IR too.
        keep: ``all`` keeps the graphs of every kind of way, ``chosen`` only those that the chosen one runs.
        record: keep some frames of the clips in the bundle, as the recording that it is verified with.
        record_licence: of those frames.
        overwrite: replace a bundle that is there.
        fresh: measure again what an earlier run has left.
        learn: learn LSTS around the detector, and measure it as another way; None does not.
    """

    family: Family | None = None
    overrides: Mapping[str, object] = field(default_factory=dict)
    classes: Path | None = None
    size: Size | None = None
    truth_score: float | None = None
    stills: Path | None = None
    annotations: Path | None = None
    min_agreement: float = 0.85
    budget_ms: float | None = None
    intervals: tuple[float, ...] = INTERVALS
    motions: tuple[float, ...] = MOTIONS
    precision: Literal["fp32", "auto"] = "fp32"
    engines: tuple[str, ...] = ()
    threads: int | None = None
    minutes: float = 30.0
    name: str = ""
    licence: str = ""
    openvino: bool = False
    keep: Literal["all", "chosen"] = "all"
    record: bool = True
    record_licence: str = ""
    overwrite: bool = False
    fresh: bool = False
    learn: LearnOptions | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < self.min_agreement <= 1:
            fix = "0.85 keeps most; 1 runs every frame."
            raise OptionError("--min-agreement", got=self.min_agreement, expected="above 0, at most 1", fix=fix)
        if self.budget_ms is not None and not 0 < self.budget_ms < 1e6:
            raise OptionError("--budget-ms", got=self.budget_ms, expected="above 0", fix="Give milliseconds a frame.")
        if not 0 < self.minutes <= 1e5:
            raise OptionError("--minutes", got=self.minutes, expected="above 0", fix="30 suffices for most.")
        wrong = [one for one in self.intervals if not 1 < one <= 1000]
        if wrong or not self.intervals or len(set(self.intervals)) < len(self.intervals):
            got, fix = list(self.intervals), "Leave it out for 2, 2.5, 3, 4, 5 and 10."
            raise OptionError("--intervals", got=got, expected="different numbers, above 1, at most 1000", fix=fix)
        if not all(0 < one <= 100 for one in self.motions) or len(set(self.motions)) < len(self.motions):
            got, fix = list(self.motions), f"Leave it out for {', '.join(map(str, MOTIONS))}."
            raise OptionError("--motions", got=got, expected="different numbers, above 0, at most 100", fix=fix)
        if self.learn is not None and self.precision != "fp32":
            fix = "Learn in float32: measure int8 in a run of its own."
            raise OptionError("options", got="--learn and --precision auto", expected="one of them", fix=fix)
        if self.truth_score is not None and self.stills is not None:
            fix = "Give the score, or stills to find it on."
            raise OptionError("options", got="--truth-score and --stills", expected="one of them", fix=fix)
