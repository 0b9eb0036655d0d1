"""The CPU kernels against the float64 reference: awkward sizes, hostile offsets, guard zones, threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from op_cases import HOSTILE_OFFSETS, OpCase, awkward_cases, case_of, hostile_cases, make_case

from lsts_edge.custom_ops import NativeLsts, copy_peak, cpu_kernels, multiply_add_peak
from lsts_edge.errors import OpLibraryMissing, OptionError, ShapeError
from lsts_edge.opspec import lsts_reference

try:
    KERNELS = cpu_kernels()
except OpLibraryMissing as missing:
    pytest.skip(f"no op library in this install: {missing.got}", allow_module_level=True)
GUARD = 64


def guarded(shape: tuple[int, ...], dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """An array in the middle of a larger one that is filled with a value no kernel writes."""
    size = int(np.prod(shape))
    whole = np.full(size + 2 * GUARD, 77.0, dtype)
    return whole, whole[GUARD : GUARD + size].reshape(shape)


def check(case: OpCase, kernel: str, threads: int = 2) -> bytes:
    """Run a case in guarded buffers, hold it to the reference, return the result's bytes."""
    op = NativeLsts(case.offsets, case.normalization, threads=threads, kernel=kernel)
    whole, aligned = guarded(case.memory_feature.shape, case.memory_feature.dtype)
    whole_peak, peak = guarded(case.peak.shape, np.dtype(np.float32))
    inputs = (case.memory_embedding, case.current_embedding, case.memory_feature)
    before = [a.tobytes() for a in inputs]
    op(*inputs, aligned=aligned, peak=peak)
    assert case.failure(aligned, peak) is None
    for buffer in (whole, whole_peak):
        assert (buffer[:GUARD] == 77.0).all() and (buffer[-GUARD:] == 77.0).all(), "wrote outside its buffer"
    assert [a.tobytes() for a in inputs] == before, "changed an input"
    return aligned.tobytes()


@pytest.mark.parametrize("kernel", KERNELS)
def test_awkward_sizes_equal_the_reference(kernel: str, record_property: Callable[[str, object], None]) -> None:
    record_property("attacks", len(awkward_cases()))
    assert len(awkward_cases()) > 40
    for case in awkward_cases():
        check(case, kernel)


@pytest.mark.parametrize("kernel", KERNELS)
def test_hostile_offsets_equal_the_reference(kernel: str, record_property: Callable[[str, object], None]) -> None:
    record_property("attacks", len(hostile_cases()))
    for case in hostile_cases():
        check(case, kernel)


def test_a_wrong_result_fails_the_comparison() -> None:
    """The planted fault: one element off by ten tolerances, and one NaN."""
    case = next(case for case in awkward_cases() if case.normalization == "softmax" and case.aligned.size > 10)
    wrong = case.aligned.copy()
    wrong.flat[-1] += 10 * case.allowed.max()
    assert "times the tolerance" in str(case.failure(wrong))
    wrong.flat[-1] = np.nan
    assert "NaN" in str(case.failure(wrong))


@pytest.mark.parametrize("kernel", KERNELS)
def test_threads_do_not_change_a_bit(kernel: str) -> None:
    case = make_case("threads", (2, 20, 70, 38, 63), np.random.RandomState(3).randn(40, 2).astype(np.float32))
    results = {check(case, kernel, threads) for threads in range(1, 9)}
    assert len(results) == 1


@pytest.mark.parametrize("kernel", KERNELS)
def test_concurrent_calls_of_one_op(kernel: str) -> None:
    case = make_case("concurrent", (1, 9, 33, 13, 38), np.random.RandomState(4).randn(9, 2).astype(np.float32))
    op = NativeLsts(case.offsets, threads=2, kernel=kernel)
    inputs = (case.memory_embedding, case.current_embedding, case.memory_feature)
    expected = op(*inputs).tobytes()
    different: list[int] = []

    def call(number: int) -> None:
        for _ in range(25):
            if op(*inputs).tobytes() != expected:
                different.append(number)

    workers = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not different


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_bad_cell_spoils_only_what_reads_it(kernel: str) -> None:
    """A NaN in the memory reaches the positions whose taps cover it; a NaN in g reaches its own position."""
    sound = make_case("sound", (1, 4, 10, 13, 12), np.array([(0.5, 0.0), (-1.0, 1.0)], np.float32))
    op = NativeLsts(sound.offsets, threads=1, kernel=kernel)
    expected = op(sound.memory_embedding, sound.current_embedding, sound.memory_feature)
    for place in (0, 1, 2):
        maps = [sound.memory_embedding.copy(), sound.current_embedding.copy(), sound.memory_feature.copy()]
        maps[place][0, 2, 6, 5] = np.nan
        got = op(*maps)
        reference = case_of("bad cell", *maps, sound.offsets)
        assert np.array_equal(np.isnan(got), np.isnan(reference.aligned))
        kept = ~np.isnan(got)
        assert 0 < (~kept).sum() < got.size / 4
        assert np.array_equal(got[kept], expected[kept])


