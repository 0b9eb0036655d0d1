"""Awkward cases of the LSTS op: sizes that are no multiple of any tile, every pair of axis values at least once."""

from __future__ import annotations

import functools
import itertools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lsts_edge.opspec import LSTS, lsts_conditioning, lsts_reference

__all__ = ["HOSTILE_OFFSETS", "OpCase", "awkward_cases", "case_of", "hostile_cases", "make_case", "write_cases"]

_AXES = {
    "count": (1, 2),
    "embedding_channels": (1, 3, 7, 8, 9, 17, 1024),
    "feature_channels": (1, 3, 7, 8, 9, 17, 1024),
    "height": (1, 5, 13, 38, 63),
    "width": (1, 5, 13, 38, 63),
    "locations": (1, 4, 9, 40, 81),
    "dtype": ("float32", "float16"),
    "normalization": ("softmax", "linear"),
    "spread_cells": (1.0, 4.0, 30.0),
}
_MOST_SAMPLES = 3_000_000  # of one case: the float64 reference makes each of them

HOSTILE_OFFSETS = (
    np.nan, np.inf, -np.inf, 1e10, -1e10, 3e38, -3e38, 2.0**20, -(2.0**20), 2.0**20 - 1, 1000.5, -64.0, 1e-30, -1e-30,
    0.0,
)  # fmt: skip


@dataclass(frozen=True)
class OpCase:
    """Inputs and what the float64 reference makes of them."""

    name: str
    memory_embedding: np.ndarray
    current_embedding: np.ndarray
    memory_feature: np.ndarray
    offsets: np.ndarray
    normalization: str
    aligned: np.ndarray
    peak: np.ndarray
    allowed: np.ndarray
    """``(N, 1, H, W)`` largest error allowed; infinite where rounding alone decides."""

    def failure(self, aligned: np.ndarray, peak: np.ndarray | None = None) -> str | None:
        """What is wrong with a kernel's result; None if nothing is."""
        for what, got, wanted in (("aligned", aligned, self.aligned), ("peak", peak, self.peak)):
            if got is None:
                continue
            decided = np.broadcast_to(np.isfinite(self.allowed), wanted.shape)
            if not np.array_equal(np.isnan(got)[decided], np.isnan(wanted)[decided]):
                return f"{self.name}: {what}: NaN at other places"
            with np.errstate(invalid="ignore"):
                error = np.abs(got.astype(np.float64) - wanted)
                worst = np.nanmax(np.where(decided, error / self.allowed, 0.0), initial=0.0)
            if worst > 1.0:
                return f"{self.name}: {what}: error {np.nanmax(error):.3g} is {worst:.3g} times the tolerance"
        return None


def make_case(
    name: str,
    shape: Sequence[int],
    offsets: np.ndarray,
    dtype: str = "float32",
    normalization: str = "softmax",
    seed: int = 0,
) -> OpCase:
    """A case with drawn maps: ``shape`` is ``(N, E, C, H, W)``. ``linear`` gets non-negative embeddings."""
    count, embedding_channels, feature_channels, height, width = shape
    random = np.random.RandomState(seed)
    scale = embedding_channels**-0.25
    f, g = (random.standard_normal((count, embedding_channels, height, width)) * scale for _ in range(2))
    if normalization == "linear":
        f, g = np.abs(f), np.abs(g)
    feature = random.standard_normal((count, feature_channels, height, width))
    return case_of(name, f.astype(dtype), g.astype(dtype), feature.astype(dtype), offsets, normalization)


def case_of(
    name: str, f: np.ndarray, g: np.ndarray, feature: np.ndarray, offsets: np.ndarray, normalization: str = "softmax"
) -> OpCase:
    """A case with given maps."""
    aligned, peak = lsts_reference(f, g, feature, offsets, normalization)
    finite = feature[np.isfinite(feature)]
    magnitude = float(np.abs(finite).max(initial=0.0))
    allowed = np.full(peak.shape, LSTS.allowed_error(feature.dtype.name, magnitude))
    if normalization == "linear":
        conditioning = lsts_conditioning(f, g, offsets)
        allowed = np.where(np.isfinite(conditioning), allowed * conditioning, allowed)
    return OpCase(name, f, g, feature, offsets, normalization, aligned, peak, allowed)


