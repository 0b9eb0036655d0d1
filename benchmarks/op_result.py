"""The results of ``bench op`` and of its run on a CUDA device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lsts_edge.benchmarks.conditions import Conditions
from lsts_edge.benchmarks.envelope import Result
from lsts_edge.benchmarks.harness import PairedRatio

__all__ = [
    "CudaOpCheck",
    "CudaOpData",
    "CudaOpResult",
    "CudaOpRow",
    "CudaOpSettings",
    "Floor",
    "LibraryFacts",
    "OpData",
    "OpResult",
    "OpRow",
    "OpSettings",
    "OpSizeSummary",
    "OpTarget",
]


@dataclass(frozen=True)
class LibraryFacts:
    """The op library as it describes itself, and where it was opened as a file, what the finder knows of it."""

    library_version: str
    table_version: int
    ort_api_version: int
    op_version: int
    cpu_kernels: tuple[str, ...]
    cuda_archs: str | None
    sha256: str | None = None
    cuda_usable: bool | None = None
    cuda_reason: str | None = None

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> LibraryFacts:
        """From what ``lsts_edge.custom_ops.describe`` returned, or the library's own description alone."""
        return cls(
            library_version=description["library_version"],
            table_version=description["table_version"],
            ort_api_version=description["ort_api_version"],
            op_version=description["ops"][0]["since"],
            cpu_kernels=tuple(description["cpu_kernels"]),
            cuda_archs=(description.get("cuda") or {}).get("archs"),
            sha256=description.get("sha256"),
            cuda_usable=description.get("cuda_usable"),
            cuda_reason=description.get("cuda_reason"),
        )


@dataclass(frozen=True)
class OpRow:
    """One form on one engine at one size; ``times_the_op`` is its time over the op's in ONNX Runtime, paired."""

    form: str
    engine: str
    engine_version: str
    size: str
    threads: int
    n: int
    p50_ms: float
    min_ms: float
    p95_ms: float
    times_the_op: PairedRatio
    scratch_bytes: int | None
    scratch_source: str
    max_error: float


@dataclass(frozen=True)
class Floor:
    """The least time the processor could take: ``floor_ms`` None where the measured peak was ``refused``."""

    multiply_adds: int
    moved_bytes: int
    peak_multiply_adds_per_s: int
    peak_copied_bytes_per_s: int
    clock_hz: float | None
    least_peak_accepted: int | None
    compute_ms: float
    move_ms: float
    floor_ms: float | None
    refused: str | None


@dataclass(frozen=True)
class OpTarget:
    """A promise about the op: ``got`` against ``wanted``; a ratio to the form ``other`` keeps its pairs."""

    wanted: float
    got: float
    met: bool
    other: str | None = None
    ratio: PairedRatio | None = None


@dataclass(frozen=True)
class OpSizeSummary:
    """A size of the op, its floor, and its targets by name."""

    locations: int
    embedding_channels: int
    feature_channels: int
    height_cells: int
    width_cells: int
    taps: int
    floor: Floor
    targets: Mapping[str, OpTarget]


@dataclass(frozen=True)
class OpSettings:
    """How much was timed, and with which library."""

    threads: int
    runs: int
    slow_runs: int
    warmup_runs: int
    seed: int
    precision: str
    library: LibraryFacts


@dataclass(frozen=True)
class OpData:
    """Every form on every engine, and the sizes by name."""

    rows: tuple[OpRow, ...]
    sizes: Mapping[str, OpSizeSummary]


@dataclass(frozen=True, kw_only=True)
class OpResult(Result):
    """The LSTS op alone, on the processor."""

    kind: Literal["op"] = "op"
    bundle: None = None
    conditions: Conditions
    settings: OpSettings
    data: OpData


@dataclass(frozen=True)
class CudaOpRow:
    """One size and type on a CUDA device, in microseconds a launch; None where a form did not fit into memory."""

    size: str
    n: int
    dtype: str
    taps: int
    moved_bytes: int
    launches: Mapping[str, int]
    time_us: Mapping[str, float | None]
    times_the_copy: float
    times_the_op: Mapping[str, float | None]
    difference_to_the_op: Mapping[str, float]


@dataclass(frozen=True)
class CudaOpCheck:
    """How many random sizes were compared with the reference, and the largest error as a share of what is allowed."""

    cases: int
    seed: int
    share_of_allowed_error: Mapping[str, float]


@dataclass(frozen=True)
class CudaOpSettings:
    """The device as torch names it, and the library."""

    rounds: int
    device: str
    library: LibraryFacts


@dataclass(frozen=True)
class CudaOpData:
    """Times, the check before them, what each sanitizer tool said, and the targets missed."""

    rows: tuple[CudaOpRow, ...]
    checked: CudaOpCheck
    sanitizer: Mapping[str, str]
    missed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CudaOpResult(Result):
    """The LSTS op alone, on a CUDA device."""

    kind: Literal["op-cuda"] = "op-cuda"
    bundle: None = None
    conditions: None = None
    settings: CudaOpSettings
    data: CudaOpData
