"""Intervals of the study: sequences and seeds are drawn anew, and two rows are compared on the same draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lsts_edge.evaluation.clip_bootstrap import drawn_counts, drawn_precision
from lsts_edge.evaluation.metrics import Matches

__all__ = ["Draws", "SequenceMatches"]

SequenceMatches = Mapping[str, Sequence[Matches]]
"""By sequence, one per class; see ``metrics.sequence_matches``."""


class Draws:
    """The same draws for every row of a study.

    Args:
        sequences: how many there are.
        resamples: of the bootstrap.
        seed: of the draws.
    """

    def __init__(self, sequences: int, resamples: int = 1000, seed: int = 0) -> None:
        self._counts = drawn_counts(sequences, resamples, seed)
        self._random_seed = seed + 1

    def of(self, matches: SequenceMatches) -> np.ndarray:
        """Mean AP50 of one run under each draw, ``(R,)``; NaN where a draw holds nothing to find."""
        sequences = list(matches.values())
        per_class = []
        for parts in zip(*sequences, strict=True):
            kept = [~part.dropped for part in parts]
            sizes = [int(keep.sum()) for keep in kept]
            per_class.append(
                drawn_precision(
                    np.concatenate([part.scores[keep] for part, keep in zip(parts, kept, strict=True)]),
                    np.concatenate([part.correct[keep] for part, keep in zip(parts, kept, strict=True)]),
                    np.repeat(np.arange(len(parts)), sizes),
                    np.array([part.positives for part in parts]),
                    self._counts,
                )
            )
        values = np.stack(per_class)
        known = ~np.isnan(values)
        total = np.where(known, values, 0.0).sum(axis=0)
        return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)

    def interval(self, runs: Sequence[np.ndarray]) -> tuple[float, float]:
        """95 % of the mean over runs, which are drawn anew with the sequences.

        Args:
            runs: of ``of``, one a seed; or differences of two rows, seed by seed.
        """
        values = np.stack(runs)
        random = np.random.RandomState(self._random_seed)
        which = random.randint(0, len(values), (len(values), values.shape[1]))
        mean = np.take_along_axis(values, which, axis=0).mean(axis=0)
        low, high = np.nanpercentile(mean, (2.5, 97.5))
        return float(low), float(high)
