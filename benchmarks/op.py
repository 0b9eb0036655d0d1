"""The LSTS op alone: its forms on every engine, side by side in one process, beside the processor's own limits.

The floor is the larger of two times: the multiply-adds that any evaluation needs, at the measured peak of the widest
vectors, and the bytes that must move (inputs once, output once), at the measured peak of copying.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lsts_edge.benchmarks.conditions import ConditionsRecorder, peak_rss_mib, reset_peak_rss
from lsts_edge.benchmarks.envelope import Origin
from lsts_edge.benchmarks.harness import Comparison, compare, paired_ratio
from lsts_edge.benchmarks.op_result import (
    Floor,
    LibraryFacts,
    OpData,
    OpResult,
    OpRow,
    OpSettings,
    OpSizeSummary,
    OpTarget,
)
from lsts_edge.errors import CheckFailed, OptionError, PackageMissing
from lsts_edge.kinds import check_fields
from lsts_edge.opspec import LSTS, lsts_reference
from lsts_edge.presets import get_preset
from lsts_edge.progress import Progress, silent
from lsts_edge.taps import tap_plan

__all__ = ["ENGINES", "FORMS", "SIZES", "OpOptions", "OpSize", "measure_op"]

FORMS = ("taps", "custom", "gridsample")
ENGINES = ("onnxruntime", "openvino", "torch")
TARGETS = {"taps_onnxruntime": 5.0, "fastest_other": 3.0, "floor": 3.0}
PEAK_SHARE = 0.6
Call = Callable[[], np.ndarray]


@dataclass(frozen=True)
class OpSize:
    """A problem: K offsets drawn from N(0, 1), E embedded channels, C feature channels, a map of H x W cells."""

    locations: int
    embedding_channels: int
    feature_channels: int
    height_cells: int
    width_cells: int


def _size_of_preset(name: str, stride: int = 16) -> OpSize:
    preset = get_preset(name)
    assert preset.lsts is not None
    return OpSize(
        locations=preset.lsts.locations,
        embedding_channels=preset.lsts.embedding_channels,
        feature_channels=preset.backbone.feature_channels,
        height_cells=-(-preset.input.height_px // stride),
        width_cells=-(-preset.input.width_px // stride),
    )


SIZES: dict[str, OpSize] = {"r101": _size_of_preset("lsts-r101"), "lite": _size_of_preset("lsts-lite")}


@dataclass(frozen=True)
class OpOptions:
    """What to time. ``slow_runs`` are for forms over 20 times slower than the op; ``threads`` None is every core."""

    sizes: tuple[str, ...] = ("r101", "lite")
    threads: int | None = None
    runs: int = 31
    slow_runs: int = 5
    warmup_runs: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in self.sizes:
            if name not in SIZES:
                raise OptionError("size of the op", got=name, expected=", ".join(SIZES), fix="Choose one of these.")
        for name, least in (("runs", 1), ("slow_runs", 1), ("warmup_runs", 0)):
            if getattr(self, name) < least:
                fix = f"Change --{name.replace('_', '-')}."
                raise OptionError(f"bench op: {name}", got=getattr(self, name), expected=f">= {least}", fix=fix)
        if self.threads is not None and not 1 <= self.threads <= 1024:
            raise OptionError("bench op: threads", got=self.threads, expected="1..1024", fix="Change --threads.")


@dataclass(frozen=True)
class _Inputs:
    offsets: np.ndarray
    memory_embedding: np.ndarray
    current_embedding: np.ndarray
    memory: np.ndarray

    @property
    def feeds(self) -> dict[str, np.ndarray]:
        return {
            "memory": self.memory,
            "memory_embedding": self.memory_embedding,
            "current_embedding": self.current_embedding,
        }


def measure_op(options: OpOptions, progress: Progress = silent) -> OpResult:
    """Time every form on every installed engine and hold the custom op against its targets.

    Args:
        options: what to time.
        progress: told what is being done.

    Raises:
        OpLibraryError: if the op library cannot be used.
        PackageMissing: if a package that writes the graphs is not installed.
        CheckFailed: if a form disagrees with the reference.
    """
    from lsts_edge.custom_ops import describe

    library = LibraryFacts.of(describe())
    threads = options.threads or len(os.sched_getaffinity(0))
    recorder = ConditionsRecorder().start()
    rows: list[OpRow] = []
    sizes: dict[str, OpSizeSummary] = {}
    for name in options.sizes:
        found, summary = _measure_size(name, threads, options, progress)
        rows += found
        sizes[name] = summary
    return OpResult(
        origin=Origin.here(),
        conditions=recorder.stop(),
        settings=OpSettings(
            threads=threads,
            runs=options.runs,
            slow_runs=options.slow_runs,
            warmup_runs=options.warmup_runs,
            seed=options.seed,
            precision="float32",
            library=library,
        ),
        data=OpData(tuple(rows), sizes),
    )


def _measure_size(name: str, threads: int, options: OpOptions, progress: Progress) -> tuple[list[OpRow], OpSizeSummary]:
    from lsts_edge.custom_ops import NativeLsts

    size = SIZES[name]
    inputs = _draw(size, options.seed)
    plan = tap_plan(inputs.offsets)
    progress(f"{name}: float64 reference")
    expected, _ = lsts_reference(inputs.memory_embedding, inputs.current_embedding, inputs.memory, inputs.offsets)
    calls: dict[tuple[str, str], Call] = {}
    scratch: dict[tuple[str, str], int | None] = {}
    errors: dict[tuple[str, str], float] = {}
    for engine in ENGINES:
        if importlib.util.find_spec(engine) is None:
            progress(f"{name}: {engine} is not installed, left out")
            continue
        for form in FORMS:
            progress(f"{name}: {form} on {engine}")
            made = _make_call(form, engine, inputs, threads)
            if made is None:
                continue
            calls[form, engine] = made
            out, scratch[form, engine] = _first_call(made, inputs.memory.nbytes)
            errors[form, engine] = _error(out, expected, inputs, f"form {form} on {engine} at size {name}")
    own = NativeLsts(inputs.offsets, threads=threads)
    counted = own.scratch_bytes(inputs.memory_embedding.shape, inputs.memory.shape)
    peaks = [_peaks(threads)]
    fast = {key: call for key, call in calls.items() if key[0] != "gridsample"}
    slow = {key: call for key, call in calls.items() if key[0] == "gridsample" or key == ("custom", "onnxruntime")}
    timed: dict[tuple[str, str], Comparison] = {}
    for group, runs in ((slow, options.slow_runs), (fast, options.runs)):
        progress(f"{name}: {runs} rounds of {len(group)} forms")
        compared = compare(
            {"/".join(key): call for key, call in group.items()}, runs=runs, warmup_runs=options.warmup_runs
        )
        timed.update(dict.fromkeys(group, compared))
        peaks.append(_peaks(threads))
    rows = []
    for (form, engine), compared in timed.items():
        label = f"{form}/{engine}"
        summary = compared.summary(label)
        ratio = paired_ratio(compared.samples_ms[label], compared.samples_ms["custom/onnxruntime"])
        rows.append(
            OpRow(
                form=form,
                engine=engine,
                engine_version=importlib.metadata.version(engine),
                size=name,
                threads=threads,
                n=summary.n,
                p50_ms=summary.p50_ms,
                min_ms=summary.min_ms,
                p95_ms=summary.p95_ms,
                times_the_op=ratio,
                scratch_bytes=counted if form == "custom" else scratch[form, engine],
                scratch_source="counted" if form == "custom" else "growth of the first call",
                max_error=errors[form, engine],
            )
        )
    order = {key: place for place, key in enumerate((form, engine) for form in FORMS for engine in ENGINES)}
    rows.sort(key=lambda row: order[row.form, row.engine])
    floor = _floor(size, plan.count, threads, peaks)
    targets = _targets(rows, timed, floor.floor_ms)
    return rows, OpSizeSummary(**vars(size), taps=plan.count, floor=floor, targets=targets)


def _draw(size: OpSize, seed: int) -> _Inputs:
    random = np.random.RandomState(seed)
    embedding = (1, size.embedding_channels, size.height_cells, size.width_cells)
    memory = (1, size.feature_channels, size.height_cells, size.width_cells)
    scale = size.embedding_channels**-0.25  # similarities of about unit variance
    return _Inputs(
        offsets=random.standard_normal((size.locations, 2)).astype(np.float32),
        memory_embedding=(random.standard_normal(embedding) * scale).astype(np.float32),
        current_embedding=(random.standard_normal(embedding) * scale).astype(np.float32),
        memory=random.standard_normal(memory).astype(np.float32),
    )


def _first_call(call: Call, output_bytes: int) -> tuple[np.ndarray, int | None]:
    """The result, and by how much the process grew beside it: engines keep what they took, so only once."""
    can_reset = reset_peak_rss()
    before = peak_rss_mib()
    out = call()
    grown = (peak_rss_mib() - before) * 2**20 - output_bytes
    return out, max(round(grown), 0) if can_reset else None


def _error(out: np.ndarray, expected: np.ndarray, inputs: _Inputs, what: str) -> float:
    error = float(np.abs(out - expected).max())
    allowed = LSTS.allowed_error("float32", float(np.abs(inputs.memory).max()))
    if not error <= allowed:
        raise CheckFailed(
            f"{what} disagrees with the reference",
            got=f"max error {error:.3g}",
            expected=f"at most {allowed:.3g}",
            fix="Do not trust its time; report this with the versions of the packages.",
        )
    return error


def _make_call(form: str, engine: str, inputs: _Inputs, threads: int) -> Call | None:
    if engine == "torch":
        return _torch_call(form, inputs, threads)
    try:
        from lsts_edge.export.lsts_graph import lsts_graph
    except ImportError as error:
        raise PackageMissing(
            "package for writing graphs", got=str(error), expected="onnx", fix="pip install 'lsts-edge[export]'"
        ) from error
    model = lsts_graph(
        form,
        inputs.offsets,
        current="current_embedding",
        embedding_shape=inputs.memory_embedding.shape,
        memory_shape=inputs.memory.shape,
    ).SerializeToString()
    make = _onnxruntime_call if engine == "onnxruntime" else _openvino_call
    return make(model, form, inputs, threads)


def _onnxruntime_call(model: bytes, form: str, inputs: _Inputs, threads: int) -> Call:
    import onnxruntime

    from lsts_edge.custom_ops import library_path

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")  # idle threads would slow the others
    if form == "custom":
        path = library_path(ort_version=onnxruntime.__version__)
        options.register_custom_ops_library(str(path))
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feeds = inputs.feeds
    return lambda: session.run(None, feeds)[0]


def _openvino_call(model: bytes, form: str, inputs: _Inputs, threads: int) -> Call:
    import openvino

    core = openvino.Core()
    kept = None
    if form == "custom":
        from lsts_edge.custom_ops.openvino_op import openvino_extension

        kept = openvino_extension(threads)
        core.add_extension(kept)
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    compiled = core.compile_model(core.read_model(model), "CPU", settings)
    request = compiled.create_infer_request()
    feeds = inputs.feeds

    def call(_kept: object = kept) -> np.ndarray:
        out: np.ndarray = request.infer(feeds, share_inputs=False, share_outputs=False)[0]
        return out

    return call


def _torch_call(form: str, inputs: _Inputs, threads: int) -> Call | None:
    # Read when torch is loaded: its idle threads would spin on, and take a core from whoever is next.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    from lsts_edge.model.lsts import lsts_align

    torch.set_num_threads(threads)
    embedding, current, memory, offsets = (
        torch.from_numpy(a) for a in (inputs.memory_embedding, inputs.current_embedding, inputs.memory, inputs.offsets)
    )
    if form == "custom":
        return None  # the library is called through an engine, and torch is none on a device
    if form == "gridsample":
        return _torch_gridsample(embedding, current, memory, offsets)

    def call() -> np.ndarray:
        with torch.inference_mode():
            out: np.ndarray = lsts_align(embedding, current, memory, offsets)[0].numpy()
        return out

    return call


def _torch_gridsample(embedding: Any, current: Any, memory: Any, offsets: Any) -> Call:
    import torch
    import torch.nn.functional as F

    height, width = memory.shape[2:]
    count = len(offsets)
    x = torch.arange(width)[None, None, :] + offsets[:, 0, None, None]
    y = torch.arange(height)[None, :, None] + offsets[:, 1, None, None]
    places = torch.zeros(count, height, width, 2)
    places[..., 0] = 2 * x / (width - 1) - 1
    places[..., 1] = 2 * y / (height - 1) - 1
    grid = places.reshape(1, count * height, width, 2)

    def sample(feature: Any) -> Any:
        taken = F.grid_sample(feature, grid, padding_mode="zeros", align_corners=True)
        return taken.reshape(1, feature.shape[1], count, height, width)

    def call() -> np.ndarray:
        with torch.inference_mode():
            weights = torch.softmax((sample(embedding) * current[:, :, None]).sum(dim=1), dim=1)
            out: np.ndarray = (sample(memory) * weights[:, None]).sum(dim=2).numpy()
        return out

    return call


def _peaks(threads: int) -> dict[str, float]:
    from lsts_edge.custom_ops import copy_peak, multiply_add_peak

    return {
        "multiply_adds_per_s": multiply_add_peak(threads, 0.15),
        "copied_bytes_per_s": copy_peak(32 << 20, threads, 0.15),
    }


def _floor(size: OpSize, taps: int, threads: int, peaks: list[dict[str, float]]) -> Floor:
    from lsts_edge.custom_ops import copy_peak, cpu_kernels, multiply_add_peak

    while len(peaks) < 5:
        peaks.append(
            {
                "multiply_adds_per_s": multiply_add_peak(threads, 0.15),
                "copied_bytes_per_s": copy_peak(32 << 20, threads, 0.15),
            }
        )
    cells = size.height_cells * size.width_cells
    multiply_adds = cells * taps * (size.embedding_channels + size.feature_channels)
    moved = cells * 4 * 2 * (size.embedding_channels + size.feature_channels)
    best_multiply_adds = max(peak["multiply_adds_per_s"] for peak in peaks)
    best_copied = max(peak["copied_bytes_per_s"] for peak in peaks)
    lanes = {"avx512": 16, "avx2": 8, "neon": 4}.get(cpu_kernels()[0], 4)
    clock = _clock_hz()
    least = None if clock is None else PEAK_SHARE * clock * lanes * 2 * threads
    refused = least is not None and best_multiply_adds < least
    compute_ms = 1e3 * multiply_adds / best_multiply_adds
    move_ms = 1e3 * moved / (2 * best_copied)  # a copied byte is one read and one written
    return Floor(
        multiply_adds=multiply_adds,
        moved_bytes=moved,
        peak_multiply_adds_per_s=round(best_multiply_adds),
        peak_copied_bytes_per_s=round(best_copied),
        clock_hz=clock,
        least_peak_accepted=None if least is None else round(least),
        compute_ms=round(compute_ms, 4),
        move_ms=round(move_ms, 4),
        floor_ms=None if refused else round(max(compute_ms, move_ms), 4),
        refused="the measured peak is below 60 % of clock x width: the machine is busy" if refused else None,
    )


def _clock_hz() -> float | None:
    found = re.findall(r"^cpu MHz\s*:\s*([0-9.]+)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    if found:
        return max(map(float, found)) * 1e6
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    return float(path.read_text()) * 1e3 if path.exists() else None


def _targets(
    rows: list[OpRow], timed: Mapping[tuple[str, str], Comparison], floor_ms: float | None
) -> dict[str, OpTarget]:
    """Each target with what was reached: ratios to the other forms, and the op's multiple of the floor."""
    times = {(row.form, row.engine): row.p50_ms for row in rows}
    own = times["custom", "onnxruntime"]
    targets: dict[str, OpTarget] = {}

    def against(name: str, other: tuple[str, str]) -> None:
        compared = timed[other]
        label = "/".join(other)
        ratio = paired_ratio(compared.samples_ms[label], compared.samples_ms["custom/onnxruntime"])
        met = ratio.median >= TARGETS[name]
        targets[name] = OpTarget(TARGETS[name], ratio.median, met, other=label, ratio=ratio)

    against("taps_onnxruntime", ("taps", "onnxruntime"))
    others = {key: value for key, value in times.items() if key[0] == "taps"}
    against("fastest_other", min(others, key=lambda key: others[key]))
    if floor_ms is not None:
        reached = own / floor_ms
        targets["floor"] = OpTarget(TARGETS["floor"], round(reached, 3), reached <= TARGETS["floor"])
    return targets
