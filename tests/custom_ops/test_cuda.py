"""The CUDA kernels: their own source run on the host thread by thread, compiled by nvcc where there is one, and run on
a GPU through the library's ABI table where there is one of those."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lsts_edge.benchmarks.op_cuda import build_library, check_kernels, torch_forms
from lsts_edge.custom_ops import describe, library_path
from lsts_edge.custom_ops.abi_host import AbiHost, AbiKernel, TensorView
from lsts_edge.errors import CheckFailed, OpLibraryError, OpLibraryMissing
from lsts_edge.opspec import LSTS, lsts_conditioning, lsts_reference

SEED = 20
GUARD_BYTES = 4096
GUARD = 0xFF  # as a float of either size: NaN, so that a read outside an input shows as well as a write
DTYPES = {"float32": 0, "float16": 1}
NON_FINITE_OR_FAR = (np.nan, np.inf, -np.inf, 1e10, -1e10, 3e38, -3e38)

# (N, E, C, H, W, K, sigma of the offsets): multiples of no tile (16 x 8 and 32 x 8), of no group of 4 channels.
SIZES = [
    (1, 1, 1, 1, 1, 1, 1.0),
    (1, 3, 3, 1, 5, 1, 1.0),
    (2, 8, 7, 5, 13, 4, 1.0),
    (1, 7, 8, 13, 5, 9, 1.0),
    (1, 9, 9, 7, 16, 9, 1.0),
    (1, 17, 17, 16, 7, 4, 0.3),
    (2, 65, 10, 9, 33, 40, 1.0),
    (1, 6, 5, 38, 63, 40, 1.0),
    (1, 5, 4, 13, 38, 81, 1.0),
    (1, 1024, 1024, 5, 7, 9, 1.0),
    (1, 5, 6, 13, 20, 40, 2.0),
    (1, 4, 5, 13, 17, 40, 6.0),
    (1, 4, 9, 5, 16, 9, 40.0),
]
PATHS = {1.0: "tt", 0.3: "tt", 2.0: "tp", 6.0: "pp", 40.0: "pp"}  # how the first and third step run: (t)iled, (p)lain


class Call(ctypes.Structure):
    """``lsts::Call`` of call.h."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("memory_embedding", "current_embedding", "memory_feature")] + [
        ("aligned_feature", ctypes.c_void_p),
        ("peak_weight", ctypes.c_void_p),
        *[(name, ctypes.c_int64) for name in "nechw"],
        ("dtype", ctypes.c_int32),
    ]


class HostOptions(ctypes.Structure):
    """``HostOptions`` of cuda_on_host/host.cc."""

    _fields_ = [(name, ctypes.c_int32) for name in ("multiprocessors", "is_reversed", "is_capturing", "runs")]


@dataclass(frozen=True)
class Case:
    """Inputs of one call, in the storage type."""

    embedding: np.ndarray
    current: np.ndarray
    feature: np.ndarray
    offsets: np.ndarray


def make_case(size: tuple[int, int, int, int, int, int, float], dtype: str, normalization: str = "softmax") -> Case:
    n, e, c, h, w, k, sigma = size
    random = np.random.RandomState(SEED)
    embeddings = random.randn(2, n, e, h, w) / np.sqrt(np.sqrt(e))
    if normalization == "linear":
        embeddings = np.abs(embeddings)
    feature = random.uniform(-1, 1, (n, c, h, w))
    offsets = (random.randn(k, 2) * sigma).astype(np.float32)
    return Case(embeddings[0].astype(dtype), embeddings[1].astype(dtype), feature.astype(dtype), offsets)


class Guarded:
    """An array with guard zones around it, filled with NaN so that an element never written shows."""

    def __init__(self, shape: tuple[int, ...], dtype: str, values: np.ndarray | None = None) -> None:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._bytes = np.full(size + 2 * GUARD_BYTES, GUARD, np.uint8)
        self._size = size
        self.array = self._bytes[GUARD_BYTES : GUARD_BYTES + size].view(dtype).reshape(shape)
        self.array[...] = np.nan if values is None else values
        self._before = None if values is None else self._bytes.copy()

    def check(self) -> None:
        zones = (self._bytes[:GUARD_BYTES], self._bytes[GUARD_BYTES + self._size :])
        assert all((zone == GUARD).all() for zone in zones), "a guard byte changed"
        assert self._before is None or np.array_equal(self._before, self._bytes), "an input changed"


