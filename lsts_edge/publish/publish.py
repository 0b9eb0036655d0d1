"""From a checkpoint to a published bundle: export, compare with torch, record, and only then write."""

from __future__ import annotations

import dataclasses
import importlib.util
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from lsts_edge.bundle import Bundle, write_bundle
from lsts_edge.bundle.draft import DraftBundle
from lsts_edge.bundle.manifest import InputInfo, Manifest, WeightsInfo
from lsts_edge.errors import CheckFailed, FileUnwritable, OptionError
from lsts_edge.progress import Progress, silent
from lsts_edge.publish.filming import FILM_NOTE, FilmPlan
from lsts_edge.publish.reuse import reuse_precision
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.verify.compare import ParityReport, check_parity, comparable_forms, parity_interval, verify_bundle
from lsts_edge.verify.film import decode_film
from lsts_edge.verify.golden import GOLDEN_FILE, GoldenRecorder
from lsts_edge.verify.references import (
    CLIP_FRAMES,
    CLIP_SEED,
    RECORDING_BACKEND,
    EngineReference,
    clip_images,
    images_of,
)
from lsts_edge.verify.torch_reference import TorchReference

if TYPE_CHECKING:
    from lsts_edge.export.exporter import ExportedModel
    from lsts_edge.model.network import VideoNetwork
    from lsts_edge.publish.precision import PrecisionPlan

__all__ = ["Published", "publish"]


@dataclass(frozen=True)
class Published:
    """A bundle on disk, how it compared, what each stage took in seconds, and why its recording is weak, if it is."""

    bundle: Bundle
    reports: tuple[ParityReport, ...]
    seconds: Mapping[str, float]
    weakness: str = ""


def publish(
    network: VideoNetwork,
    weights: WeightsInfo,
    output: str | Path,
    *,
    forms: Sequence[str] = ("taps",),
    joined: bool | None = None,
    openvino: bool = False,
    overwrite: bool = False,
    frames: int = CLIP_FRAMES,
    video: str | Path | None = None,
    precision: PrecisionPlan | Bundle | None = None,
    film: FilmPlan | None = None,
    progress: Progress = silent,
) -> Published:
    """Export a network, compare every program with torch, and write the bundle if all agree.

    With a plan for lower precisions, the float32 graphs must agree first; then the plan's limits decide (``auto`` takes
    the best that passes them), and the recording holds what the lowered programs give.

    Args:
        network: in evaluation mode, on the CPU.
        weights: where its weights come from.
        output: the bundle's directory.
        forms: LSTS forms, the default one first.
        joined: write joined graphs; None decides by size.
        openvino: write OpenVINO IR too, and compare it in OpenVINO.
        overwrite: replace a bundle that is there.
        frames: length of the comparison, at least 1.
        video: compare on the first frames of this video too; the built-in clip is always compared and recorded.
        precision: calibration and gate of lower precisions, or a bundle of these weights to take the lowered graphs
            from; None keeps float32.
        film: record ``frames`` frames of each of these scenes in place of the built-in clip.
        progress: told of each step as it starts.

    Raises:
        CheckFailed: if the graphs and torch disagree, or one precision was asked for and falls below the plan's floor;
            nothing is written.
        ExportError: if a part has no ONNX form, or no IR where that is asked for.
        FileUnwritable: if the path is taken or cannot be written.
        ProviderMissing: if IR is asked for and OpenVINO is not installed.
    """
    from lsts_edge.export.exporter import export_model, require_ir_form, with_ir

    if frames < 1:
        raise OptionError("frames to compare", got=frames, expected="at least 1", fix="Give a positive number.")
    root = Path(output)
    if (root / "manifest.json").exists() and not overwrite:
        raise FileUnwritable(
            f"bundle {root}", got="a bundle there", expected="a free path", fix="Choose another, or add --overwrite."
        )
    if openvino:
        open_backend(EngineOptions("openvino"))  # told now, not after the export
        require_ir_form(forms if network.preset.lsts is not None else ())
    seconds: dict[str, float] = {}
    begin = time.perf_counter()
    exported = export_model(network, weights, forms=forms, joined=joined, progress=progress)
    seconds["export"] = time.perf_counter() - begin

    begin = time.perf_counter()
    manifest = exported.manifest
    draft = DraftBundle.of(root, manifest, exported.files)
    checked = comparable_forms(manifest, progress)
    clip = _Clip.of(manifest, frames, film)
    recorder = clip.recorder()
    reports: list[ParityReport] = []
    progress(f"comparing {len(clip.images)} frames with torch")
    reports.append(verify_bundle(draft, clip.torch(network, recorder), forms=checked))
    check_parity(reports[-1])
    if video is not None:
        progress(f"comparing {frames} frames of {Path(video).name} with torch")
        with images_of(video, manifest, frames) as images:
            reports.append(verify_bundle(draft, TorchReference(network, images, clip.interval), forms=checked))
        check_parity(reports[-1])
    seconds["verify"] = time.perf_counter() - begin

    def finish(export: ExportedModel) -> ExportedModel:
        if openvino:
            progress("converting to OpenVINO IR")
        return with_ir(export) if openvino else export

    begin = time.perf_counter()
    if precision is not None:
        from lsts_edge.publish.precision import choose_precision

        proofs: list[_Proof] = []  # the last is that of the choice

        def prove(lowered: ExportedModel) -> None:
            progress(f"recording {len(clip.images)} frames of the lowered graphs, and comparing engines and torch")
            proofs.append(_prove_lowered(network, lowered, root, clip, checked))

        if isinstance(precision, Bundle):
            exported, info = reuse_precision(exported, precision)
            exported = finish(exported)
            prove(exported)
        else:
            exported, info = choose_precision(
                exported, precision, forms=checked, finish=finish, prove=prove, told=progress
            )
        if info.chosen.lowered:
            reports, recorder = proofs[-1].reports, proofs[-1].recorder
            info = dataclasses.replace(info, torch_tensor_error=proofs[-1].torch_tensor_error)
        exported = dataclasses.replace(exported, manifest=dataclasses.replace(exported.manifest, precision=info))
    else:
        exported = finish(exported)
    manifest = exported.manifest
    ir_reports: list[ParityReport] = []
    if openvino and not (manifest.precision is not None and manifest.precision.chosen.lowered):
        draft = DraftBundle.of(root, manifest, exported.files)
        ir_forms = tuple(form for form in checked or () if form != "custom") or None
        progress(f"comparing {len(clip.images)} frames of the IR with torch, in OpenVINO")
        ir_reports.append(verify_bundle(draft, clip.torch(network), EngineOptions("openvino"), forms=ir_forms))
        check_parity(ir_reports[-1])
        if video is not None:
            progress(f"comparing {frames} frames of {Path(video).name} with torch, in OpenVINO")
            with images_of(video, manifest, frames) as images:
                truth = TorchReference(network, images, clip.interval)
                ir_reports.append(verify_bundle(draft, truth, EngineOptions("openvino"), forms=ir_forms))
            check_parity(ir_reports[-1])
    if precision is not None or openvino:
        seconds["precision and IR"] = time.perf_counter() - begin

    begin = time.perf_counter()
    progress("writing the bundle")
    default_form = None if manifest.lsts is None else manifest.lsts.default_form
    # Of lower precisions, the engine of the recording: elsewhere the boxes decide, by wider limits.
    stated = [report for report in reports if not report.limits.loose or report.backend.startswith(RECORDING_BACKEND)]
    infos, ir_infos = ([report.to_info(default_form) for report in found] for found in (stated, ir_reports))
    parity = dataclasses.replace(
        infos[0],
        frames=sum(info.frames for info in infos),
        boxes=sum(info.boxes for info in infos),
        near_threshold=sum(info.near_threshold for info in infos),
        max_tensor_error=max(info.max_tensor_error for info in (*infos, *ir_infos)),
        backend=", ".join(dict.fromkeys(info.backend for info in (*infos, *ir_infos))),
    )
    files: dict[str, bytes | Path] = {**exported.files, GOLDEN_FILE: recorder.to_bytes()}
    if film is not None:
        files[FILM_NOTE] = film.note.encode()
    weakness = ""
    if weights.source != "random":  # their boxes mean nothing
        weakness = recorder.weakness(reports[0].limits.score_floor, len(manifest.classes))
    bundle = write_bundle(root, dataclasses.replace(manifest, parity=parity), files, overwrite=overwrite)
    seconds["write"] = time.perf_counter() - begin
    return Published(bundle, (*reports, *ir_reports), seconds, weakness)


