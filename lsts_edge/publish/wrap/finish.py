"""Writes a wrapped detector's bundle: the ways that it names, its recording, its proof and its study."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lsts_edge.bundle import Bundle, write_bundle
from lsts_edge.bundle.draft import DraftBundle
from lsts_edge.bundle.manifest import (
    Manifest,
    ParityInfo,
    PropagationInfo,
    PropagationWay,
    StudyInfo,
    ir_weights,
)
from lsts_edge.progress import Progress, silent
from lsts_edge.publish.filming import FILM_NOTE
from lsts_edge.publish.wrap.candidates import Candidate
from lsts_edge.publish.wrap.clips import CutClip
from lsts_edge.publish.wrap.make import make_draft, program_name
from lsts_edge.publish.wrap.options import WrapOptions
from lsts_edge.publish.wrap.parity import check_original
from lsts_edge.publish.wrap.recording import Scene, scene_images
from lsts_edge.publish.wrap.study import Study, StudyRow
from lsts_edge.publish.wrap.subject import Size, Subject
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.propagators.make import propagator_parameters
from lsts_edge.verify.compare import check_parity, verify_bundle
from lsts_edge.verify.film import decode_film, encode_film
from lsts_edge.verify.golden import GOLDEN_FILE, GoldenRecorder
from lsts_edge.verify.references import CLIP_FRAMES, CLIP_SEED, EngineReference, clip_images

if TYPE_CHECKING:
    from lsts_edge.publish.wrap.learn.way import LearntWay

__all__ = ["Finished", "bundle_ways", "finish_bundle"]

MAX_STUDY_ROWS = 256
_USUAL_INTERVAL = 3


@dataclass(frozen=True)
class Finished:
    """The bundle, its study with the bundle's digest, and why its recording proves little, if it does."""

    bundle: Bundle
    study: Study


def bundle_ways(study: Study, keep: str) -> tuple[dict[str, PropagationWay], str, set[Size]]:
    """The ways that a bundle of the chosen row names, its default, and the sizes of the graphs that they need.

    Of each kind the best row on the chosen input, engine and precision is taken: the cheapest that keeps what was
    asked for, else the one that agrees best.

    Args:
        study: with the chosen row.
        keep: ``chosen`` leaves out ways that need graphs which the chosen one does not.
    """
    row = study.chosen
    size = (row.height_px, row.width_px)
    alike = [one for one in study.rows if (one.engine, one.precision) == (row.engine, row.precision)]
    ways: dict[str, PropagationWay] = {"every-frame": PropagationWay("every-frame", 1)}
    sizes = {size}
    for kind in ("hold", "flow-boxes", "fused", "features"):
        of_kind = [one for one in alike if one.way == kind and (one.height_px, one.width_px) == size]
        if not of_kind:
            continue
        best = row if row.way == kind else _best(of_kind, study.min_agreement)
        small = None if best.small_height_px is None else (best.small_height_px, best.small_width_px or 0)
        more = small is not None or kind == "features"
        if more and keep == "chosen" and best is not row:
            continue
        interval = _USUAL_INTERVAL if best.agreement.pooled is None else best.keyframe_interval
        moving = {} if best.keyframe_motion is None else {"most_motion": best.keyframe_motion}
        parameters = {} if kind == "features" else propagator_parameters(best.way, moving)
        ways[kind] = Candidate(best.way, interval, size, small, parameters).way()
        sizes |= set() if small is None else {small}
    default = "every-frame" if row.way == "smaller-input" else row.way
    smaller = [one for one in alike if one.way == "smaller-input" and one.width_px * one.height_px < size[0] * size[1]]
    if smaller and keep == "all":
        # One graph beside the main one is enough: fused's, where there is fused.
        known = [one for one in smaller if (one.height_px, one.width_px) in sizes]
        best = _best(known or smaller, study.min_agreement)
        small = (best.height_px, best.width_px)
        ways["smaller-input"] = PropagationWay("smaller-input", 1, {}, program_name(small))
        sizes.add(small)
    return ways, default, sizes


