"""What int8 ranges are measured on: clips run with the memory carried, every graph's inputs kept."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lsts_edge.bundle import Bundle, Model
from lsts_edge.errors import OptionError
from lsts_edge.evaluation.annotations import ImageRecord
from lsts_edge.evaluation.bundles import read_image
from lsts_edge.runtime.engines.interface import Backend, Session
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.engines.tensors import Tensor
from lsts_edge.runtime.pipeline import Pipeline
from lsts_edge.runtime.preprocess import Preprocessor
from lsts_edge.verify.references import CLIP_FRAMES, clip_images

__all__ = ["CalibrationClips", "Feeds", "Recording", "record_feeds"]

FRAMES_PER_CLIP = 60
FRAMES_OF_VIDEO = 300
MAX_FEEDS = 64
"""Inputs kept of each graph, evenly spread: light runs nine times as often as heavy and gains nothing from more."""

Array = npt.NDArray[Any]
Feeds = dict[str, Array]


@dataclass(frozen=True)
class CalibrationClips:
    """Annotated sequences, of which boxes are not used, or one video file, or the built-in clip.

    Attributes:
        source: the file; None for the built-in clip.
        sequences: name of each sequence to its images; none for a video.
    """

    source: Path | None = None
    sequences: Mapping[str, Sequence[ImageRecord]] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """File and sequences, for the manifest."""
        name = "the built-in clip" if self.source is None else self.source.name
        return f"{name}: {', '.join(self.sequences)}" if self.sequences else name

    def clips(self, height_px: int, width_px: int) -> Iterator[Iterator[Array]]:
        """The frames of each clip, ``(H, W, 3)`` uint8 BGR; the built-in one is drawn in the size given."""
        if self.sequences:
            for records in self.sequences.values():
                yield (read_image(record) for record in records[:FRAMES_PER_CLIP])
            return
        if self.source is None:
            yield (image[0] for image in clip_images(CLIP_FRAMES, height_px, width_px))
            return
        from lsts_edge.runtime.sources.open import open_source

        with open_source(str(self.source)) as source:
            yield (frame.image for frame in itertools.islice(source, FRAMES_OF_VIDEO))


@dataclass(frozen=True)
class Recording:
    """Inputs of each graph by graph name, at most ``MAX_FEEDS`` each, and the frames they come from."""

    feeds: Mapping[str, list[Feeds]]
    frames: int


def record_feeds(
    bundle: Bundle, clips: CalibrationClips, *, form: str | None = None, threads: int | None = None
) -> Recording:
    """Run clips through the split graphs at the bundle's keyframe interval and keep what each graph was given.

    Graphs that read the memory thus see it as it is in use: propagated over frames, aggregated at keyframes.

    Args:
        bundle: in float32.
        clips: to run.
        form: LSTS form.
        threads: of the engine.

    Raises:
        OptionError: if the clips are too short to reach every graph.
    """
    kept: dict[str, list[Feeds]] = {}
    engine = _Recorder(open_backend(EngineOptions(threads=threads), custom_op=form == "custom"), kept)
    pipeline = Pipeline(bundle, EngineOptions(engine, lsts_form=form, joined=False))
    prepare = Preprocessor(bundle.manifest.input)
    interval = bundle.manifest.keyframe_interval
    frames = 0
    for clip in clips.clips(bundle.manifest.input.height_px, bundle.manifest.input.width_px):
        pipeline.reset()
        for index, frame in enumerate(clip):
            pipeline.step(prepare(frame)[0], pipeline.kind_at(index, interval))
            frames += 1
    used = {step.graph for steps in bundle.manifest.programs.values() for step in steps}
    unseen = sorted(name for name in used if not kept[name])
    if unseen:
        raise OptionError(
            f"calibration on {clips.description}",
            got=f"{frames} frames, which never run {', '.join(unseen)}",
            expected=f"a clip of more than {interval} frames",
            fix="Give longer clips: a keyframe after the first is needed.",
        )
    return Recording({name: _spread(feeds) for name, feeds in kept.items()}, frames)


class _Recorder:
    """A backend whose sessions write down their inputs."""

    def __init__(self, backend: Backend, kept: dict[str, list[Feeds]]) -> None:
        self._backend = backend
        self._kept = kept
        self.name, self.provider, self.version = backend.name, backend.provider, backend.version
        self.tensors = backend.tensors

    def load(self, model: Model, name: str) -> Session:
        return _RecordedSession(self._backend.load(model, name), self._kept.setdefault(name, []))


class _RecordedSession(Session):
    def __init__(self, session: Session, kept: list[Feeds]) -> None:
        self._session = session
        self._kept = kept
        self.inputs, self.outputs, self.tensors = session.inputs, session.outputs, session.tensors

    def run_tensors(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self._kept.append({name: np.array(self.tensors.get(value)) for name, value in feeds.items()})
        return self._session.run_tensors(feeds)


def _spread(feeds: list[Feeds]) -> list[Feeds]:
    chosen = np.unique(np.linspace(0, len(feeds) - 1, min(MAX_FEEDS, len(feeds))).round().astype(int))
    return [feeds[index] for index in chosen]
