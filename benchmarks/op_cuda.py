"""The LSTS op on a CUDA device: build, check, sanitize and time, in one run and one file, without onnxruntime-gpu.

    python -m lsts_edge.benchmarks.op_cuda --output benchmarks/results/gpu/op_cuda.json

The library is driven through ONNX Runtime's table of functions (``lsts_edge.custom_ops.abi_host``) with torch's
pointers and stream. Every time is one of 100 launches in a CUDA graph with the L2 cache flushed before each, less the
flushes.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lsts_edge.benchmarks.envelope import Origin
from lsts_edge.benchmarks.op import SIZES, OpSize
from lsts_edge.benchmarks.op_result import (
    CudaOpCheck,
    CudaOpData,
    CudaOpResult,
    CudaOpRow,
    CudaOpSettings,
    LibraryFacts,
)
from lsts_edge.benchmarks.results import write_result
from lsts_edge.custom_ops.abi_host import AbiHost, TensorView
from lsts_edge.errors import CheckFailed, LstsEdgeError, OpLibraryMissing, ProviderUnavailable
from lsts_edge.opspec import LSTS, NORMALIZATIONS, lsts_conditioning, lsts_reference
from lsts_edge.taps import TapPlan, tap_plan

__all__ = ["build_library", "check_kernels", "main", "sanitize", "time_forms", "torch_forms"]

LAUNCHES, SLOW_LAUNCHES, ROUNDS = 100, 4, 7
TARGET_COPIES, TARGET_SAMPLE_THEN_WEIGHT = 2.0, 20.0
TARGET_BATCH = 8
GUARD_BYTES, GUARD = 4096, 0xFF  # as a float of either size: NaN, so that a read outside shows as well as a write
# initcheck must see who wrote the inputs; the others look at the op's kernels alone.
_OWN_KERNELS = ("--kernel-name", "kernel_substring=lsts")
SANITIZERS: dict[str, tuple[str, ...]] = {
    "memcheck": _OWN_KERNELS,
    "racecheck": _OWN_KERNELS,
    "synccheck": _OWN_KERNELS,
    "initcheck": (),
}
SANITIZER_FOUND = 86
FORM_TOLERANCE = {"float32": 1e-4, "float16": 0.1}  # torch's float16 forms sum in float16 and round the places too
Body = Callable[[], Any]


def build_library(folder: Path, archs: str) -> Path:
    """Build the op library for ``archs`` (as ``90`` or ``80;90``) and return its file.

    Raises:
        OpLibraryMissing: if CMake or nvcc is missing or the build fails; the text is the compiler's.
    """
    sources = Path(sys.modules[AbiHost.__module__].__file__ or "").resolve().parent
    configure = ["cmake", "-S", str(sources), "-B", str(folder), "-DLSTS_CUDA=ON", f"-DLSTS_CUDA_ARCHS={archs}"]
    for command in (configure, ["cmake", "--build", str(folder), "-j", str(os.cpu_count())]):
        if shutil.which("cmake") is None:
            raise OpLibraryMissing("op library", got="no cmake", expected="cmake and nvcc", fix="Install them.")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            text = (done.stdout + done.stderr)[-2000:]
            raise OpLibraryMissing("op library", got=text, expected="a build", fix="Correct what the text says.")
    return folder / "liblsts_ops.so"


class _Guarded:
    """A tensor with guard zones on both sides; one that is written starts as NaN."""

    def __init__(self, torch: Any, device: str, values: np.ndarray, *, is_output: bool = False) -> None:
        size = values.nbytes
        self._bytes = torch.full((size + 2 * GUARD_BYTES,), GUARD, dtype=torch.uint8, device=device)
        self._size, self._is_output = size, is_output
        inner = self._bytes[GUARD_BYTES : GUARD_BYTES + size]
        self.tensor = inner.view(getattr(torch, values.dtype.name)).view(values.shape)
        if not is_output:
            self.tensor.copy_(torch.from_numpy(values))
        self._before = self._bytes.clone()

    def changed_bytes(self) -> int:
        """Bytes that must not change and did."""
        changed = self._bytes != self._before
        if self._is_output:
            changed[GUARD_BYTES : GUARD_BYTES + self._size] = False
        return int(changed.sum())


def _draw(random: np.random.RandomState, n: int, size: OpSize, dtype: str, normalization: str, sigma: float) -> Any:
    e, c, h, w = size.embedding_channels, size.feature_channels, size.height_cells, size.width_cells
    embeddings = random.standard_normal((2, n, e, h, w)) * e**-0.25
    if normalization == "linear":
        embeddings = np.abs(embeddings)  # a sum near zero would be ill-conditioned
    feature = random.uniform(-1, 1, (n, c, h, w))
    offsets = (random.standard_normal((size.locations, 2)) * sigma).astype(np.float32)
    return embeddings[0].astype(dtype), embeddings[1].astype(dtype), feature.astype(dtype), offsets


def check_kernels(host: AbiHost, device: str, cases: int, seed: int = 0) -> CudaOpCheck:
    """Compare kernels with the float64 reference on random sizes, with guard zones around every buffer.

    Args:
        host: the library.
        device: torch's name; ``cpu`` runs the library's CPU kernels.
        cases: how many sizes are drawn; each runs in both types.
        seed: of the sizes and the data.

    Raises:
        CheckFailed: at the first case that disagrees or writes outside; the text names it.
    """
    import torch

    provider = "CPUExecutionProvider" if device == "cpu" else "CUDAExecutionProvider"
    random = np.random.RandomState(seed)
    worst = dict.fromkeys(LSTS.tolerance, 0.0)
    for case in range(cases):
        n = int(random.randint(1, 4))
        locations, e, c, h, w = (int(random.choice(choice)) for choice in _ODD_SIZES)
        size = OpSize(locations, e, c, h, w)
        sigma, normalization = float(random.choice((0.3, 1, 1, 1, 2, 6))), str(random.choice(NORMALIZATIONS))
        for dtype in LSTS.tolerance:
            arrays = _draw(random, n, size, dtype, normalization, sigma)
            if case % 4 == 3:
                arrays[3][0, case // 4 % 2] = random.choice((np.nan, np.inf, -np.inf, 1e10, 3e38))
            empty = (np.zeros_like(arrays[2]), np.zeros((n, 1, h, w), np.float32))
            tensors = [_Guarded(torch, device, a) for a in arrays[:3]]
            tensors += [_Guarded(torch, device, a, is_output=True) for a in empty]
            stream = 0 if device == "cpu" else torch.cuda.current_stream().cuda_stream
            with host.kernel(arrays[3], dtype=dtype, provider=provider, normalization=normalization) as kernel:
                kernel.run(*(TensorView.of(t.tensor) for t in tensors), stream=stream)
                if device != "cpu":
                    torch.cuda.synchronize()
            share = _share_of_allowed(arrays, normalization, dtype, [t.tensor.cpu().numpy() for t in tensors[3:]])
            changed = sum(t.changed_bytes() for t in tensors)
            if not share <= 1.0 or changed:
                raise CheckFailed(
                    f"case {case}, {dtype}, {normalization}, N {n}, {size}, sigma {sigma}",
                    got=f"{share:.3g} of the error allowed, {changed} bytes changed outside",
                    expected="at most 1 and 0",
                    fix="Correct the kernel.",
                )
            worst[dtype] = max(worst[dtype], share)
    return CudaOpCheck(cases, seed, worst)


_ODD_SIZES = (
    (1, 4, 9, 40, 81),
    (1, 3, 7, 8, 9, 17, 65),
    (1, 3, 7, 8, 9, 17, 130),
    (1, 5, 7, 13, 38),
    (1, 5, 13, 33, 63),
)


def _share_of_allowed(arrays: Sequence[Any], normalization: str, dtype: str, got: Sequence[np.ndarray]) -> float:
    with np.errstate(all="ignore"):
        expected = lsts_reference(arrays[0], arrays[1], arrays[2], arrays[3], normalization)
        allowed: Any = LSTS.allowed_error(dtype, float(np.abs(arrays[2]).max(initial=0)))
        if normalization == "linear":
            conditioning = lsts_conditioning(arrays[0], arrays[1], arrays[3])
            allowed = allowed * np.where(np.isfinite(conditioning), np.maximum(1.0, conditioning), 1.0)
        shares = [np.abs(a.astype(np.float64) - b) / allowed for a, b in zip(got, expected, strict=True)]
    if any(not np.array_equal(np.isnan(a), np.isnan(b)) for a, b in zip(got, expected, strict=True)):
        return float("nan")
    return max(float(np.nanmax(share, initial=0.0)) for share in shares)


def sanitize(library: Path, cases: int = 6) -> dict[str, str]:
    """Run the check under each tool of compute-sanitizer, on the op's kernels.

    Returns:
        By tool: ``0 reports``, or why it did not run.

    Raises:
        CheckFailed: if a tool has something to report.
    """
    found = shutil.which("compute-sanitizer")
    if found is None:
        return dict.fromkeys(SANITIZERS, "not run: compute-sanitizer is not installed")
    told = {}
    own = [sys.executable, "-m", "lsts_edge.benchmarks.op_cuda", "--library", str(library), "--check-only"]
    for tool, only in SANITIZERS.items():
        command = [found, "--tool", tool, *only, "--report-api-errors", "no", "--error-exitcode", str(SANITIZER_FOUND)]
        command += [*own, "--cases", str(cases)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        text = done.stdout + done.stderr
        if done.returncode == SANITIZER_FOUND:
            raise CheckFailed(f"compute-sanitizer {tool}", got=text[-3000:], expected="no report", fix="Correct it.")
        reason = (text.strip().splitlines() or ["no output"])[-1]
        told[tool] = "0 reports" if done.returncode == 0 else f"not run: {reason}"
    return told


def torch_forms(
    torch: Any, memory_embedding: Any, current_embedding: Any, memory: Any, offsets: np.ndarray
) -> dict[str, Body]:
    """What a user could put together in torch: by form, a call that returns the aligned feature.

    ``taps`` is the same algorithm as the op in torch's operations; ``gridsample`` samples location by location;
    ``sample_then_weight`` keeps all N x K x C x H x W samples.
    """
    grid_sample = torch.nn.functional.grid_sample
    height, width = memory.shape[2:]
    plan: TapPlan = tap_plan(offsets)
    device, dtype = memory.device, memory.dtype
    blend = torch.from_numpy(plan.blend).to(device, dtype)
    table = torch.from_numpy(offsets).to(device)
    x = torch.arange(width, device=device) + table[:, 0, None, None]
    y = torch.arange(height, device=device)[:, None] + table[:, 1, None, None]
    scaled = (2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1)
    places = torch.stack(torch.broadcast_tensors(*scaled), dim=-1).to(dtype)  # (K, H, W, 2)
    reach = plan.radius_cells

    def shifted(feature: Any) -> list[Any]:
        padded = torch.nn.functional.pad(feature, (reach,) * 4)
        starts = [(reach + int(ty), reach + int(tx)) for tx, ty in plan.taps]
        return [padded[:, :, sy : sy + height, sx : sx + width] for sy, sx in starts]

    def sample(feature: Any, k: int) -> Any:
        grid = places[k].expand(feature.shape[0], -1, -1, -1)
        return grid_sample(feature, grid, padding_mode="zeros", align_corners=True)

    def taps() -> Any:
        similarities = [(current_embedding * f).sum(dim=1) for f in shifted(memory_embedding)]
        scores = torch.einsum("ku,unhw->nkhw", blend, torch.stack(similarities))
        weights = torch.einsum("ku,nkhw->unhw", blend, torch.softmax(scores, dim=1))
        out = torch.zeros_like(memory)
        for weight, feature in zip(weights, shifted(memory), strict=True):
            out.addcmul_(weight[:, None], feature)
        return out

    def scores_by_location() -> Any:
        each = [(sample(memory_embedding, k) * current_embedding).sum(dim=1) for k in range(len(offsets))]
        return torch.softmax(torch.stack(each, dim=1), dim=1)

    def gridsample() -> Any:
        weights, out = scores_by_location(), torch.zeros_like(memory)
        for k in range(len(offsets)):
            out.addcmul_(weights[:, k, None], sample(memory, k))
        return out

    def sample_then_weight() -> Any:
        samples = torch.stack([sample(memory_embedding, k) for k in range(len(offsets))], dim=1)
        weights = torch.softmax((samples * current_embedding[:, None]).sum(dim=2), dim=1)
        samples = torch.stack([sample(memory, k) for k in range(len(offsets))], dim=1)
        return (samples * weights[:, :, None]).sum(dim=1)

    return {"taps": taps, "gridsample": gridsample, "sample_then_weight": sample_then_weight}


@dataclass(frozen=True)
class _Timer:
    """Times bodies in CUDA graphs on one stream, the L2 cache flushed by a read before each."""

    torch: Any
    stream: Any
    flushed: Any

    def seconds(self, body: Body | None, launches: int) -> float:
        """Median over rounds of one graph's time."""
        torch = self.torch
        total = torch.empty((), device="cuda")
        with torch.cuda.stream(self.stream):
            for _ in range(2):  # outside the capture: libraries set themselves up, the op takes its work space
                torch.sum(self.flushed, dim=0, out=total)
                if body is not None:
                    body()
        self.stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            for _ in range(launches):
                torch.sum(self.flushed, dim=0, out=total)
                if body is not None:
                    body()
        rounds: list[float] = []
        with torch.cuda.stream(self.stream):
            for _ in range(ROUNDS + 1):
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                begin.record()
                graph.replay()
                end.record()
                end.synchronize()
                rounds.append(begin.elapsed_time(end) / 1e3)
        return statistics.median(rounds[1:])

    def microseconds(self, body: Body, launches: int) -> float:
        """One launch of ``body``, without its flush."""
        return 1e6 * (self.seconds(body, launches) - self.seconds(None, launches)) / launches


