"""Where learned sampling locations went, beside how far objects move: the paper's Figure 5 in numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lsts_edge.benchmarks.accuracy.study_result import OffsetSpread
from lsts_edge.benchmarks.accuracy.study_rows import RowRun
from lsts_edge.evaluation.annotations import AnnotationSet
from lsts_edge.evaluation.tracks import true_tracks
from lsts_edge.presets import ModelPreset

__all__ = ["offset_spread"]

_BINS = np.arange(-6.5, 7.0)  # cells; what is further out counts in the last bins


def offset_spread(runs: Sequence[RowRun], annotations: AnnotationSet, preset: ModelPreset) -> OffsetSpread:
    """Histograms over all runs.

    Args:
        runs: with sampling locations.
        annotations: the training sequences, whose true boxes tell the motion.
        preset: its input size and stride make cells of pixels.
    """
    start = np.concatenate([run.offsets_start for run in runs if run.offsets_start is not None])
    learned = np.concatenate([run.offsets for run in runs if run.offsets is not None])
    motion = _motion_cells(annotations, preset)
    return OffsetSpread(
        bins=tuple(_BINS.tolist()),
        start_x=_shares(start[:, 0]),
        start_y=_shares(start[:, 1]),
        learned_x=_shares(learned[:, 0]),
        learned_y=_shares(learned[:, 1]),
        motion_x=_shares(motion[:, 0]),
        motion_y=_shares(motion[:, 1]),
        mean_shift=float(np.linalg.norm(learned - start, axis=1).mean()),
    )


def _motion_cells(annotations: AnnotationSet, preset: ModelPreset) -> np.ndarray:
    """``(S, 2)``: from where an object is to where it was 1 to 10 frames before, which is where to sample."""
    parts = [np.zeros((0, 2))]
    named = any((record.instances >= 0).any() for record in annotations.images)
    for track in true_tracks(annotations) if named else []:
        record = annotations.images[int(track.images[0])]
        scale = min(preset.input.height_px / record.height_px, preset.input.width_px / record.width_px)
        centre = (track.boxes_xyxy_px[:, :2] + track.boxes_xyxy_px[:, 2:]).astype(np.float64) / 2
        for back in range(1, preset.keyframe_interval + 1):
            before = np.searchsorted(track.frames, track.frames - back)
            there = track.frames[np.minimum(before, len(track) - 1)] == track.frames - back
            parts.append((centre[before[there]] - centre[there]) * scale / preset.backbone.stride)
    return np.concatenate(parts)


def _shares(values: np.ndarray) -> tuple[float, ...]:
    inside = np.clip(values, _BINS[0], np.nextafter(_BINS[-1], 0))
    counts = np.histogram(inside, _BINS)[0]
    return tuple((counts / max(len(values), 1)).tolist())