def finish_bundle(
    subject: Subject,
    graphs: Mapping[Size, bytes],
    study: Study,
    options: WrapOptions,
    engines: Sequence[EngineOptions],
    output: Path,
    *,
    clips: Sequence[CutClip],
    scenes: Sequence[Scene],
    progress: Progress = silent,
    learnt: LearntWay | None = None,
) -> Finished:
    """Record, prove and write.

    Args:
        subject: the detector.
        graphs: in the chosen precision, by size.
        study: with the chosen row.
        options: of the user.
        engines: that are installed; the bundle is proved on each.
        output: the bundle's directory.
        clips: that were measured on.
        scenes: of them, to record; none records the built-in clip.
        progress: told of each step.
        learnt: what was learnt, where a row is about it.

    Raises:
        CheckFailed: if an engine does not give what it must; nothing is written.
        FileUnwritable: if the bundle cannot be written.
    """
    row = study.chosen
    ways, default, sizes = bundle_ways(study, options.keep)
    size = (row.height_px, row.width_px)
    propagation = PropagationInfo(default, ways)
    learnt = learnt if "features" in ways else None
    if learnt is not None:
        smaller = {one: graphs[one] for one in sizes if one != size}
        draft = learnt.bundle(smaller, name=study.name, licence=options.licence, propagation=propagation)
    else:
        draft = make_draft(
            subject,
            {one: graphs[one] for one in sizes},
            size,
            precision=row.precision,
            name=study.name,
            licence=options.licence,
            propagation=propagation,
        )
    if options.openvino:
        progress("converting to OpenVINO IR")
        draft = _with_ir(draft)
    progress("recording the bundle and comparing it with the detector's file")
    images, film = _images(draft.manifest, clips, scenes)
    recorder = GoldenRecorder(draft.manifest.input.height_px, draft.manifest.input.width_px, CLIP_SEED, film)
    if learnt is not None:
        reports = learnt.check(draft, images, engines, open_backend(engines[0]), recorder)
        infos = [dataclasses.replace(one.to_info("taps"), reference="original") for one in reports]
        parity = ParityInfo.merged(infos[:1], infos[1:])
    else:
        parity = _proved(subject, draft, images, engines, recorder, row)
    files: dict[str, bytes | Path] = {**_files(draft), GOLDEN_FILE: recorder.to_bytes()}
    if film:
        files[FILM_NOTE] = _film_note(clips, scenes, options.record_licence).encode()
    weakness = recorder.weakness(0.05 if parity.reference == "original" else 0.3, len(subject.classes))
    if weakness:
        progress(f"{weakness}: clips with more objects make a stronger recording")
        study = dataclasses.replace(study, notes=(*study.notes, f"The recording is weak: {weakness}."))
    progress("writing the bundle")
    manifest = dataclasses.replace(draft.manifest, parity=parity, study=_study_info(study), files={})
    bundle = write_bundle(output, manifest, files, overwrite=options.overwrite)
    return Finished(bundle, dataclasses.replace(study, bundle_digest=bundle.digest))


def _best(rows: Sequence[StudyRow], min_agreement: float | None) -> StudyRow:
    least = 0.85 if min_agreement is None else min_agreement
    enough = [one for one in rows if (one.choosing_agreement or 0.0) >= least]
    if enough:
        return min(enough, key=lambda one: one.time_ms.mean)
    return max(rows, key=lambda one: (one.choosing_agreement or 0.0, -one.time_ms.mean))


def _images(
    manifest: Manifest, clips: Sequence[CutClip], scenes: Sequence[Scene]
) -> tuple[list[npt.NDArray[Any]], bytes]:
    size = manifest.input
    if not scenes:
        return list(clip_images(CLIP_FRAMES, size.height_px, size.width_px)), b""
    film = encode_film(scene_images(scenes, clips, size))
    return list(decode_film(film, size.height_px, size.width_px)), film


def _proved(
    subject: Subject,
    draft: DraftBundle,
    images: Sequence[np.ndarray],
    engines: Sequence[EngineOptions],
    recorder: GoldenRecorder,
    row: StudyRow,
) -> ParityInfo:
    if row.precision == "fp32":
        reports = check_original(subject, draft, images, engines, open_backend(engines[0]), recorder)
        infos = [dataclasses.replace(report.to_info(None), reference="original") for report in reports]
        return ParityInfo.merged(infos[:1], infos[1:])
    # Its float32 graph has matched the file before; below that the bundle's own graphs are what is recorded.
    reports = []
    for index, engine in enumerate(engines):
        reference = EngineReference(draft, images, 1, recorder=recorder if index == 0 else None)
        reports.append(verify_bundle(draft, reference, engine))
        check_parity(reports[-1])
    return reports[0].to_info(None)


def _with_ir(draft: DraftBundle) -> DraftBundle:
    from importlib.metadata import version

    from lsts_edge.export.openvino_ir import openvino_ir

    files, infos = dict(_files(draft)), {}
    for name, info in draft.manifest.graphs.items():
        ir = {}
        for form, onnx_file in info.forms.items():
            if form == "custom":  # OpenVINO runs it from ONNX
                continue
            xml = ir[form] = onnx_file.removesuffix(".onnx") + ".xml"
            files[xml], files[ir_weights(xml)] = openvino_ir(files[onnx_file], name, folded=info.precision != "int8")
        infos[name] = dataclasses.replace(info, ir=ir)
    tools = {**draft.manifest.tools, "openvino": version("openvino")}
    return DraftBundle.of(dataclasses.replace(draft.manifest, graphs=infos, tools=tools, files={}), files)


def _files(draft: DraftBundle) -> Mapping[str, bytes]:
    return draft.files


def _film_note(clips: Sequence[CutClip], scenes: Sequence[Scene], licence: str) -> str:
    names = ", ".join(f"{clips[scene.clip].name} from frame {scene.first}" for scene in scenes)
    words = licence or "not stated: that of these clips; ask their owner before passing the bundle on"
    return f"The frames of the recording are cut from: {names}.\nLicence of the frames: {words}\n"


def _study_info(study: Study) -> StudyInfo:
    rows = study.rows
    if len(rows) > MAX_STUDY_ROWS:
        place = (study.chosen.engine, study.chosen.precision)
        kept = [row for row in rows if row.on_front or row.chosen or row.reason or (row.engine, row.precision) == place]
        rows = tuple(kept[:MAX_STUDY_ROWS])
    return StudyInfo(study.verdict[:500], tuple(row.cells() for row in rows))
