"""From a network to a published bundle in three: open the target, make the draft, check and write it."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lsts_edge.bundle import Bundle, DraftBundle, write_bundle
from lsts_edge.bundle.manifest import WeightsInfo
from lsts_edge.errors import CheckFailed, OptionError
from lsts_edge.progress import Progress, silent
from lsts_edge.publish.check import check_draft, match_torch
from lsts_edge.publish.draft import Draft
from lsts_edge.publish.filming import FILM_NOTE, FilmPlan
from lsts_edge.publish.reuse import reuse_precision
from lsts_edge.publish.target import Target, open_target
from lsts_edge.verify.compare import ParityReport
from lsts_edge.verify.golden import GOLDEN_FILE
from lsts_edge.verify.references import CLIP_FRAMES

if TYPE_CHECKING:
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
        OptionError: if the input's size follows the video and a lower precision or a film is asked for.
        ProviderMissing: if IR is asked for and OpenVINO is not installed.
    """
    from lsts_edge.export.exporter import export_model

    if network.preset.input.resize == "shorter-side" and (precision is not None or film is not None):
        raise OptionError(
            "a bundle whose size follows the video",
            got="lower precisions" if precision is not None else "frames to record",
            expected="float32, and the built-in clip as the recording",
            fix="Leave it out, or export at a fixed size.",
        )
    target = open_target(
        output,
        network.preset,
        forms=forms,
        openvino=openvino,
        overwrite=overwrite,
        frames=frames,
        video=video,
        film=film,
        progress=progress,
    )
    seconds: dict[str, float] = {}
    begin = time.perf_counter()
    exported = export_model(network, weights, forms=target.forms, joined=joined, progress=progress)
    seconds["export"] = time.perf_counter() - begin

    begin = time.perf_counter()
    # Before precisions are looked for: a search of an hour on graphs that do not match would be lost.
    matched = match_torch(network, exported, target, progress)
    seconds["verify"] = time.perf_counter() - begin

    begin = time.perf_counter()
    with contextlib.closing(_finished(matched, target, precision, progress)) as drafts:
        draft = _first_that_holds(network, drafts, target, progress)
    if precision is not None or openvino:
        seconds["precision and IR"] = time.perf_counter() - begin

    begin = time.perf_counter()
    progress("writing the bundle")
    manifest = dataclasses.replace(draft.bundle.manifest, parity=draft.parity, files={})
    files: dict[str, bytes | Path] = {**draft.bundle.files, GOLDEN_FILE: draft.recording}
    if film is not None:
        files[FILM_NOTE] = film.note.encode()
    bundle = write_bundle(target.path, manifest, files, overwrite=target.overwrite)
    seconds["write"] = time.perf_counter() - begin
    return Published(bundle, (*draft.reports, *draft.engines), seconds, draft.weakness)


def _finished(
    matched: Draft, target: Target, precision: PrecisionPlan | Bundle | None, progress: Progress
) -> Generator[Draft, None, None]:
    """What may be written, the best first: lower precisions where they are asked for, IR beside the graphs."""
    from lsts_edge.export.exporter import with_ir

    def finish(bundle: DraftBundle) -> DraftBundle:
        if not target.openvino:
            return bundle
        progress("converting to OpenVINO IR")
        return with_ir(bundle)

    if precision is None:
        yield dataclasses.replace(matched, bundle=finish(matched.bundle))
        return
    if isinstance(precision, Bundle):
        yield dataclasses.replace(matched, bundle=finish(reuse_precision(matched.bundle, precision)))
        return
    from lsts_edge.publish.precision import choose_precision

    for bundle in choose_precision(matched.bundle, precision, forms=target.compared, finish=finish, progress=progress):
        yield dataclasses.replace(matched, bundle=bundle)


def _first_that_holds(network: VideoNetwork, drafts: Iterable[Draft], target: Target, progress: Progress) -> Draft:
    """The first draft that passes its check; those before it are told."""
    refusal: CheckFailed | None = None
    for draft in drafts:
        if refusal is not None:
            progress(f"stepping back: {refusal}")
        try:
            return check_draft(network, draft, target, progress)
        except CheckFailed as error:
            refusal = error
    assert refusal is not None
    raise refusal
