"""Measures what lower precisions cost in AP50, in every program set of a bundle that is to be written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lsts_edge.bundle import Bundle
from lsts_edge.bundle.manifest import Manifest
from lsts_edge.bundle.precision_info import LowPrecision
from lsts_edge.errors import OptionError
from lsts_edge.evaluation.annotations import AnnotationSet
from lsts_edge.evaluation.bundles import run_bundle
from lsts_edge.evaluation.metrics import Matches, mean_ap, paired_difference, sequence_matches
from lsts_edge.progress import Progress
from lsts_edge.runtime.engines.options import EngineOptions

__all__ = ["MAX_DROP_POINTS", "MAX_UPPER_POINTS", "Figures", "Gate", "Judge", "ProgramSet", "program_sets"]

MAX_DROP_POINTS = 0.5
MAX_UPPER_POINTS = 2.0
"""Limit of the upper end of the drop's paired 95 % interval, in AP50 points."""

MIN_AP50 = 0.05  # of the float32 network: on a gate where it finds nothing no drop could be seen


@dataclass(frozen=True)
class Gate:
    """Annotated sequences that decide, and the limits.

    Attributes:
        truth: the sequences.
        held_out: whether the checkpoint states that it was not trained on them.
        max_drop_points: limit of the drop, in AP50 points.
        max_upper_points: limit of the upper end of its interval.
    """

    truth: AnnotationSet
    held_out: bool = False
    max_drop_points: float = MAX_DROP_POINTS
    max_upper_points: float = MAX_UPPER_POINTS


class ProgramSet(NamedTuple):
    """One way to run a bundle: engine, LSTS form (None without LSTS), joined or split graphs."""

    backend: str
    form: str | None
    joined: bool

    def __str__(self) -> str:
        """Such as ``taps joined on onnxruntime``."""
        return f"{self.form + ' ' if self.form else ''}{'joined' if self.joined else 'split'} on {self.backend}"


class Figures(NamedTuple):
    """AP50 on the gate, its drop and the upper end of the drop in points, whether both pass, and where it was so."""

    ap50: float | None = None
    drop_points: float | None = None
    drop_upper_points: float | None = None
    passed: bool = True
    where: ProgramSet | None = None


def program_sets(manifest: Manifest, forms: Sequence[str] | None) -> list[ProgramSet]:
    """Every way to run the bundle: ONNX Runtime, OpenVINO where there is IR, each form, joined and split graphs.

    Args:
        manifest: of the bundle.
        forms: LSTS forms that can run here; None of a network without LSTS.
    """
    found = []
    for joined in (True, False) if manifest.joined else (False,):
        for form in (None,) if forms is None else forms:
            found.append(ProgramSet("onnxruntime", form, joined))
            if all((form if form in graph.forms else "default") in graph.ir for graph in manifest.graphs.values()):
                found.append(ProgramSet("openvino", form, joined))
    return found


class Judge:
    """Measures AP50 on the gate; each program set's first measurement is what its later ones are compared with."""

    def __init__(self, gate: Gate, forms: Sequence[str] | None, threads: int | None, progress: Progress) -> None:
        """Remember the gate; nothing runs yet.

        Args:
            gate: sequences and limits.
            forms: LSTS forms to run; None of a network without LSTS.
            threads: of the engines.
            progress: told of each measurement.
        """
        self.gate = gate
        self._forms, self._threads, self._progress = forms, threads, progress
        self._base: dict[ProgramSet, list[list[Matches]]] = {}

    def measure(self, bundle: Bundle, lowered: Mapping[str, LowPrecision]) -> Figures:
        """Run the bundle over the gate's sequences; the first call is float32's.

        Returns:
            The worst figures of all program sets; after one that fails, the rest are not run.

        Raises:
            OptionError: if float32 finds too little for a drop to show.
        """
        found: list[Figures] = []
        for which in program_sets(bundle.manifest, self._forms):
            found.append(self._measure(bundle, lowered, which))
            if not found[-1].passed:
                break
        return max(found, key=lambda figures: (not figures.passed, figures.drop_points))

    def _measure(self, bundle: Bundle, lowered: Mapping[str, LowPrecision], which: ProgramSet) -> Figures:
        gate = self.gate
        words = ", ".join(f"{kind} {name}" for name, kind in lowered.items()) or "float32"
        self._progress(f"AP50 of {words} ({which}) on {len(gate.truth.images)} images")
        engine = EngineOptions(which.backend, threads=self._threads, lsts_form=which.form, joined=which.joined)
        found = run_bundle(bundle, gate.truth, keyframe_interval=bundle.manifest.keyframe_interval, engine=engine)
        matches = list(sequence_matches(gate.truth, found, 0.5).values())
        ap50 = mean_ap(matches)
        if which not in self._base:
            self._base[which] = matches
            if not ap50 >= MIN_AP50:
                raise OptionError(
                    f"gate {gate.truth.path.name}",
                    got=f"AP50 {ap50:.3f} of the float32 network",
                    expected=f"at least {MIN_AP50}: otherwise no drop could be seen",
                    fix="Choose sequences that show the model's classes.",
                )
        paired = paired_difference(self._base[which], matches)
        drop, upper = round(100 * paired["difference"], 2), round(100 * paired["high"], 2)
        passed = drop <= gate.max_drop_points and upper <= gate.max_upper_points
        self._progress(
            f"AP50 {ap50:.3f}, drop {drop:.2f} points, at most {upper:.2f} with 95 %: {'kept' if passed else 'refused'}"
        )
        return Figures(round(ap50, 4), drop, upper, passed, which)
