"""From a detector and clips to what was learnt around it: frames are seen once, learning goes on where it was."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lsts_edge import __version__
from lsts_edge.progress import Progress, silent
from lsts_edge.publish.wrap.cache import Cache
from lsts_edge.publish.wrap.clips import ClipReader, CutClip
from lsts_edge.publish.wrap.learn.distil import distil
from lsts_edge.publish.wrap.learn.frames import FrameMaker, FrameShape, Shot
from lsts_edge.publish.wrap.learn.frozen import Frozen, frozen_graphs
from lsts_edge.publish.wrap.learn.network import LearntPropagation
from lsts_edge.publish.wrap.learn.options import LearnOptions
from lsts_edge.publish.wrap.make import input_rule
from lsts_edge.publish.wrap.sample import Piece, sample_pieces
from lsts_edge.publish.wrap.subject import Size, Subject
from lsts_edge.runtime.engines.interface import Backend
from lsts_edge.runtime.preprocess import Preprocessor

__all__ = ["Learnt", "learn"]

_LONGEST_FRAMES = 90  # of a shot: different clips teach more than long ones


@dataclass(frozen=True)
class Learnt:
    """A detector's frozen graphs, and what was learnt between its keyframes from ``frames`` frames."""

    frozen: Frozen
    network: LearntPropagation
    frames: int


def learn(
    subject: Subject,
    clips: Sequence[CutClip],
    cache: Cache,
    backend: Backend,
    options: LearnOptions,
    *,
    progress: Progress = silent,
) -> Learnt:
    """Learn from the clips that choose; those that state stay unseen.

    Args:
        subject: the detector.
        clips: all of them.
        cache: of frames seen, and of an interrupted run.
        backend: runs the frozen graphs.
        options: how much of what.
        progress: told of frames, then of steps.

    Raises:
        DetectorSpecError: if the detector is none of the kind that can be learnt around.
        DetectorSize: if it cannot run at the size to learn at, or half of it.
        TrainingError: if the loss is not finite.
    """
    size = options.size or subject.size
    whole = frozen_graphs(subject, subject.size)  # refused now, not after an hour
    frozen = whole if size == subject.size else frozen_graphs(subject, size)
    pieces = sample_pieces(clips, most_frames=2 * options.frames, longest_frames=_LONGEST_FRAMES).of("choose")
    graphs = sorted(
        (name, _digest(model.SerializeToString(deterministic=True))) for name, model in frozen.graphs.items()
    )
    key = {"graphs": graphs, "resize": [subject.spec.resize, subject.spec.pad_value], "version": __version__}
    shots, digests = [], []
    shape = FrameShape(frozen)
    maker = FrameMaker(frozen, backend)
    reader = ClipReader()
    total = sum(piece.frames for piece in pieces)
    done = 0
    for piece in pieces:
        clip = clips[piece.clip]
        part = {**key, "what": "seen", "clip": clip.digest, "frames": [piece.first, piece.end]}
        if not cache.has(part):
            progress("seeing frames to learn from", done, total)
            cache.keep_content(part, _rows(subject, size, maker, shape, reader, clip, piece))
        shots.append(Shot(cache.path(part), piece.frames))
        digests.append([clip.digest, piece.first, piece.end])
        done += piece.frames
    taught = {name: value for name, value in dataclasses.asdict(options).items() if name != "form"}
    run = {**key, "what": "learnt", "shots": digests, "options": taught}
    network = distil(frozen, shots, options, cache.path(run), progress=progress)
    if frozen is whole:
        return Learnt(frozen, network, total)
    grown = LearntPropagation(whole.layout, whole.taps, options).eval()
    grown.load_state_dict(network.state_dict())  # all of it convolutions, and offsets in cells
    return Learnt(whole, grown, total)


def _rows(
    subject: Subject, size: Size, maker: FrameMaker, shape: FrameShape, reader: ClipReader, clip: CutClip, piece: Piece
) -> bytes:
    prepare = Preprocessor(input_rule(subject, size))
    frames = reader.part(clip, piece.first, piece.end)
    buffer = io.BytesIO()
    np.save(buffer, maker.rows((prepare(frame)[0] for frame in frames), shape), allow_pickle=False)
    return buffer.getvalue()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