def build_on_host(root: Path, sources: Path, built: Path) -> ctypes.CDLL:
    """Compiles the kernels under ``sources`` for the host, a fiber for each CUDA thread."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler on this machine")
    shim = root / "tests/custom_ops/cuda_on_host"
    command = [compiler, "-std=c++20", "-O1", "-shared", "-fPIC", "-Wno-subobject-linkage", '-DLSTS_CUDA_ARCHS="host"']
    folders = [f"-I{folder}" for folder in (shim, sources / "include", sources / "cuda")]
    subprocess.run([*command, *folders, str(shim / "host.cc"), str(sources / "plan.cc"), "-o", str(built)], check=True)
    library = ctypes.CDLL(str(built))
    library.lsts_cuda_on_host.restype = ctypes.c_int32
    library.lsts_cuda_on_host.argtypes = [
        ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32, ctypes.POINTER(Call), ctypes.POINTER(HostOptions),
        ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t,
    ]  # fmt: skip
    return library


@pytest.fixture(scope="session")
def host_library(root: Path, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The kernels as they are, on the host."""
    return build_on_host(root, root / "custom_ops", tmp_path_factory.mktemp("cuda_on_host") / "cuda_on_host.so")


@dataclass(frozen=True)
class HostRun:
    """What came back: outputs, allocations made by the calls (not by the plan), which kernels ran, and an error."""

    aligned: np.ndarray
    peak: np.ndarray
    allocations: int
    path: str
    error: str


def run_on_host(
    library: ctypes.CDLL, case: Case, dtype: str, normalization: str = "softmax", *, multiprocessors: int = 3,
    is_reversed: bool = False, is_capturing: bool = False, runs: int = 1,
) -> HostRun:  # fmt: skip
    (n, e, h, w), c = case.embedding.shape, case.feature.shape[1]
    inputs = [Guarded(a.shape, dtype, a) for a in (case.embedding, case.current, case.feature)]
    aligned, peak = Guarded((n, c, h, w), dtype), Guarded((n, 1, h, w), "float32")
    pointers = [a.array.ctypes.data for a in (*inputs, aligned, peak)]
    call = Call(*pointers, n, e, c, h, w, DTYPES[dtype])
    options = HostOptions(multiprocessors, is_reversed, is_capturing, runs)
    path, message = ctypes.create_string_buffer(8), ctypes.create_string_buffer(1024)
    allocations = library.lsts_cuda_on_host(
        case.offsets.ctypes.data, len(case.offsets), LSTS.attributes["normalization"].index(normalization),
        ctypes.byref(call), ctypes.byref(options), path, message, len(message),
    )  # fmt: skip
    for array in (*inputs, aligned, peak):
        array.check()
    return HostRun(aligned.array, peak.array, allocations, path.value.decode(), message.value.decode())


def check_result(case: Case, dtype: str, normalization: str, aligned: np.ndarray, peak: np.ndarray) -> None:
    expected, expected_peak = lsts_reference(case.embedding, case.current, case.feature, case.offsets, normalization)
    magnitude = float(np.abs(case.feature.astype(np.float64)).max(initial=0.0))
    allowed = LSTS.allowed_error(dtype, magnitude)
    if normalization == "linear":
        conditioning = lsts_conditioning(case.embedding, case.current, case.offsets)
        allowed = allowed * np.where(np.isfinite(conditioning), np.maximum(1.0, conditioning), 1.0)
    for got, want in ((aligned, expected), (peak, expected_peak)):
        assert np.array_equal(np.isnan(got), np.isnan(want))
        error = np.nan_to_num(np.abs(got.astype(np.float64) - want))
        assert (error <= allowed).all(), f"largest error {error.max():.3g}"


@pytest.mark.parametrize("normalization", LSTS.attributes["normalization"])
@pytest.mark.parametrize("dtype", LSTS.tolerance)
@pytest.mark.parametrize("size", SIZES, ids=lambda s: "x".join(map(str, s)))
def test_kernels_on_host_equal_the_reference(
    host_library: ctypes.CDLL, size: tuple[int, int, int, int, int, int, float], dtype: str, normalization: str
) -> None:
    case = make_case(size, dtype, normalization)
    run = run_on_host(host_library, case, dtype, normalization)
    assert run.error == ""
    if size[5] == 40:  # enough offsets for sigma to decide
        assert run.path == PATHS[size[6]]
    check_result(case, dtype, normalization, run.aligned, run.peak)


@pytest.mark.parametrize("shift", [(9, -4), (-30, 2), (0, 45)])
def test_taps_that_all_lie_to_one_side(host_library: ctypes.CDLL, shift: tuple[int, int]) -> None:
    case = make_case((1, 3, 5, 16, 38, 9, 1.0), "float32")
    case.offsets[...] += np.array(shift, np.float32)
    run = run_on_host(host_library, case, "float32")
    assert (run.error, run.path) == ("", "tt")
    check_result(case, "float32", "softmax", run.aligned, run.peak)


