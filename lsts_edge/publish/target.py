"""What is to be published and where, opened before any work: what can be refused is refused here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lsts_edge.bundle.manifest import InputInfo
from lsts_edge.bundle.write import check_target
from lsts_edge.errors import OptionError
from lsts_edge.presets import ModelPreset
from lsts_edge.progress import Progress, silent
from lsts_edge.publish.clip import RecordingClip
from lsts_edge.publish.filming import FilmPlan
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.sources.open import open_source
from lsts_edge.verify.compare import comparable_forms

__all__ = ["Target", "open_target"]


@dataclass(frozen=True)
class Target:
    """A bundle that can be published as far as can be told before it is made.

    Attributes:
        path: its directory.
        overwrite: replace a bundle that is there.
        forms: LSTS forms to write, the default one first; none of a network without LSTS.
        compared: those of them that can run here; None of a network without LSTS.
        openvino: write OpenVINO IR too.
        clip: what it is recorded on; its ``frames`` are the length of every comparison.
        video: compare on its first frames too.
    """

    path: Path
    overwrite: bool
    forms: tuple[str, ...]
    compared: tuple[str, ...] | None
    openvino: bool
    clip: RecordingClip
    video: Path | None


def open_target(
    output: str | Path,
    preset: ModelPreset,
    *,
    forms: Sequence[str],
    openvino: bool,
    overwrite: bool,
    frames: int,
    video: str | Path | None,
    film: FilmPlan | None = None,
    progress: Progress = silent,
) -> Target:
    """Check everything that the export does not have to be made for; see ``Target``.

    Raises:
        ExportError: if a form is unknown, or none has an IR where that is asked for.
        FileUnwritable: if the path is taken, or its folder is missing or cannot be written.
        OpLibraryError: if the only form is ``custom`` and its library cannot be used.
        OptionError: if there are no frames to compare, or too few in a scene of the film.
        ProviderMissing: if IR is asked for and OpenVINO is not installed.
        StreamError: if a video cannot be opened.
    """
    if frames < 1:
        raise OptionError("frames to compare", got=frames, expected="at least 1", fix="Give a positive number.")
    from lsts_edge.export.exporter import checked_forms, require_ir_form

    has_lsts = preset.samples
    compared = comparable_forms(tuple(dict.fromkeys(forms)) if has_lsts else None, progress)
    size = preset.input
    clip = RecordingClip.of(InputInfo.of(size), frames, film)
    written = checked_forms(forms) if has_lsts else ()
    if openvino:
        open_backend(EngineOptions("openvino"))
        require_ir_form(written)
    if video is not None:
        with open_source(video):
            pass
    check_target(output, overwrite=overwrite)
    return Target(Path(output), overwrite, written, compared, openvino, clip, None if video is None else Path(video))
