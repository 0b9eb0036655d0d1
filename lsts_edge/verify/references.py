"""The right outputs of a clip, frame by frame: as recorded in the bundle, or of its own graphs on an engine."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lsts_edge.boxes import Boxes
from lsts_edge.bundle import Bundle
from lsts_edge.bundle.manifest import DETECTION_SLOTS, Manifest
from lsts_edge.bundle.programs import FrameKind
from lsts_edge.clips import moving_clip
from lsts_edge.errors import BundleError, CheckFailed, OptionError
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.pipeline import Pipeline
from lsts_edge.runtime.preprocess import Preprocessor
from lsts_edge.verify.golden import GOLDEN_FILE, Golden, GoldenRecorder, TensorSample
from lsts_edge.verify.parity import EXACT, LOWERED, Doubt, Limits, doubt_of

__all__ = [
    "CLIP_FRAMES",
    "CLIP_SEED",
    "RECORDING_BACKEND",
    "EngineReference",
    "FrameTruth",
    "RecordedReference",
    "Reference",
    "clip_images",
    "image_digest",
    "images_of",
    "torch_name",
    "video_images",
]

CLIP_FRAMES = 30
CLIP_SEED = 0
RECORDING_BACKEND = "onnxruntime"
"""Engine whose outputs a bundle with graphs below float32 records."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class FrameTruth:
    """What the reference says about one frame: image, kind, tensors by torch's slot name, boxes and their doubt."""

    image: Array
    kind: FrameKind
    tensors: Mapping[str, TensorSample]
    boxes: Boxes
    doubt: Callable[[], Doubt]


class Reference(Protocol):
    """Something that knows the right outputs of a clip."""

    @property
    def description(self) -> str:
        """What it is, for reports: live torch or a recording."""

    @property
    def limits(self) -> Limits:
        """What may differ from it."""

    def frames(self) -> Iterator[FrameTruth]:
        """The frames of the clip in order."""


class EngineReference:
    """Runs a bundle's split graphs in its default form on ONNX Runtime: what graphs below float32 give, for recording.

    Args:
        bundle: open, or a draft.
        images: ``(1, H, W, 3)`` uint8 BGR each; at least one.
        keyframe_interval: frames from one keyframe to the next.
        form: LSTS form to run; None takes the bundle's default.
        recorder: told of every frame, to write the bundle's recording.
        scene_frames: the memory is dropped after so many frames; None keeps it to the end.
    """

    def __init__(
        self,
        bundle: Bundle,
        images: Iterable[Array],
        keyframe_interval: int,
        form: str | None = None,
        recorder: GoldenRecorder | None = None,
        scene_frames: int | None = None,
    ) -> None:
        self._pipeline = Pipeline(bundle, EngineOptions(lsts_form=form, joined=False))
        self._programs = bundle.manifest.programs
        self._corners = bundle.manifest.detection.corners
        self._images = images
        self._interval = keyframe_interval
        self._recorder = recorder
        self._scene_frames = scene_frames
        backend = self._pipeline.backend
        self.description = f"its own split graphs on {backend.name} {backend.version}"
        self.limits = LOWERED

    def frames(self) -> Iterator[FrameTruth]:
        """Step through the clip; every entry of every tensor is compared."""
        pipeline = self._pipeline
        for index, image in enumerate(self._images):
            kind = pipeline.kind_at(index % self._scene_frames if self._scene_frames else index, self._interval)
            slots = pipeline.step(image, kind)
            boxes = Boxes.of_slots(slots, self._corners)
            written = {slot for step in self._programs[kind] for slot in step.outputs.values()} - set(DETECTION_SLOTS)
            arrays = {torch_name(slot): slots[slot] for slot in sorted(written)}
            doubt = doubt_of(boxes, ())
            if self._recorder is not None:
                self._recorder.add(kind, image_digest(image), arrays, boxes, doubt)
            tensors = {name: TensorSample(array, float(np.abs(array).max(initial=0))) for name, array in arrays.items()}
            yield FrameTruth(image, kind, tensors, boxes, lambda doubt=doubt: doubt)  # type: ignore[misc]