@pytest.mark.parametrize("multiprocessors", [1, 132])
def test_result_does_not_depend_on_the_order_of_threads(host_library: ctypes.CDLL, multiprocessors: int) -> None:
    case = make_case(SIZES[6], "float32")
    runs = [
        run_on_host(host_library, case, "float32", multiprocessors=multiprocessors, is_reversed=is_reversed)
        for is_reversed in (False, True)
    ]
    assert np.array_equal(runs[0].aligned, runs[1].aligned) and np.array_equal(runs[0].peak, runs[1].peak)
    check_result(case, "float32", "softmax", runs[0].aligned, runs[0].peak)


@pytest.mark.parametrize("normalization", LSTS.attributes["normalization"])
@pytest.mark.parametrize("value", NON_FINITE_OR_FAR)
@pytest.mark.parametrize("component", [0, 1])
def test_non_finite_and_huge_offsets_count_as_zero(
    host_library: ctypes.CDLL, component: int, value: float, normalization: str
) -> None:
    case = make_case((1, 3, 5, 5, 13, 4, 1.0), "float32", normalization)
    case.offsets[1, component] = value
    run = run_on_host(host_library, case, "float32", normalization)
    assert run.error == ""
    check_result(case, "float32", normalization, run.aligned, run.peak)


@pytest.mark.parametrize("normalization", LSTS.attributes["normalization"])
@pytest.mark.parametrize("far", [np.nan, 500.0])
def test_no_offset_inside_the_map(host_library: ctypes.CDLL, far: float, normalization: str) -> None:
    case = make_case((1, 3, 5, 5, 13, 4, 1.0), "float32", normalization)
    case.offsets[...] = far
    run = run_on_host(host_library, case, "float32", normalization)
    assert run.error == ""
    assert np.isnan(run.aligned).all() if normalization == "linear" else (run.aligned == 0).all()
    check_result(case, "float32", normalization, run.aligned, run.peak)


def test_many_locations_use_memory_of_the_device(host_library: ctypes.CDLL) -> None:
    case = make_case((1, 2, 3, 5, 13, 400, 1.0), "float32")
    run = run_on_host(host_library, case, "float32")
    assert run.error == ""
    check_result(case, "float32", "softmax", run.aligned, run.peak)


def test_empty_batch_and_no_channels(host_library: ctypes.CDLL) -> None:
    for size in ((0, 3, 4, 5, 6, 4, 1.0), (1, 3, 0, 5, 6, 4, 1.0), (1, 0, 4, 5, 6, 4, 1.0)):
        case = make_case(size, "float32") if size[1] else _without_embedding(size)
        run = run_on_host(host_library, case, "float32")
        assert run.error == ""
        check_result(case, "float32", "softmax", run.aligned, run.peak)


def _without_embedding(size: tuple[int, int, int, int, int, int, float]) -> Case:
    whole = make_case((size[0], 1, *size[2:]), "float32")
    return Case(whole.embedding[:, :0], whole.current[:, :0], whole.feature, whole.offsets)


def test_calls_allocate_once(host_library: ctypes.CDLL) -> None:
    run = run_on_host(host_library, make_case(SIZES[2], "float32"), "float32", runs=5)
    assert (run.error, run.allocations) == ("", 1)


def test_first_call_inside_a_capture_is_refused(host_library: ctypes.CDLL) -> None:
    run = run_on_host(host_library, make_case(SIZES[2], "float32"), "float32", is_capturing=True)
    assert "got a first call of this size inside a stream capture" in run.error


def _library() -> Path:
    try:
        return library_path()
    except OpLibraryMissing as error:
        pytest.skip(f"this install has no op library: {error}")


@pytest.mark.parametrize("dtype", LSTS.tolerance)
@pytest.mark.parametrize("normalization", LSTS.attributes["normalization"])
def test_abi_host_drives_the_cpu_kernels(dtype: str, normalization: str) -> None:
    case = make_case(SIZES[2], dtype, normalization)
    (n, _, h, w), c = case.embedding.shape, case.feature.shape[1]
    aligned, peak = Guarded((n, c, h, w), dtype), Guarded((n, 1, h, w), "float32")
    arrays = [case.embedding, case.current, case.feature, aligned.array, peak.array]
    host = AbiHost(_library())
    with host.kernel(case.offsets, dtype=dtype, provider="CPUExecutionProvider", normalization=normalization) as kernel:
        kernel.run(*map(TensorView.of, arrays))
        with pytest.raises(OpLibraryError, match="inputs do not fit each other"):
            kernel.run(*map(TensorView.of, [case.embedding[:, :1], *arrays[1:]]))
    aligned.check()
    peak.check()
    check_result(case, dtype, normalization, aligned.array, peak.array)


