"""Compares a draft with what it must give: torch in float32, its own recording on every engine below that."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import TYPE_CHECKING

from lsts_edge.bundle import DraftBundle
from lsts_edge.errors import CheckFailed
from lsts_edge.progress import Progress, silent
from lsts_edge.publish.draft import Draft
from lsts_edge.publish.target import Target
from lsts_edge.verify.compare import ParityReport, check_parity, parity_interval, verify_bundle
from lsts_edge.verify.golden import GoldenRecorder
from lsts_edge.verify.references import CLIP_SEED, EngineReference, clip_images, images_of
from lsts_edge.verify.torch_reference import TorchReference

if TYPE_CHECKING:
    from lsts_edge.model.network import VideoNetwork

__all__ = ["check_draft", "match_torch"]


def match_torch(network: VideoNetwork, bundle: DraftBundle, target: Target, progress: Progress = silent) -> Draft:
    """Compare float32 graphs with torch on every clip, and record the built-in one.

    Raises:
        CheckFailed: if they disagree.
    """
    recorder = _recorder(bundle)
    reports = _beside_torch(network, bundle, target, "onnxruntime", target.compared, progress, recorder)
    return Draft(bundle, recorder.to_bytes(), reports)


def check_draft(network: VideoNetwork, draft: Draft, target: Target, progress: Progress = silent) -> Draft:
    """Compare what was made of a matched draft since: lowered graphs and IR.

    Raises:
        CheckFailed: if an engine here computes something else than it must.
    """
    precision = draft.bundle.manifest.precision
    if precision is not None and precision.chosen.lowered:
        return _own_recording(network, draft, target, progress)
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
    manifest, frames = bundle.manifest, target.frames
    reports = []
    for clip in (None,) if target.video is None else (None, target.video):
        where = " in OpenVINO" if backend == "openvino" else ""
        progress(f"comparing {frames} frames{f' of {clip.name}' if clip else ''}{where} with torch")
        with images_of(clip, manifest, frames) as images:
            truth = TorchReference(network, images, parity_interval(manifest, frames), None if clip else recorder)
            reports.append(verify_bundle(bundle, truth, backend=backend, forms=forms))
        check_parity(reports[-1])
    return tuple(reports)


def _own_recording(network: VideoNetwork, draft: Draft, target: Target, progress: Progress) -> Draft:
    """Record the lowered programs, compare every engine here with them, and measure how far they are from torch."""
    bundle, frames, forms = draft.bundle, target.frames, target.compared
    manifest = bundle.manifest
    progress(f"recording {frames} frames of the lowered graphs, and comparing engines and torch")
    size, interval = manifest.input, parity_interval(manifest, frames)
    recorder = _recorder(bundle)
    images = list(clip_images(frames, size.height_px, size.width_px))
    form = None if forms is None else forms[0]
    first = None if form is None else (form,)
    reports = [verify_bundle(bundle, EngineReference(bundle, images, interval, form, recorder), forms=forms)]
    # On another engine boxes decide, and those of random weights mean nothing: every score is near every other.
    if manifest.weights.source != "random" and importlib.util.find_spec("openvino") is not None:
        again = EngineReference(bundle, images, interval, form)
        reports.append(verify_bundle(bundle, again, backend="openvino", forms=first))
    for report in reports:
        check_parity(report)
    live = verify_bundle(bundle, TorchReference(network, images, interval), forms=first, joined=(False,))
    error = live.programs[0].totals.max_tensor_error
    if not error < 1e6:
        raise CheckFailed(
            "lowered graphs", got=f"tensor error {error}", expected="finite tensors", fix="Calibrate on other clips."
        )
    recording = recorder.to_bytes()
    assert manifest.precision is not None
    info = dataclasses.replace(manifest.precision, torch_tensor_error=float(f"{error:.3g}"))
    told = DraftBundle.of(dataclasses.replace(manifest, precision=info), bundle.files)
    return Draft(told, recording, tuple(reports[:1]), tuple(reports[1:]))


def _recorder(bundle: DraftBundle) -> GoldenRecorder:
    size = bundle.manifest.input
    return GoldenRecorder(size.height_px, size.width_px, CLIP_SEED)
