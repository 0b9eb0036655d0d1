"""What a run may learn from: its sources read, and whatever licence, hold-out or list forbids taken out or refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lsts_edge.errors import OptionError
from lsts_edge.evaluation.annotations import AnnotationSet, read_annotations
from lsts_edge.train.held_out import held_out_names, refuse_held_out
from lsts_edge.train.recipe import DataSource

__all__ = ["TrainingData", "read_sources"]


@dataclass(frozen=True)
class TrainingData:
    """What is trained on.

    Attributes:
        sets: of each source what is left.
        held_out: names of the sequences that were left out.
        sequences: names of those that are left, sorted.
    """

    sets: tuple[AnnotationSet, ...]
    held_out: frozenset[str]
    sequences: tuple[str, ...]


def read_sources(
    sources: Sequence[DataSource],
    classes: tuple[str, ...],
    *,
    hold_out: Iterable[str] = (),
    must_not_see: str | None = None,
) -> TrainingData:
    """Read the sources less what must not be learned from.

    Args:
        sources: with paths that can be opened.
        classes: that the labels index.
        hold_out: sequences of any source, beside those that the sources hold out.
        must_not_see: file of names that no sequence or folder may have.

    Raises:
        AnnotationError: if a file cannot be read, or has no image under a licence asked for.
        OptionError: if a sequence to hold out is unknown, none is left, or one is on the list.
    """
    sets = [read_annotations(Path(one.data), classes, one.groups).licensed(one.licences) for one in sources]
    held_out = frozenset(hold_out).union(*(one.hold_out for one in sources))
    there = {record.video for annotations in sets for record in annotations.images}
    unknown = sorted(held_out - there.union(*(annotations.named for annotations in sets)))
    if unknown:
        raise OptionError("--hold-out", got=unknown, expected="names of sequences in --data", fix="Correct them.")
    if there <= held_out:
        raise OptionError("--hold-out", got="every sequence", expected="something left", fix="Name fewer.")
    left = tuple(annotations.without(set(held_out)) for annotations in sets)
    sequences = tuple(sorted(there - held_out))
    if must_not_see is not None:
        names = held_out_names(Path(must_not_see))
        refuse_held_out(names, sequences, [annotations.path for annotations in left])
    return TrainingData(left, held_out, sequences)
