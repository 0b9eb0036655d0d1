"""The study of a wrapped detector as a committed result: flat rows, and what they stand on; no paths, no pictures."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lsts_edge.bundle.provenance import Cell
from lsts_edge.bundle.strict_json import decode, parse_json
from lsts_edge.errors import BenchmarkResult, ManifestError
from lsts_edge.publish.wrap.study import MachineUsed, Sample, Study, StudyRow, TruthUsed

__all__ = ["PREFIX", "WrapResult", "is_wrap_result", "read_wrap_result"]

PREFIX = "wrap-"
"""Of the files' names in ``benchmarks/results``."""

_MAX_BYTES = 16 << 20
_NEEDED = (
    "way", "keyframe_interval", "width_px", "height_px", "engine", "precision", "mean_ms", "speedup", "agreement",
    "agreement_low", "agreement_high", "ap50", "truth_score", "bundle_digest", "chosen", "on_front",
)  # fmt: skip


@dataclass(frozen=True)
class WrapResult:
    """A study without what is of this machine's folders.

    Attributes:
        name: of the bundle.
        file: the detector's.
        sha256: of that file.
        family: that it was read as.
        truth: what agreement is measured against.
        machine: where times were measured.
        sample: what the figures stand on.
        min_agreement: asked for; None where a budget was.
        budget_ms: asked for.
        met: whether what was asked for is kept.
        verdict: what to run, in a sentence or two.
        rows: one a way: ``agreement``, ``speedup``, ``truth_score``, ``bundle_digest`` and more; one is ``chosen``.
    """

    name: str
    file: str
    sha256: str
    family: str
    truth: TruthUsed
    machine: MachineUsed
    sample: Sample
    min_agreement: float | None
    budget_ms: float | None
    met: bool
    verdict: str
    rows: tuple[Mapping[str, Cell], ...]
    kind: Literal["wrap"] = "wrap"
    schema: Literal[1] = 1

    def __post_init__(self) -> None:
        count = sum(row.get("chosen") is True for row in self.rows)
        missing = sorted({name for row in self.rows for name in _NEEDED if name not in row})
        if count != 1 or missing:
            got = f"{count} chosen rows" if count != 1 else f"rows without {', '.join(missing)}"
            fix = "Make it again from the study of lsts-edge wrap."
            raise BenchmarkResult(f"result of {self.name}", got=got, expected="whole rows, one chosen", fix=fix)

    @classmethod
    def of(cls, study: Study) -> WrapResult:
        """Of a study that ``lsts-edge wrap`` wrote."""
        return cls(
            name=study.name,
            file=study.detector.file,
            sha256=study.detector.sha256,
            family=study.detector.family,
            truth=study.truth,
            machine=study.machine,
            sample=study.sample,
            min_agreement=study.min_agreement,
            budget_ms=study.budget_ms,
            met=study.met,
            verdict=study.verdict,
            rows=tuple(_flat(row, study) for row in study.rows),
        )

    @property
    def chosen(self) -> Mapping[str, Cell]:
        """What the bundle runs."""
        return next(row for row in self.rows if row["chosen"])

    def alike(self, *ways: str) -> list[Mapping[str, Cell]]:
        """Rows of these kinds, of all without any, on the engine and in the precision of the chosen one."""
        place = [self.chosen[name] for name in ("engine", "precision")]
        rows = [row for row in self.rows if [row[name] for name in ("engine", "precision")] == place]
        return [row for row in rows if not ways or row["way"] in ways]

    def to_json(self) -> str:
        """One row a line."""
        plain: dict[str, Any] = dataclasses.asdict(self)
        rows = ",\n".join(f"  {json.dumps(row, allow_nan=False)}" for row in plain.pop("rows"))
        return f'{json.dumps(plain, indent=1, allow_nan=False)[:-2]},\n "rows": [\n{rows}\n ]\n}}\n'


def is_wrap_result(path: Path) -> bool:
    """By its name."""
    return path.name.startswith(PREFIX)


def read_wrap_result(path: Path) -> WrapResult:
    """Read a file.

    Raises:
        BenchmarkResult: if it is missing, or no such result.
    """
    where, fix = f"result file {path}", "Make it again from the study of lsts-edge wrap."
    try:
        with path.open("rb") as stream:
            return decode(WrapResult, parse_json(stream.read(_MAX_BYTES + 1), max_bytes=_MAX_BYTES, file=where), where)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BenchmarkResult(where, got=reason, expected="a wrapped detector's result", fix=fix) from error
    except ManifestError as error:
        raise BenchmarkResult(error.problem, got=error.got, expected=error.expected, fix=fix) from error


def _flat(row: StudyRow, study: Study) -> dict[str, Cell]:
    ap50 = row.ap50
    return {
        **row.cells(),
        "propagated_ms": row.propagated_ms,
        "choosing_agreement": row.choosing_agreement,
        "ap50_low": None if ap50 is None else ap50.low,
        "ap50_high": None if ap50 is None else ap50.high,
        "reason": row.reason,
        "truth_score": study.truth.score,
        "bundle_digest": study.bundle_digest,
    }
