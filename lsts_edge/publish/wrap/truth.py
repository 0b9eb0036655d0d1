"""The score from which on a detector's own boxes are true: given, found on labelled stills, or its family's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from lsts_edge.errors import OptionError
from lsts_edge.evaluation.annotations import AnnotationSet
from lsts_edge.evaluation.bundles import read_image
from lsts_edge.evaluation.truth_score import TruthScore, truth_score
from lsts_edge.progress import Progress, silent
from lsts_edge.publish.wrap.networks import OncePerFrame
from lsts_edge.publish.wrap.study import TruthUsed

__all__ = ["FAMILY_SCORES", "family_truth", "given_truth", "stills_truth"]

FAMILY_SCORES: Mapping[str, float] = {"yolox": 0.3, "picodet": 0.4, "nanodet-plus": 0.4, "detr": 0.4}
"""Score of best F1 by family, rounded to 0.05: see docs/your-detector.md for the measurement."""

_OTHER_FAMILIES = 0.4
_BESIDE = 0.1
_LEAST, _MOST = 0.05, 0.95


def given_truth(score: float) -> TruthUsed:
    """As the user said.

    Raises:
        OptionError: if it is no score.
    """
    if not _LEAST <= score <= _MOST:  # false for NaN too
        fix = "Leave it out for the default of the detector's family."
        raise OptionError("--truth-score", got=score, expected=f"{_LEAST}..{_MOST}", fix=fix)
    return _truth(score, "given", f"{score:g}, as given")


def family_truth(family: str) -> TruthUsed:
    """The family's usual one."""
    score = FAMILY_SCORES.get(family, _OTHER_FAMILIES)
    words = f"{score:g}, the default for {family}" if family in FAMILY_SCORES else f"{score:g}, the usual default"
    return _truth(score, "family", f"{words}; --stills finds the detector's own")


def stills_truth(stills: AnnotationSet, name: str, network: OncePerFrame, progress: Progress = silent) -> TruthUsed:
    """The score of best F1 on labelled stills.

    Args:
        stills: whose categories hold the detector's classes by name.
        name: of their file.
        network: its largest one, in float32.
        progress: told of stills done and stills in all.

    Raises:
        AnnotationError: if an image cannot be read.
        CheckFailed: if nothing is found.
    """
    found = {}
    for done, record in enumerate(stills.images):
        progress("finding the score of best F1 on stills", done + 1, len(stills.images))
        found[record.image_id] = network.step(read_image(record), "first").boxes
    best: TruthScore = truth_score(stills, found)
    score = min(max(best.score, _LEAST), _MOST)
    words = f"{score:g}, the score of best F1 ({best.f1:.3f}) on {best.images} stills of {name}"
    return _truth(score, "stills", words)


def _truth(score: float, source: Literal["given", "stills", "family"], words: str) -> TruthUsed:
    lower, upper = max(_LEAST, round(score - _BESIDE, 4)), min(_MOST, round(score + _BESIDE, 4))
    return TruthUsed(score, lower, upper, source, words)
