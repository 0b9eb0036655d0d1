"""Runs ways over pieces of clips, and times them, with every result kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lsts_edge.bundle.draft import DraftBundle
from lsts_edge.progress import Progress, silent
from lsts_edge.publish.wrap.cache import Cache
from lsts_edge.publish.wrap.candidates import Candidate
from lsts_edge.publish.wrap.clips import ClipReader, CutClip
from lsts_edge.publish.wrap.found import PieceFound, run_piece
from lsts_edge.publish.wrap.networks import Networks
from lsts_edge.publish.wrap.sample import Piece
from lsts_edge.publish.wrap.subject import Size
from lsts_edge.publish.wrap.times import BLOCK_FRAMES, TIMED_INTERVAL, BlockTimes, time_blocks
from lsts_edge.runtime.detector import Detector
from lsts_edge.runtime.engines.loads_once import LoadsOnce
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions

__all__ = ["Block", "find_all", "spread_blocks", "time_all"]

_SCORE_THRESHOLD = 0.3  # of the boxes that a timed detector hands out


@dataclass(frozen=True)
class Block:
    """Frames ``first`` to before ``end`` of clip number ``clip``, timed together."""

    clip: int
    first: int
    end: int


def find_all(
    networks: Networks,
    ways: Sequence[Candidate],
    clips: Sequence[CutClip],
    pieces: Sequence[Piece],
    cache: Cache,
    key: Mapping[str, Any],
    progress: Progress = silent,
) -> list[PieceFound]:
    """What every way finds in every piece; pieces that the cache has are not run again.

    Args:
        networks: at the sizes of the ways.
        ways: to run.
        clips: of the pieces.
        pieces: by clip, in order.
        cache: of results.
        key: of all that they follow from but way and piece.
        progress: told of frames done and frames in all, and the time that is left.
    """
    listed = [way.key() for way in ways]
    keys = [
        {**key, "what": "found", "ways": listed, "clip": clips[p.clip].digest, "frames": [p.first, p.end]}
        for p in pieces
    ]
    kept = [
        PieceFound.of_arrays(cache.arrays(one), len(ways), piece.frames)
        for one, piece in zip(keys, pieces, strict=True)
    ]
    missing = [index for index, found in enumerate(kept) if found is None]
    total = sum(pieces[index].frames for index in missing)
    begin, done = time.monotonic(), 0
    reader = ClipReader()
    for index in missing:
        piece = pieces[index]
        clip = clips[piece.clip]
        left = _left(begin, done, total)
        progress(f"measuring agreement on {clip.name}{left}", done, total)
        found = run_piece(networks, ways, reader.part(clip, piece.first, piece.end))
        cache.keep_arrays(keys[index], found.arrays())
        kept[index] = found
        done += piece.frames
    return [found for found in kept if found is not None]


def spread_blocks(pieces: Sequence[Piece], count: int) -> list[Block]:
    """Blocks of frames, spread evenly over the pieces; short pieces give short blocks."""
    every = [
        Block(piece.clip, first, min(first + BLOCK_FRAMES, piece.end))
        for piece in pieces
        for first in range(piece.first, piece.end, BLOCK_FRAMES)
        if min(first + BLOCK_FRAMES, piece.end) - first > 1
    ]
    whole = [block for block in every if block.end - block.first == BLOCK_FRAMES] or every
    at = np.linspace(0, len(whole) - 1, min(count, len(whole))).round().astype(int)
    return [whole[index] for index in sorted(set(at.tolist()))]


def time_all(
    drafts: Mapping[Size, DraftBundle],
    ways: Sequence[Candidate],
    clips: Sequence[CutClip],
    blocks: Sequence[Block],
    engine: EngineOptions,
    cache: Cache,
    key: Mapping[str, Any],
    progress: Progress = silent,
    learnt: DraftBundle | None = None,
) -> dict[tuple[Any, ...], BlockTimes]:
    """Times of every family of ways on one engine, by ``Candidate.family``; none is measured if the cache has them.

    What is timed is ``Detector.push``, from a frame in memory to its boxes, as a user runs it.

    Args:
        drafts: bundles by input size, with programs of all smaller sizes.
        ways: to time.
        clips: of the blocks.
        blocks: frames.
        engine: that runs them.
        cache: of results.
        key: of all that they follow from but ways, blocks and engine.
        progress: told of blocks done and blocks in all.
        learnt: bundle of the learnt way, where there is one.
    """
    families = list({way.family: way for way in ways}.values())
    form = None if learnt is None or learnt.manifest.lsts is None else learnt.manifest.lsts.default_form
    full_key = {
        **key,
        "what": "times",
        "form": form,
        "engine": [engine.name, open_backend(engine).version, engine.threads],
        "ways": [[*way.key()[:1], *way.key()[2:]] for way in families],
        "blocks": [[clips[block.clip].digest, block.first, block.end] for block in blocks],
    }
    kept = cache.plain(full_key)
    if kept is not None:
        return {way.family: BlockTimes.from_dict(one) for way, one in zip(families, kept, strict=True)}
    shared = EngineOptions(LoadsOnce(open_backend(engine, custom_op=form == "custom")))
    detectors = [
        (
            Detector(learnt if learnt and way.kind == "features" else drafts[way.size], shared,
                     propagator=way.way(), keyframe_interval=_interval(way), score_threshold=_SCORE_THRESHOLD),
            not way.detects_always,
        )
        for way in families
    ]  # fmt: skip
    begin = time.monotonic()
    total = len(blocks) * len(families)
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        progress(f"timing on {engine.name}{_left(begin, done, total)}", done, total)

    found = time_blocks(detectors, _pictures(clips, blocks), tick)
    cache.keep_plain(full_key, [times.to_dict() for times in found])
    return {way.family: times for way, times in zip(families, found, strict=True)}


def _interval(way: Candidate) -> int:
    return 1 if way.detects_always else TIMED_INTERVAL


def _pictures(clips: Sequence[CutClip], blocks: Sequence[Block]) -> Iterator[list[np.ndarray]]:
    reader = ClipReader()
    for block in blocks:
        yield list(reader.part(clips[block.clip], block.first, block.end))


def _left(begin_s: float, done: int, total: int) -> str:
    """Such as ``, 12 min left``; nothing before anything is known."""
    if not done:
        return ""
    seconds = (time.monotonic() - begin_s) / done * (total - done)
    return f", {seconds / 60:.0f} min left" if seconds >= 90 else f", {seconds:.0f} s left"