def test_cuda_kernels_say_why_they_cannot_run_without_a_driver() -> None:
    host = AbiHost(_library())
    told = describe()["cuda"]
    if told is None:
        with pytest.raises(OpLibraryError, match="Build it with nvcc"):
            host.kernel(make_case(SIZES[0], "float32").offsets, dtype="float32")
    elif told["driver_version"] == 0:
        with pytest.raises(OpLibraryError, match="There is no CUDA driver here"):
            host.kernel(make_case(SIZES[0], "float32").offsets, dtype="float32")
    else:
        pytest.skip("there is a CUDA driver: the gpu tests run the kernels")


def test_the_benchmark_s_check_runs_on_the_cpu_kernels() -> None:
    pytest.importorskip("torch")
    checked = check_kernels(AbiHost(_library()), "cpu", cases=4, seed=SEED)
    assert all(0.0 < share <= 1.0 for share in checked.share_of_allowed_error.values())


def test_the_benchmark_s_check_sees_a_kernel_that_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    host = AbiHost(_library())
    monkeypatch.setattr(AbiKernel, "run", lambda *_, **__: None)
    with pytest.raises(CheckFailed):
        check_kernels(host, "cpu", cases=1, seed=SEED)


def test_torch_forms_equal_the_reference() -> None:
    torch = pytest.importorskip("torch")
    case = make_case(SIZES[3], "float32")
    tensors = [torch.from_numpy(a) for a in (case.embedding, case.current, case.feature)]
    expected, _ = lsts_reference(case.embedding, case.current, case.feature, case.offsets)
    for form, call in torch_forms(torch, *tensors, case.offsets).items():
        assert np.abs(call().numpy() - expected).max() <= 10 * LSTS.tolerance["float32"], form


def test_nvcc_compiles_the_kernels(root: Path, tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not installed: the CUDA kernels were compiled for the host only")
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[-3:]
    folders = [f"-I{root / 'custom_ops' / name}" for name in ("include", "cuda")]
    command = [nvcc, "-std=c++17", "-O1", "-Xptxas=-O1", "-arch=sm_87", '-DLSTS_CUDA_ARCHS="87"', *folders, "-c"]
    source = root / "custom_ops/cuda/lsts_cuda.cu"
    done = subprocess.run(
        [*command, str(source), "-o", str(tmp_path / "k.o")], capture_output=True, text=True, check=False
    )
    print(f"compiled for sm_87 by {' '.join(version)}")
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr, done.stderr


@pytest.mark.gpu
def test_kernels_on_the_gpu_equal_the_reference(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        if os.environ.get("LSTS_REQUIRE_GPU") == "1":
            pytest.fail("LSTS_REQUIRE_GPU=1 and torch sees no GPU")
        pytest.skip("torch sees no GPU")
    library = build_library(tmp_path, "".join(map(str, torch.cuda.get_device_capability())))
    check_kernels(AbiHost(library), "cuda", cases=40, seed=SEED)


# File, text, replacement: each must show as a failure of the checks above, or they are worth nothing.
PLANTED = {
    "no barrier before a window is read": ("blend.cuh", "__syncthreads();", ";"),
    "no barrier before a stage is read": ("similarities.cuh", "    __syncthreads();\n    if (quad", "    if (quad"),
    "no barrier before taps are blended": (
        "weights.cuh",
        "    column[u * S::kPositions] = value;\n  }\n  __syncthreads();",
        "    column[u * S::kPositions] = value;\n  }",
    ),
    "no barrier before warps add up": ("weights.cuh", "= total;\n  __syncthreads();", "= total;"),
    "one cell too many": ("blend.cuh", "S::kThreads < window_cells)", "S::kThreads < 2 * window_cells + 1)"),
    "a row too many": ("blend.cuh", "x < job.w && y + 1 < job.h", "x < job.w"),
    "a channel too many": ("job.cuh", "if (first + 2 < end) ", ""),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_caught(root: Path, tmp_path: Path, fault: str) -> None:
    name, text, replacement = PLANTED[fault]
    shutil.copytree(root / "custom_ops", tmp_path / "ops", ignore=shutil.ignore_patterns("*.so", "build"))
    source = tmp_path / "ops/cuda" / name
    whole = source.read_text()
    assert text in whole
    source.write_text(whole.replace(text, replacement, 1))
    library = build_on_host(root, tmp_path / "ops", tmp_path / "planted.so")
    with pytest.raises(AssertionError):
        for size in (SIZES[7], SIZES[6]):
            case = make_case(size, "float32")
            for is_reversed in (False, True):
                run = run_on_host(library, case, "float32", is_reversed=is_reversed)
                assert run.error == ""
                check_result(case, "float32", "softmax", run.aligned, run.peak)