def time_forms(host: AbiHost, name: str, n: int, dtype: str, seed: int = 0) -> CudaOpRow:
    """Times of the op, torch's forms and a copy of the op's compulsory bytes, at one size.

    Raises:
        CheckFailed: if a form disagrees with the op on the very data that is timed.
    """
    import torch

    size = SIZES[name]
    arrays = _draw(np.random.RandomState(seed), n, size, dtype, "softmax", 1.0)
    embedding, current, memory = (torch.from_numpy(a).cuda() for a in arrays[:3])
    out = torch.full_like(memory, float("nan"))
    moved_bytes = sum(t.numel() * t.element_size() for t in (embedding, current, memory, out))
    halves = [torch.ones(moved_bytes // 2, dtype=torch.uint8, device="cuda") for _ in range(2)]
    flushed = torch.ones(4 * torch.cuda.get_device_properties(0).L2_cache_size // 4, device="cuda")
    stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    timer = _Timer(torch, stream, flushed)
    times_us: dict[str, float | None] = {}
    errors: dict[str, float] = {}
    with torch.inference_mode(), host.kernel(arrays[3], dtype=dtype) as kernel:
        views = [TensorView.of(t) for t in (embedding, current, memory, out)]

        def custom() -> None:
            kernel.run(*views, stream=torch.cuda.current_stream().cuda_stream)

        copy_us = timer.microseconds(lambda: halves[0].copy_(halves[1]), LAUNCHES)
        custom_us = timer.microseconds(custom, LAUNCHES)
        for form, body in torch_forms(torch, embedding, current, memory, arrays[3]).items():
            try:
                errors[form] = float((body().float() - out.float()).abs().max())
                times_us[form] = round(timer.microseconds(body, SLOW_LAUNCHES), 3)
            except torch.OutOfMemoryError:
                times_us[form] = None
            torch.cuda.empty_cache()
    for form, error in errors.items():
        if not error <= FORM_TOLERANCE[dtype]:
            raise CheckFailed(
                f"{form} in torch against the op, {dtype}",
                got=f"largest difference {error:.3g}",
                expected=f"at most {FORM_TOLERANCE[dtype]}",
                fix="Do not trust its time.",
            )
    plan = tap_plan(arrays[3])
    return CudaOpRow(
        size=name,
        n=n,
        dtype=dtype,
        taps=plan.count,
        moved_bytes=moved_bytes,
        launches={"copy": LAUNCHES, "custom": LAUNCHES, "others": SLOW_LAUNCHES},
        time_us={"copy": round(copy_us, 3), "custom": round(custom_us, 3), **times_us},
        times_the_copy=round(custom_us / copy_us, 3),
        times_the_op={form: value and round(value / custom_us, 2) for form, value in times_us.items()},
        difference_to_the_op=errors,
    )


def _missed(rows: list[CudaOpRow]) -> Iterator[str]:
    for row in rows:
        if (row.n, row.size) != (TARGET_BATCH, "r101"):
            continue  # one map alone is bound by its launches: reported
        where, against = f"r101, N {TARGET_BATCH}, {row.dtype}", row.times_the_op["sample_then_weight"]
        if not row.times_the_copy <= TARGET_COPIES:
            yield f"{where}: {row.times_the_copy} times the copy, target {TARGET_COPIES}"
        if against is not None and not against >= TARGET_SAMPLE_THEN_WEIGHT:
            yield f"{where}: sample-then-weight {against} times the op, target {TARGET_SAMPLE_THEN_WEIGHT}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything; 0 where every check and target holds, 1 where one does not, 4 or 6 where it cannot run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", type=Path, help="use this library instead of building one")
    parser.add_argument("--output", type=Path, help="write the result as JSON")
    parser.add_argument("--cases", type=int, default=60, help="random sizes to check")
    parser.add_argument("--check-only", action="store_true", help="no sanitizer, no times")
    parser.add_argument("--no-sanitizer", action="store_true")
    chosen = parser.parse_args(arguments)
    try:
        return _run(chosen)
    except LstsEdgeError as error:
        print(f"error[{error.code}]: {error}", file=sys.stderr)
        return error.exit_status


def _run(chosen: argparse.Namespace) -> int:
    import torch

    if not torch.cuda.is_available():
        raise ProviderUnavailable(
            "CUDA device", got="none that torch sees", expected="one", fix="Run this on a machine with a GPU."
        )
    with tempfile.TemporaryDirectory() as folder:
        arch = "".join(map(str, torch.cuda.get_device_capability()))
        library = chosen.library or build_library(Path(folder), arch)
        host = AbiHost(library)
        checked = check_kernels(host, "cuda", chosen.cases)
        print(f"checked: {checked}", flush=True)
        if chosen.check_only:
            return 0
        sanitized = {} if chosen.no_sanitizer else sanitize(library)
        print(f"compute-sanitizer: {sanitized}", flush=True)
        rows = []
        for name, n, dtype in [(s, n, d) for s in ("r101", "lite") for n in (1, TARGET_BATCH) for d in LSTS.tolerance]:
            rows.append(time_forms(host, name, n, dtype))
            print(json.dumps(dataclasses.asdict(rows[-1])), flush=True)
        missed = tuple(_missed(rows))
        entry = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p)(("lsts_ops_describe", ctypes.CDLL(str(library))))
        description = json.loads(entry(None) or b"{}")
        settings = CudaOpSettings(ROUNDS, torch.cuda.get_device_name(), LibraryFacts.of(description))
        data = CudaOpData(tuple(rows), checked, sanitized, missed)
        if chosen.output is not None:
            write_result(chosen.output, CudaOpResult(origin=Origin.here(), settings=settings, data=data))
    print("\n".join(missed) or "every target is met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
