"""Average precision under many drawings of the clips at once."""

from __future__ import annotations

import numpy as np

__all__ = ["drawn_counts", "drawn_precision"]

_MOST_BINS = 1024
_RECALLS = np.linspace(0.0, 1.0, 101)


def drawn_counts(clips: int, resamples: int, seed: int) -> np.ndarray:
    """How often each clip is drawn: ``(resamples, clips)`` float64, each row drawn with replacement."""
    draws = np.random.RandomState(seed).randint(0, clips, (resamples, clips))
    rows = np.repeat(np.arange(resamples), clips)
    return np.bincount(rows * clips + draws.ravel(), minlength=resamples * clips).reshape(resamples, clips) * 1.0


def drawn_precision(
    scores: np.ndarray, correct: np.ndarray, clip: np.ndarray, positives: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Average precision of each drawing; NaN where a drawing holds nothing to find.

    Boxes are put in at most 1024 bins of neighbouring scores, so that a drawing is a product with the clips' counts
    in each bin. With fewer boxes than bins the figure is that of ``metrics.average_precision``.

    Args:
        scores: ``(N,)``.
        correct: ``(N,)`` bool.
        clip: ``(N,)`` int, index of each box's clip.
        positives: ``(C,)``, true boxes of each clip.
        counts: ``(R, C)``, how often each clip is drawn.
    """
    clips = len(positives)
    total = counts @ positives
    order = np.argsort(-scores, kind="stable")
    bins = min(_MOST_BINS, max(1, len(order)))
    bin_of = np.arange(len(order)) * bins // max(1, len(order))
    cell = clip[order] * bins + bin_of
    hits = np.bincount(cell, weights=correct[order], minlength=clips * bins).reshape(clips, bins)
    boxes = np.bincount(cell, minlength=clips * bins).reshape(clips, bins)
    # Summed up a clip first: the sums of a drawing are the drawn sums.
    hits = counts @ np.cumsum(hits, axis=1)
    precision = hits / np.maximum(counts @ np.cumsum(boxes, axis=1).astype(np.float64), 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # All rows are searched at once: each is lifted above the one before, in whole numbers of hits, so exactly.
    lift = np.arange(len(counts))[:, None] * (total.max(initial=0) + 1)
    needed = np.ceil(_RECALLS * total[:, None] - 1e-9)
    found = np.searchsorted((hits + lift).ravel(), (needed + lift).ravel(), side="left").reshape(needed.shape)
    position = found - np.arange(len(counts))[:, None] * bins
    reached = np.take_along_axis(envelope, np.minimum(position, bins - 1), axis=1)
    mean = np.where(position < bins, reached, 0.0).mean(axis=1)
    return np.where(total > 0, mean, np.nan)
