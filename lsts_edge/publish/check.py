"""Compares a draft with what it must give: torch in float32, its own recording on every engine below that."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
from typing import TYPE_CHECKING

from lsts_edge.bundle import DraftBundle
from lsts_edge.errors import CheckFailed
from lsts_edge.progress import Progress, silent
from lsts_edge.publish.draft import Draft
from lsts_edge.publish.target import Target
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.verify.compare import ParityReport, check_parity, parity_interval, verify_bundle
from lsts_edge.verify.golden import GoldenRecorder
from lsts_edge.verify.references import clip_images, images_of
from lsts_edge.verify.torch_reference import TorchReference

if TYPE_CHECKING:
    from lsts_edge.model.network import VideoNetwork

__all__ = ["check_draft", "match_torch"]

_OTHER_FRAMES = 6  # three keyframes, and frames between


def match_torch(network: VideoNetwork, bundle: DraftBundle, target: Target, progress: Progress = silent) -> Draft:
    """Compare float32 graphs with torch on every clip, and record the first.

    Raises:
        CheckFailed: if they disagree.
    """
    recorder = target.clip.recorder()
    reports = _beside_torch(network, bundle, target, "onnxruntime", target.compared, progress, recorder)
    return Draft(bundle, recorder.to_bytes(), reports, weakness=_weakness(recorder, bundle, reports[0]))


def check_draft(network: VideoNetwork, draft: Draft, target: Target, progress: Progress = silent) -> Draft:
    """Compare what was made of a matched draft since: lowered graphs and IR.

    Raises:
        CheckFailed: if an engine here computes something else than it must.
    """
    precision = draft.bundle.manifest.precision
    if precision is not None and precision.chosen.lowered:
        return _own_recording(network, draft.bundle, target, progress)
    if target.openvino:
        forms = tuple(form for form in target.compared or () if form != "custom") or None
        reports = _beside_torch(network, draft.bundle, target, "openvino", forms, progress)
        return dataclasses.replace(draft, engines=reports)
    return draft


def _beside_torch(
    network: VideoNetwork,
    bundle: DraftBundle,
    target: Target,
    backend: str,
    forms: tuple[str, ...] | None,
    progress: Progress,
    recorder: GoldenRecorder | None = None,
) -> tuple[ParityReport, ...]:
    manifest, clip, frames = bundle.manifest, target.clip, target.clip.frames
    engine = EngineOptions(backend)
    where = " in OpenVINO" if backend == "openvino" else ""
    progress(f"comparing {len(clip.images)} frames{where} with torch")
    reports = [verify_bundle(bundle, clip.torch(network, bundle, recorder), engine, forms=forms)]
    check_parity(reports[0])
    if manifest.input.follows_video:
        height, width = manifest.input.image_px
        sizes = ((width, height), (min(height, width),) * 2)  # of an upright and a square video
        told = " and ".join(f"{width}x{height}" for height, width in sizes)
        progress(f"comparing {_OTHER_FRAMES} frames each of {told}{where} with torch")
        clips = itertools.chain(*(clip_images(_OTHER_FRAMES, *size) for size in sizes))
        interval = parity_interval(manifest, _OTHER_FRAMES)
        truth = TorchReference(network, clips, interval, scene_frames=_OTHER_FRAMES)
        reports.append(verify_bundle(bundle, truth, engine, forms=forms))
        check_parity(reports[-1])
    if target.video is not None:
        progress(f"comparing {frames} frames of {target.video.name}{where} with torch")
        with images_of(target.video, manifest, frames) as images:
            truth = TorchReference(network, images, parity_interval(manifest, frames))
            reports.append(verify_bundle(bundle, truth, engine, forms=forms))
        check_parity(reports[-1])
    return tuple(reports)


def _own_recording(network: VideoNetwork, bundle: DraftBundle, target: Target, progress: Progress) -> Draft:
    """Record the lowered programs, compare every engine here with them, and measure how far they are from torch."""
    manifest, clip, forms = bundle.manifest, target.clip, target.compared
    progress(f"recording {len(clip.images)} frames of the lowered graphs, and comparing engines and torch")
    recorder = clip.recorder()
    form = None if forms is None else forms[0]
    first = None if form is None else (form,)
    reports = [verify_bundle(bundle, clip.engine(bundle, form, recorder), forms=forms)]
    # On another engine boxes decide, and those of random weights mean nothing: every score is near every other.
    if manifest.weights.source != "random" and importlib.util.find_spec("openvino") is not None:
        reports.append(verify_bundle(bundle, clip.engine(bundle, form), EngineOptions("openvino"), forms=first))
    for report in reports:
        check_parity(report)
    live = verify_bundle(bundle, clip.torch(network, bundle), forms=first, joined=(False,))
    error = live.programs[0].totals.max_tensor_error
    if not error < 1e6:
        raise CheckFailed(
            "lowered graphs", got=f"tensor error {error}", expected="finite tensors", fix="Calibrate on other clips."
        )
    recording, weakness = recorder.to_bytes(), _weakness(recorder, bundle, reports[0])
    assert manifest.precision is not None
    info = dataclasses.replace(manifest.precision, torch_tensor_error=float(f"{error:.3g}"))
    told = DraftBundle.of(dataclasses.replace(manifest, precision=info), bundle.files)
    return Draft(told, recording, tuple(reports[:1]), tuple(reports[1:]), weakness)


def _weakness(recorder: GoldenRecorder, bundle: DraftBundle, report: ParityReport) -> str:
    """Why the recording proves little; the boxes of random weights mean nothing and prove nothing."""
    manifest = bundle.manifest
    if manifest.weights.source == "random":
        return ""
    return recorder.weakness(report.limits.score_floor, len(manifest.classes))