@pytest.mark.parametrize("kernel", KERNELS)
def test_infinite_and_huge_embeddings_end_as_the_reference(kernel: str) -> None:
    random = np.random.RandomState(5)
    f, g = (random.standard_normal((1, 3, 5, 6)).astype(np.float32) for _ in range(2))
    feature = random.standard_normal((1, 2, 5, 6)).astype(np.float32)
    f[0, 0, 2, 2], g[0, 1, 4, 4] = np.inf, -np.inf
    offsets = np.array([(0, 0), (1, 0), (0.25, -1)], np.float32)
    check(case_of("infinite", f, g, feature, offsets), kernel)
    check(case_of("huge", np.full_like(f, 1e15), np.full_like(g, 1e15), feature, offsets), kernel)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(0, 3, 4, 5, 6), (1, 3, 4, 0, 6), (1, 3, 4, 5, 0), (1, 0, 4, 5, 6), (1, 3, 0, 5, 6)])
def test_empty_axes(kernel: str, shape: tuple[int, ...]) -> None:
    count, embedding_channels, feature_channels, height, width = shape
    f = np.ones((count, embedding_channels, height, width), np.float32)
    feature = np.ones((count, feature_channels, height, width), np.float32)
    offsets = np.zeros((2, 2), np.float32)
    out = NativeLsts(offsets, threads=2, kernel=kernel)(f, f, feature)
    np.testing.assert_allclose(out, lsts_reference(f, f, feature, offsets)[0], atol=1e-6)


def test_scratch_is_bounded_by_a_few_rows() -> None:
    """Sixteen times the rows need no more scratch, nor does the sampled map ever exist."""
    op = NativeLsts(np.random.RandomState(0).randn(40, 2).astype(np.float32), threads=1)
    small = op.scratch_bytes((1, 256, 64, 63), (1, 1024, 64, 63))
    tall = op.scratch_bytes((1, 256, 1024, 63), (1, 1024, 1024, 63))
    wide = op.scratch_bytes((1, 256, 64, 1008), (1, 1024, 64, 1008))
    sampled = 40 * 1024 * 38 * 63 * 4
    assert small == pytest.approx(tall, rel=0.3)
    assert wide < 2 * small
    assert small < 1 << 20 < sampled / 100


def test_bad_arguments_are_told() -> None:
    f = np.ones((1, 2, 3, 4), np.float32)
    op = NativeLsts(np.zeros((2, 2), np.float32), threads=1)
    for maps in (
        (f, f[0], f),
        (f, f, f[:, :, :2]),
        (f, f.astype(np.float16), f),
        (f.astype(np.float64),) * 3,
        (f, f[:, :1], f),
    ):
        with pytest.raises(ShapeError, match="do not fit"):
            op(*maps)
    with pytest.raises(ShapeError, match="do not fit"):
        op(f, f, f, aligned=np.ones((1, 2, 3, 8), np.float32)[..., ::2])
    with pytest.raises(ShapeError, match="offsets"):
        NativeLsts(np.zeros((2, 3), np.float32))
    with pytest.raises(OptionError, match="normalization"):
        NativeLsts(np.zeros((2, 2), np.float32), "sigmoid")
    with pytest.raises(OptionError, match="no such kernel: got sse9"):
        NativeLsts(np.zeros((2, 2), np.float32), kernel="sse9")
    with pytest.raises(OptionError, match="threads: got 0"):
        NativeLsts(np.zeros((2, 2), np.float32), threads=0)
    with pytest.raises(OptionError, match="got 5000 offsets"):
        NativeLsts(np.zeros((5000, 2), np.float32))


def test_hostile_table_covers_the_promised_values() -> None:
    for value in (1e10, 3e38, np.inf, -np.inf):
        assert value in HOSTILE_OFFSETS
    assert any(np.isnan(value) for value in HOSTILE_OFFSETS)


def test_peaks_are_measured() -> None:
    assert multiply_add_peak(1, 0.02) > 0
    assert copy_peak(1 << 20, 1, 0.02) > 0
    with pytest.raises(OptionError):
        multiply_add_peak(1, 0.02, "sse9")
