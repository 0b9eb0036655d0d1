"""Compares a bundle on an engine with torch, live or as recorded in the bundle, over video with the state carried."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from lsts_edge.bundle import Bundle, Model
from lsts_edge.clips import moving_clip
from lsts_edge.errors import BundleError, CheckFailed, OpLibraryError, OptionError
from lsts_edge.golden import GOLDEN_FILE, Golden, GoldenRecorder, TensorSample
from lsts_edge.manifest import Manifest, ParityInfo
from lsts_edge.parity import (
    EXACT,
    LOWERED,
    LOWERED_OTHER_ENGINE,
    NEAR_FRACTION,
    Boxes,
    Doubt,
    Limits,
    ParityTotals,
    doubt_of,
    match_boxes,
    match_loosely,
)
from lsts_edge.runtime.pipeline import Kind, Pipeline
from lsts_edge.runtime.preprocess import Preprocessor
from lsts_edge.runtime.session import Backend, Session, model_digest, open_backend

if TYPE_CHECKING:
    from lsts_edge.model.network import VideoNetwork

__all__ = [
    "CLIP_FRAMES",
    "EngineReference",
    "FrameTruth",
    "ParityReport",
    "ProgramParity",
    "RecordedReference",
    "Reference",
    "TorchReference",
    "check_parity",
    "clip_images",
    "comparable_forms",
    "images_of",
    "parity_interval",
    "verify_bundle",
    "video_images",
]

CLIP_FRAMES = 30
CLIP_SEED = 0
RECORDING_BACKEND = "onnxruntime"
"""Engine whose outputs a bundle with graphs below float32 records."""
_FEW_PARAMETERS = 1_000_000  # in all graphs together: below this, threads cost more than they give
_DETECTIONS = ("boxes", "scores", "labels")

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class FrameTruth:
    """What the reference says about one frame: image, kind, tensors by torch's slot name, boxes and their doubt."""

    image: Array
    kind: Kind
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


@dataclass(frozen=True)
class ProgramParity:
    """Parity of one set of programs: ``form`` of LSTS (None without), split or joined graphs."""

    form: str | None
    joined: bool
    totals: ParityTotals