class RecordedReference:
    """What torch, or the bundle's own graphs below float32, gave at export time, from the bundle: needs no torch.

    Args:
        bundle: an open bundle.
        frames: how many of the recorded frames; None takes all.

    Attributes:
        weakness: why the recording proves little; empty where it holds enough boxes, and for random weights.

    Raises:
        BundleError: if the bundle has no recording.
        OptionError: if it has fewer frames.
    """

    def __init__(self, bundle: Bundle, frames: int | None = None) -> None:
        if GOLDEN_FILE not in bundle.manifest.files:
            raise BundleError(
                f"bundle {bundle.path}", got="no recorded outputs", expected=GOLDEN_FILE, fix="Give --checkpoint FILE."
            )
        self._golden = Golden(bundle.read(GOLDEN_FILE), bundle.manifest.detection.corners)
        recorded = len(self._golden.kinds)
        if frames is not None and not 1 <= frames <= recorded:
            raise OptionError(
                "frames to verify", got=frames, expected=f"1..{recorded} (recorded)", fix="Give --checkpoint FILE."
            )
        self._frames = frames or recorded
        tools, parity = bundle.manifest.tools, bundle.manifest.parity
        self.description = f"outputs of torch {tools.get('torch', 'unknown')} recorded at export"
        self.limits = EXACT
        if parity is not None and parity.reference == "original" and bundle.manifest.wrapped is not None:
            self.description = f"outputs of {bundle.manifest.wrapped.file} itself, recorded when it was wrapped"
        if parity is not None and parity.reference == "own-programs":
            self.description = f"outputs of its own graphs on {parity.backend} recorded at export"
            self.limits = dataclasses.replace(LOWERED, tensor_error=parity.tensor_tolerance)

        weights = bundle.manifest.weights
        self.weakness = ""
        if weights.source != "random":
            self.weakness = self._golden.weakness(self.limits.score_floor, len(bundle.manifest.classes))

    def frames(self) -> Iterator[FrameTruth]:
        """Decode the film, or draw the procedural clip again, and pair each frame with its recording.

        Raises:
            BundleError: if the film is damaged or short.
            CheckFailed: if this machine draws the clip differently, so that nothing could be compared.
        """
        golden = self._golden
        for index, image in enumerate(_images_again(golden, self._frames)):
            if image_digest(image) != golden.image_sha256[index]:
                drawn, fix = "the built-in clip", "Use the OpenCV that the bundle was exported with"
                if golden.film:
                    drawn, fix = "the recorded film", "Use another FFmpeg (av)"
                raise CheckFailed(
                    f"frame {index} of {drawn}",
                    got="other pixels than at export (another library draws or decodes it differently)",
                    expected=f"sha256 {golden.image_sha256[index][:16]}...",
                    fix=f"{fix}, or verify with --checkpoint.",
                )
            kind: FrameKind = golden.kinds[index]  # type: ignore[assignment]
            doubt = functools.partial(golden.doubt, index)
            yield FrameTruth(image, kind, golden.tensors(index), golden.boxes(index), doubt)


def _images_again(golden: Golden, frames: int) -> Iterator[Array]:
    if not golden.film:
        yield from clip_images(frames, golden.height_px, golden.width_px, golden.seed)
        return
    from lsts_edge.verify.film import decode_film

    shown = 0
    for image in itertools.islice(decode_film(golden.film, golden.height_px, golden.width_px), frames):
        shown += 1
        yield image
    if shown < frames:
        raise BundleError(
            f"film in {GOLDEN_FILE}", got=f"{shown} frames", expected=f"{frames}", fix="Export the bundle again."
        )


def clip_images(frames: int, height_px: int, width_px: int, seed: int = CLIP_SEED) -> Iterator[Array]:
    """The built-in clip at the network's size, ``(1, H, W, 3)`` uint8 BGR each: no resizing, so no engine differs."""
    for frame in moving_clip(frames, height_px, width_px, seed):
        yield frame[None]


def video_images(source: Iterable[Any], manifest: Manifest, frames: int) -> Iterator[Array]:
    """The first frames of a video as network images, resized and padded by the manifest's rule."""
    prepare = Preprocessor(manifest.input)
    for frame in itertools.islice(source, frames):
        yield prepare(frame.image)[0].copy()


@contextlib.contextmanager
def images_of(video: str | os.PathLike[str] | None, manifest: Manifest, frames: int) -> Iterator[Iterator[Array]]:
    """``video_images`` of a file, which stays open meanwhile, or ``clip_images`` where there is none."""
    if video is None:
        yield clip_images(frames, *manifest.input.image_px)
        return
    from lsts_edge.runtime.sources.open import open_source

    with open_source(video) as source:
        yield video_images(source, manifest, frames)


def torch_name(slot: str) -> str:
    """The torch loop's name of a slot: only the propagated task feature is called differently, as it is no state."""
    return "task" if slot == "task_current" else slot


def image_digest(image: Array) -> str:
    """SHA-256 of an image's pixels."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()