def _awkward(seed: int = 0) -> Iterator[OpCase]:
    random = np.random.RandomState(seed)
    names = list(_AXES)
    missing = {
        (a, x, b, y) for a, b in itertools.combinations(names, 2) for x in _AXES[a] for y in _AXES[b]
    }  # fmt: skip
    number = 0
    while missing:
        best, covered = None, set()
        first = min(missing, key=str)
        for _ in range(40):
            values = {name: _AXES[name][random.randint(len(_AXES[name]))] for name in names}
            values[first[0]], values[first[2]] = first[1], first[3]
            found = {pair for pair in missing if values[pair[0]] == pair[1] and values[pair[2]] == pair[3]}
            if _samples(values) <= _MOST_SAMPLES and len(found) > len(covered):
                best, covered = values, found
        if best is None:
            missing.discard(first)  # too large together at any size of the others tried
            continue
        missing -= covered
        number += 1
        offsets = (random.standard_normal((best["locations"], 2)) * best["spread_cells"]).astype(np.float32)
        shape = [best[name] for name in ("count", "embedding_channels", "feature_channels", "height", "width")]
        text = " ".join(f"{name}={value}" for name, value in best.items())
        yield make_case(f"case {number}: {text}", shape, offsets, best["dtype"], best["normalization"], seed=number)


def _samples(values: dict[str, object]) -> int:
    cells = values["count"] * values["height"] * values["width"]  # type: ignore[operator]
    channels = values["embedding_channels"] + values["feature_channels"]  # type: ignore[operator]
    return int(cells * channels * values["locations"])  # type: ignore[operator]


def _hostile(seed: int = 1) -> Iterator[OpCase]:
    random = np.random.RandomState(seed)
    shape = (1, 5, 9, 13, 11)
    for value in HOSTILE_OFFSETS:
        for pair in ((value, 0.25), (0.25, value), (value, value)):
            sound = random.standard_normal((4, 2)).astype(np.float32)
            offsets = np.concatenate([sound[:2], np.array([pair], np.float32), sound[2:]])
            yield make_case(f"one offset {pair}", shape, offsets)
            alone = np.array([pair], np.float32)
            for normalization in ("softmax", "linear"):
                yield make_case(f"only offset {pair}, {normalization}", shape, alone, normalization=normalization)
    spread = np.array([(-40, -40), (40, 40), (0, 0), (100, 3), (-70.5, 60.25), (5, -90)], np.float32)
    yield make_case("six groups of taps", (2, 9, 70, 63, 38), spread)
    yield make_case("six groups of taps, linear", (1, 9, 17, 63, 38), spread, normalization="linear")
    zeros = np.zeros((1, 3, 5, 6), np.float32)
    grid = np.array([(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)], np.float32)
    for normalization in ("softmax", "linear"):
        yield case_of(f"zero embeddings, {normalization}", zeros, zeros, zeros + 1, grid, normalization)
    sharp = np.full((1, 2, 6, 7), 30.0, np.float32)  # similarities of 1800: e^s itself overflows
    sharp[:, :, 2] = -30.0
    yield case_of("large similarities", sharp, np.abs(sharp), random.standard_normal((1, 4, 6, 7)).astype("f"), grid)


@functools.cache
def awkward_cases() -> tuple[OpCase, ...]:
    """Sizes that no tile divides: every pair of values of two axes occurs, as far as a small case can hold both."""
    return tuple(_awkward())


@functools.cache
def hostile_cases() -> tuple[OpCase, ...]:
    """Offsets that are no numbers or far beyond any map, sums of 0, similarities whose exponential overflows."""
    return tuple(_hostile())


def write_cases(path: Path, cases: Sequence[OpCase]) -> None:
    """The cases as ``tests/custom_ops/table_driver.cc`` reads them: little-endian, float64 results."""
    with path.open("wb") as file:
        file.write(b"LSTSCASE" + struct.pack("<q", len(cases)))
        for case in cases:
            count, embedding_channels, height, width = case.memory_embedding.shape
            channels = case.memory_feature.shape[1]
            half = case.memory_feature.dtype == np.float16
            linear = case.normalization == "linear"
            name = case.name.encode()
            sizes = (count, embedding_channels, channels, height, width, len(case.offsets), half, linear, len(name))
            file.write(struct.pack("<9q", *map(int, sizes)) + name)
            maps = (case.memory_embedding, case.current_embedding, case.memory_feature)
            for array in (case.offsets, *maps, case.aligned, case.peak, case.allowed):
                file.write(np.ascontiguousarray(array).tobytes())
