"""What a study says of detector, clips and sample, and the sentences that a reader must not miss."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from lsts_edge.publish.wrap.clips import CutClip
from lsts_edge.publish.wrap.plan import Plan
from lsts_edge.publish.wrap.sample import SampledPieces
from lsts_edge.publish.wrap.study import ClipUsed, DetectorUsed, Half, Sample
from lsts_edge.publish.wrap.subject import Size, Subject

__all__ = ["clips_used", "detector_used", "plan_notes", "sample_used", "size_notes", "truth_notes"]

_FEW_BOXES = 200
_SLOW_S = 4.0  # a frame: a hundred times slower than 25 frames a second
_OTHER_SHAPE = 1.25
_SPLITS = {
    "clip": "half of the clips chose, the other half states the figures",
    "shot": "one clip: half of its shots chose, the other half states the figures",
    "time": "one shot: its first half chose, its second half states the figures, which flatters them",
    "labels": "the clips chose, the labelled sequences state the figures",
}


def detector_used(subject: Subject) -> DetectorUsed:
    """The file, its family and what was assumed."""
    height, width = subject.size
    notes = tuple(note if note.isprintable() else ascii(note)[1:-1] for note in subject.notes)
    return DetectorUsed(
        subject.file, subject.sha256, subject.spec.family, notes, subject.classes, width, height, subject.spec.sizes
    )


def clips_used(clips: Sequence[CutClip], sample: SampledPieces) -> tuple[ClipUsed, ...]:
    """Every clip, and how much of it was looked at."""
    found = []
    for index, clip in enumerate(clips):
        pieces = [piece for piece in sample.pieces if piece.clip == index]
        halves = {piece.half for piece in pieces}
        half: Half = "both" if len(halves) != 1 else next(iter(halves))
        used = sum(piece.frames for piece in pieces)
        found.append(
            ClipUsed(clip.name, clip.digest, clip.width_px, clip.height_px, clip.frames, len(clip.shots), used, half)
        )
    return tuple(found)


def sample_used(sample: SampledPieces, true_boxes: int, timed_frames: int, minutes: float) -> Sample:
    """How many frames of how many shots, and how they were split."""
    choosing, stating = sample.frames("choose"), sample.frames("state")
    clips = len({piece.clip for piece in sample.pieces})
    words = (
        f"{choosing + stating} of {sample.frames_there} frames, in {len(sample.pieces)} whole shots or parts of long "
        f"ones from {clips} clip{'s' if clips > 1 else ''}; {_SPLITS[sample.split_by]}"
    )
    return Sample(sample.split_by, choosing, stating, true_boxes, timed_frames, round(minutes, 1), words)


def size_notes(subject: Subject, sizes: Sequence[Size], clips: Sequence[CutClip]) -> Iterator[str]:
    """Whether smaller inputs can be looked at, and whether another shape would suit the clips."""
    height, width = subject.size
    if len(sizes) == 1:
        yield f"The detector runs at {width}x{height} only: there is no smaller-input and no fused."
    clip_height, clip_width = Counter((clip.height_px, clip.width_px) for clip in clips).most_common(1)[0][0]
    shape = clip_width / clip_height
    if subject.spec.sizes == "free" and not 1 / _OTHER_SHAPE < shape / (width / height) < _OTHER_SHAPE:
        step = subject.spec.size_multiple_px
        wide = max(step, round(math.sqrt(width * height * shape) / step) * step)
        high = max(step, round(wide / shape / step) * step)
        yield (
            f"Most clips are {clip_width}x{clip_height} and the input is {width}x{height}: --size {wide}x{high} has "
            f"their shape, at {wide * high / (width * height):.2f} of the work."
        )


def plan_notes(plan: Plan, network_s: float, minutes: float) -> Iterator[str]:
    """Where the time that was given is short for this detector."""
    if network_s > _SLOW_S:
        yield (
            f"The detector takes {network_s:.1f} s a frame, {network_s * 25:.0f} times longer than a video at 25 "
            f"frames a second: {plan.most_frames} frames are looked at, and {plan.blocks * 12} are timed."
        )
    if plan.short:
        took = f"{plan.seconds / 60:.0f} minutes" if plan.seconds >= 90 else f"{plan.seconds:.0f} seconds"
        yield (
            f"{minutes:g} minutes are short: the least that can be measured takes about {took} after "
            f"reading and proving. Figures of {plan.most_frames} frames are rough; give more with --minutes."
        )


def truth_notes(true_boxes: int) -> Iterator[str]:
    """Where the clips hold little to find."""
    if 0 < true_boxes < _FEW_BOXES:
        yield f"The stating half holds {true_boxes} boxes to find: few, so the figures are rough. Give more clips."