@dataclass(frozen=True)
class _Clip:
    """What a bundle is recorded on: the film's images, else those of the built-in clip."""

    images: Sequence[npt.NDArray[Any]]
    film: bytes
    size: InputInfo
    interval: int
    scene_frames: int | None

    @classmethod
    def of(cls, manifest: Manifest, frames: int, plan: FilmPlan | None) -> _Clip:
        size = manifest.input
        film = b"" if plan is None else plan.shoot(size, frames)
        images: Iterable[npt.NDArray[Any]] = clip_images(frames, size.height_px, size.width_px)
        if plan is not None:
            images = decode_film(film, size.height_px, size.width_px)
        # Another scene is another video: the memory is dropped.
        return cls(list(images), film, size, parity_interval(manifest, frames), None if plan is None else frames)

    def recorder(self) -> GoldenRecorder:
        return GoldenRecorder(self.size.height_px, self.size.width_px, CLIP_SEED, self.film)

    def torch(self, network: VideoNetwork, recorder: GoldenRecorder | None = None) -> TorchReference:
        return TorchReference(network, self.images, self.interval, recorder, self.scene_frames)

    def engine(self, draft: Bundle, form: str | None, recorder: GoldenRecorder | None = None) -> EngineReference:
        return EngineReference(draft, self.images, self.interval, form, recorder, self.scene_frames)


@dataclass(frozen=True)
class _Proof:
    """Lowered graphs that every engine here computes: comparisons, the recording, the largest error against torch."""

    reports: list[ParityReport]
    recorder: GoldenRecorder
    torch_tensor_error: float


def _prove_lowered(
    network: VideoNetwork, exported: ExportedModel, root: Path, clip: _Clip, forms: tuple[str, ...] | None
) -> _Proof:
    """Record the lowered programs, compare every engine here with them, and measure how far they are from torch."""
    manifest = exported.manifest
    draft = DraftBundle.of(root, manifest, exported.files)
    recorder = clip.recorder()
    form = None if forms is None else forms[0]
    reports = [verify_bundle(draft, clip.engine(draft, form, recorder), forms=forms)]
    # On another engine boxes decide, and those of random weights mean nothing: every score is near every other.
    if manifest.weights.source != "random" and importlib.util.find_spec("openvino") is not None:
        reports.append(
            verify_bundle(
                draft, clip.engine(draft, form), EngineOptions("openvino"), forms=None if form is None else (form,)
            )
        )
    for report in reports:
        check_parity(report)
    first = None if form is None else (form,)
    live = verify_bundle(draft, clip.torch(network), forms=first, joined=(False,))
    error = live.programs[0].totals.max_tensor_error
    if not error < 1e6:
        raise CheckFailed(
            "lowered graphs", got=f"tensor error {error}", expected="finite tensors", fix="Calibrate on other clips."
        )
    return _Proof(reports, recorder, float(f"{error:.3g}"))