@dataclass(frozen=True)
class ParityReport:
    """Outcome of a comparison; ``against`` says with what."""

    against: str
    backend: str
    programs: tuple[ProgramParity, ...]
    limits: Limits = EXACT

    @property
    def passed(self) -> bool:
        """Whether every program set is within the limits."""
        return bool(self.programs) and all(program.totals.passed for program in self.programs)

    def to_info(self, default_form: str | None) -> ParityInfo:
        """The manifest's summary: worst of all program sets, boxes of one."""
        totals = [program.totals for program in self.programs]
        return ParityInfo(
            tensor_tolerance=self.limits.tensor_error,
            frames=max(t.frames for t in totals),
            max_tensor_error=float(f"{max(t.max_tensor_error for t in totals):.3g}"),
            boxes=max(t.boxes for t in totals),
            unmatched=max(t.unmatched for t in totals),
            near_threshold=max(t.near_threshold for t in totals),
            backend=self.backend,
            form=default_form or "default",
            reference="own-programs" if self.limits.loose else "torch",
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        limits = {
            "tensor_error": self.limits.tensor_error,
            "unmatched_fraction": self.limits.unmatched_fraction,
            "near_threshold_fraction": NEAR_FRACTION,
        }
        rows = [
            {"form": p.form, "joined": p.joined, "passed": p.totals.passed, **asdict(p.totals)} for p in self.programs
        ]
        for row in rows:
            del row["limits"]
        return {
            "passed": self.passed,
            "against": self.against,
            "backend": self.backend,
            "limits": limits,
            "programs": rows,
        }


class TorchReference:
    """Runs the torch loop, state carried, on images already at the network's size.

    Args:
        network: in evaluation mode, on the CPU.
        images: ``(1, H, W, 3)`` uint8 BGR each; at least one.
        keyframe_interval: frames from one keyframe to the next.
        recorder: told of every frame, to write the bundle's recording.
    """

    def __init__(
        self,
        network: VideoNetwork,
        images: Iterable[Array],
        keyframe_interval: int,
        recorder: GoldenRecorder | None = None,
    ) -> None:
        from lsts_edge.model.reference import torch_version

        self._network = network
        self._images = images
        self._interval = keyframe_interval
        self._recorder = recorder
        self.description = f"torch {torch_version()}, live"
        self.limits = EXACT

    def frames(self) -> Iterator[FrameTruth]:
        """Step through the clip; every entry of every tensor is compared."""
        from lsts_edge.model.reference import nearby_detections, reference_steps

        for image, kind, arrays in reference_steps(self._network, self._images, self._interval):
            boxes = Boxes(*(arrays.pop(name) for name in _DETECTIONS))
            task = arrays["task"]

            @functools.cache
            def doubt(boxes: Boxes = boxes, task: Array = task) -> Doubt:
                return doubt_of(boxes, (Boxes(*found) for found in nearby_detections(self._network, task)))

            if self._recorder is not None:
                self._recorder.add(kind, _digest(image), arrays, boxes, doubt())
            tensors = {
                name: TensorSample(array, float(np.abs(array).max(initial=0.0))) for name, array in arrays.items()
            }
            yield FrameTruth(image, kind, tensors, boxes, doubt)


class EngineReference:
    """Runs a bundle's split graphs in its default form on ONNX Runtime: what graphs below float32 give, for recording.

    Args:
        bundle: open, or a draft.
        images: ``(1, H, W, 3)`` uint8 BGR each; at least one.
        keyframe_interval: frames from one keyframe to the next.
        form: LSTS form to run; None takes the bundle's default.
        recorder: told of every frame, to write the bundle's recording.
    """

    def __init__(
        self,
        bundle: Bundle,
        images: Iterable[Array],
        keyframe_interval: int,
        form: str | None = None,
        recorder: GoldenRecorder | None = None,
    ) -> None:
        self._pipeline = Pipeline(bundle, open_backend(custom_op=form == "custom"), lsts_form=form, joined=False)
        self._programs = bundle.manifest.programs
        self._images = images
        self._interval = keyframe_interval
        self._recorder = recorder
        backend = self._pipeline.backend
        self.description = f"its own split graphs on {backend.name} {backend.version}"
        self.limits = LOWERED

    def frames(self) -> Iterator[FrameTruth]:
        """Step through the clip; every entry of every tensor is compared."""
        pipeline = self._pipeline
        for index, image in enumerate(self._images):
            kind = pipeline.kind_at(index, self._interval)
            slots = pipeline.step(image, kind)
            boxes = Boxes(*(slots[name] for name in _DETECTIONS))
            written = {slot for step in self._programs[kind] for slot in step.outputs.values()} - set(_DETECTIONS)
            arrays = {_torch_name(slot): slots[slot] for slot in sorted(written)}
            doubt = doubt_of(boxes, ())
            if self._recorder is not None:
                self._recorder.add(kind, _digest(image), arrays, boxes, doubt)
            tensors = {name: TensorSample(array, float(np.abs(array).max(initial=0))) for name, array in arrays.items()}
            yield FrameTruth(image, kind, tensors, boxes, lambda doubt=doubt: doubt)  # type: ignore[misc]


class RecordedReference:
    """What torch, or the bundle's own graphs below float32, gave at export time, from the bundle: needs no torch.

    Args:
        bundle: an open bundle.
        frames: how many of the recorded frames; None takes all.

    Raises:
        BundleError: if the bundle has no recording.
        OptionError: if it has fewer frames.
    """

    def __init__(self, bundle: Bundle, frames: int | None = None) -> None:
        if GOLDEN_FILE not in bundle.manifest.files:
            raise BundleError(
                f"bundle {bundle.path}", got="no recorded outputs", expected=GOLDEN_FILE, fix="Give --checkpoint FILE."
            )
        self._golden = Golden(bundle.read(GOLDEN_FILE))
        recorded = len(self._golden.kinds)
        if frames is not None and not 1 <= frames <= recorded:
            raise OptionError(
                "frames to verify", got=frames, expected=f"1..{recorded} (recorded)", fix="Give --checkpoint FILE."
            )
        self._frames = frames or recorded
        tools, parity = bundle.manifest.tools, bundle.manifest.parity
        self.description = f"outputs of torch {tools.get('torch', 'unknown')} recorded at export"
        self.limits = EXACT
        if parity is not None and parity.reference == "own-programs":
            self.description = f"outputs of its own graphs on {parity.backend} recorded at export"
            self.limits = dataclasses.replace(LOWERED, tensor_error=parity.tensor_tolerance)

    def frames(self) -> Iterator[FrameTruth]:
        """Draw the clip again and pair each frame with its recording.

        Raises:
            CheckFailed: if this machine draws the clip differently, so that nothing could be compared.
        """
        golden = self._golden
        images = clip_images(self._frames, golden.height_px, golden.width_px, golden.seed)
        for index, image in enumerate(images):
            if _digest(image) != golden.image_sha256[index]:
                raise CheckFailed(
                    f"frame {index} of the built-in clip",
                    got="other pixels than at export (another OpenCV draws it differently)",
                    expected=f"sha256 {golden.image_sha256[index][:16]}...",
                    fix="Use the OpenCV that the bundle was exported with, or verify with --checkpoint.",
                )
            kind: Kind = golden.kinds[index]  # type: ignore[assignment]
            doubt = functools.partial(golden.doubt, index)
            yield FrameTruth(image, kind, golden.tensors(index), golden.boxes(index), doubt)


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
        yield clip_images(frames, manifest.input.height_px, manifest.input.width_px)
        return
    from lsts_edge.runtime.sources import open_source

    with open_source(video) as source:
        yield video_images(source, manifest, frames)


def verify_bundle(
    bundle: Bundle,
    reference: Reference,
    *,
    backend: str = "onnxruntime",
    provider: str = "cpu",
    threads: int | None = None,
    forms: Sequence[str] | None = None,
    joined: Sequence[bool] | None = None,
) -> ParityReport:
    """Run every program set of a bundle beside the reference, frame by frame, each with its own carried state.

    Args:
        bundle: an open bundle.
        reference: the right outputs.
        backend: engine; OpenVINO runs with its float32 hint.
        provider: of the engine.
        threads: inside an operator; None leaves it to the engine.
        forms: LSTS forms; None takes the bundle's.
        joined: False for the split graphs, True for the joined ones; None takes what the bundle has.

    Raises:
        OptionError: if a form or the joined graphs are not in the bundle.
        ProviderError: if the engine is missing or refuses a graph.
    """
    manifest = bundle.manifest
    chosen: Sequence[str | None] = (None,) if manifest.lsts is None else tuple(forms or manifest.lsts.forms)
    if joined is None:
        joined = (False, True) if manifest.joined else (False,)
    if threads is None and sum(graph.parameters for graph in manifest.graphs.values()) < _FEW_PARAMETERS:
        threads = 1
    engine = _LoadsOnce(open_backend(backend, provider, threads=threads, custom_op="custom" in chosen))
    limits = reference.limits
    if limits.loose and backend != RECORDING_BACKEND:
        limits = LOWERED_OTHER_ENGINE
    runs = [
        (Pipeline(bundle, engine, lsts_form=form, joined=use), ProgramParity(form, use, ParityTotals(limits=limits)))
        for form in chosen
        for use in joined
    ]
    for index, truth in enumerate(reference.frames()):
        for pipeline, parity in runs:
            slots = pipeline.step(truth.image, truth.kind)
            programs = manifest.joined if parity.joined else manifest.programs
            steps = programs[truth.kind if pipeline.carries_memory else "first"]
            written = {slot for step in steps for slot in step.outputs.values()} - set(_DETECTIONS)
            parity.totals.frames += 1
            for slot in sorted(written):
                error = truth.tensors[_torch_name(slot)].error_of(slots[slot])
                parity.totals.add_tensor(slot, index, error)
            found = Boxes(*(slots[name] for name in _DETECTIONS))
            if limits.loose:
                parity.totals.add_boxes(match_loosely(truth.boxes, found))
                continue
            match = match_boxes(
                truth.boxes,
                found,
                nms_iou=manifest.preset.head.nms_iou,
                max_detections=manifest.detection.max_detections,
                doubt=truth.doubt,
            )
            parity.totals.add_boxes(match)
    return ParityReport(reference.description, f"{backend} {engine.version}", tuple(p for _, p in runs), limits)


def comparable_forms(manifest: Manifest, told: Callable[[str], None]) -> tuple[str, ...] | None:
    """The bundle's LSTS forms that can run here: ``custom`` only where its library is, which ``told`` hears.

    Raises:
        OpLibraryError: if ``custom`` is the bundle's only form and its library cannot be used.
    """
    if manifest.lsts is None:
        return None
    forms = manifest.lsts.forms
    if "custom" not in forms:
        return forms
    from lsts_edge.custom_ops import library_path

    try:
        library_path()
    except OpLibraryError as error:
        if forms == ("custom",):
            raise
        told(f"form custom is not compared: {error.problem}")
        return tuple(form for form in forms if form != "custom")
    return forms


def check_parity(report: ParityReport) -> None:
    """Turn a failed comparison into an error.

    Raises:
        CheckFailed: naming the worst tensor, and boxes without a partner.
    """
    for program in report.programs:
        totals = program.totals
        if totals.passed:
            continue
        name = f"{program.form or 'default'}, {'joined' if program.joined else 'split'} graphs"
        raise CheckFailed(
            f"parity with {report.against} on {report.backend} ({name})",
            got=f"tensor error {totals.max_tensor_error:.2e} ({totals.worst or 'no tensor compared'}), "
            f"{totals.unmatched} of {totals.boxes} boxes without a partner, {totals.near_threshold} near a threshold, "
            f"{totals.frames} frames",
            expected=f"at most {report.limits.tensor_error:.0e}, {report.limits.unmatched_fraction:.0%} and "
            f"{NEAR_FRACTION:.0%} of the boxes",
            fix="These graphs and these weights do not belong together: export again.",
        )


def parity_interval(manifest: Manifest, frames: int) -> int:
    """Keyframe interval of a check: the model's, but short enough for three keyframes with others between."""
    return min(manifest.keyframes.interval, max(2, -(-frames // 3)))


class _LoadsOnce:
    """A backend that gives one session for the same bytes: the program sets share most of their graphs."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._sessions: dict[str, Session] = {}
        self.name, self.provider, self.version = backend.name, backend.provider, backend.version

    def load(self, model: Model, name: str) -> Session:
        key = model_digest(model)
        if key not in self._sessions:
            self._sessions[key] = self._backend.load(model, name)
        return self._sessions[key]


def _torch_name(slot: str) -> str:
    """The torch loop's name of a slot: only the propagated task feature is called differently, as it is no state."""
    return "task" if slot == "task_current" else slot


def _digest(image: Array) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()
