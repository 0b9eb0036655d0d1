"""Compares every program of a bundle on an engine with a reference, over video with the state carried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lsts_edge.boxes import Boxes
from lsts_edge.bundle import Bundle
from lsts_edge.bundle.manifest import DETECTION_SLOTS, Manifest, ParityInfo
from lsts_edge.errors import BundleError, CheckFailed, OpLibraryError
from lsts_edge.progress import Progress, silent
from lsts_edge.runtime.engines.loads_once import LoadsOnce
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.graphs import with_other_forms
from lsts_edge.runtime.pipeline import Pipeline
from lsts_edge.verify.parity import (
    EXACT,
    LOWERED_OTHER_ENGINE,
    NEAR_FRACTION,
    Limits,
    ParityTotals,
    match_boxes,
    match_loosely,
)
from lsts_edge.verify.references import RECORDING_BACKEND, Reference, torch_name

__all__ = ["ParityReport", "ProgramParity", "check_parity", "comparable_forms", "parity_interval", "verify_bundle"]

_FEW_PARAMETERS = 1_000_000  # in all graphs together: below this, threads cost more than they give


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


def verify_bundle(
    bundle: Bundle,
    reference: Reference,
    engine: EngineOptions | None = None,
    *,
    forms: Sequence[str] | None = None,
    joined: Sequence[bool] | None = None,
) -> ParityReport:
    """Run every program set of a bundle beside the reference, frame by frame, each with its own carried state.

    Args:
        bundle: an open bundle.
        reference: the right outputs.
        engine: what runs it; None takes ONNX Runtime on the CPU. A small model without a word about threads gets one.
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
    engine = engine or EngineOptions()
    if engine.threads is None and sum(graph.parameters for graph in manifest.graphs.values()) < _FEW_PARAMETERS:
        engine = replace(engine, threads=1)
    try:
        backend = LoadsOnce(open_backend(engine, custom_op="custom" in chosen))
    except OpLibraryError as missing:
        raise with_other_forms(missing, manifest.lsts_forms) from missing
    limits = reference.limits
    if limits.loose and backend.name != RECORDING_BACKEND:
        limits = LOWERED_OTHER_ENGINE
    runs = [
        (
            Pipeline(bundle, EngineOptions(backend, lsts_form=form, joined=use)),
            ProgramParity(form, use, ParityTotals(limits=limits)),
        )
        for form in chosen
        for use in joined
    ]
    for index, truth in enumerate(reference.frames()):
        for pipeline, parity in runs:
            slots = pipeline.step(truth.image, truth.kind)
            programs = manifest.joined if parity.joined else manifest.programs
            steps = programs[truth.kind if pipeline.carries_memory else "first"]
            written = {slot for step in steps for slot in step.outputs.values()} - set(DETECTION_SLOTS)
            parity.totals.frames += 1
            if absent := sorted(slot for slot in written if torch_name(slot) not in truth.tensors):
                raise BundleError(
                    f"the reference of {manifest.name}",
                    got=f"nothing for {', '.join(absent)}",
                    expected="every tensor that the programs write",
                    fix="Export the bundle again.",
                )
            for slot in sorted(written):
                distance = truth.tensors[torch_name(slot)].error_of(slots[slot])
                parity.totals.add_tensor(slot, index, distance)
            found = Boxes.of_slots(slots, manifest.detection.corners)
            if limits.loose:
                parity.totals.add_boxes(match_loosely(truth.boxes, found))
                continue
            match = match_boxes(
                truth.boxes,
                found,
                nms_iou=manifest.detection.nms_iou,
                max_detections=manifest.detection.max_detections,
                doubt=truth.doubt,
            )
            parity.totals.add_boxes(match)
    return ParityReport(reference.description, f"{backend.name} {backend.version}", tuple(p for _, p in runs), limits)


def comparable_forms(forms: tuple[str, ...] | None, progress: Progress = silent) -> tuple[str, ...] | None:
    """The LSTS forms that can run here: ``custom`` only where its library is, which ``progress`` is told.

    Args:
        forms: of the bundle; None or none of a network without LSTS.
        progress: hears what is left out.

    Raises:
        OpLibraryError: if ``custom`` is the only form and its library cannot be used.
    """
    if not forms or "custom" not in forms:
        return forms or None
    from lsts_edge.custom_ops import library_path

    try:
        library_path()
    except OpLibraryError as error:
        if forms == ("custom",):
            raise with_other_forms(error, forms) from error
        progress(f"form custom is not compared: {error.problem}")
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
    return min(math.ceil(manifest.keyframe_interval), max(2, -(-frames // 3)))
