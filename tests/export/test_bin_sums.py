"""Bin sums against float64, in both engines: edges of the map, empty bins, large means, chunks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from export_engines import Run

from lsts_edge.export import bin_sums
from lsts_edge.export.bin_sums import BinSums, longest_bin, prefix_windows
from lsts_edge.export.graph import Builder
from lsts_edge.model.pooling import bin_edges

CHANNELS, DEPTH = 6, 3


def _edges(cells: int, bins: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``(bins, R)`` first and end of every length that can be, empty ones and ones past the map among them."""
    random = np.random.RandomState(seed)
    first = random.randint(0, cells + 1, (bins, count))
    end = np.minimum(first + random.randint(-1, longest_bin(cells, bins) + 1, (bins, count)), cells)
    return first, np.maximum(end, 0)


def _pooled(
    run: Run, feature: np.ndarray, bins: int, first: np.ndarray, end: np.ndarray, weight: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    graph = Builder("pool")
    value = graph.input("feature", feature.shape)
    edges = [graph.input(name, (bins, "R", 2)) for name in ("first", "end")]
    votes = BinSums(graph, value, feature.shape, bins).votes(*edges, weight, bias, first.shape[1])  # type: ignore[arg-type]
    model = graph.build({"votes": (votes, ("R", DEPTH), "float32")})
    return run(model, {"feature": feature, "first": first.astype(np.float32), "end": end.astype(np.float32)})["votes"]


def _expected(
    feature: np.ndarray, bins: int, first: np.ndarray, end: np.ndarray, weight: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    votes = np.zeros((first.shape[1], DEPTH))
    for roi in range(first.shape[1]):
        for i in range(bins):
            for j in range(bins):
                x, y = (slice(first[at, roi, axis], end[at, roi, axis]) for at, axis in ((j, 0), (i, 1)))
                cells = feature[0, :, y, x].astype(np.float64).reshape(CHANNELS, -1)
                if cells.size and x.start < x.stop and y.start < y.stop:
                    votes[roi] += cells.mean(1) @ weight[i, j].astype(np.float64) + bias[i, j]
    return votes


@pytest.mark.parametrize("mean", [0.0, 10.0, 1000.0])
@pytest.mark.parametrize(("height", "width", "bins"), [(38, 63, 7), (4, 6, 3), (16, 32, 7), (17, 33, 7), (1, 50, 2)])
def test_votes_are_those_of_float64(
    run: Run, monkeypatch: pytest.MonkeyPatch, height: int, width: int, bins: int, mean: float
) -> None:
    random = np.random.RandomState(1)
    feature = (random.randn(1, CHANNELS, height, width) + mean).astype(np.float32)
    weight = random.randn(bins, bins, CHANNELS, DEPTH) / bins**2
    bias = random.randn(bins, bins, DEPTH) / bins**2
    count = 40
    columns, rows = (_edges(cells, bins, count, seed) for seed, cells in enumerate((width, height)))
    first, end = (np.stack((x, y), -1) for x, y in zip(columns, rows, strict=True))
    expected = _expected(feature, bins, first, end, weight, bias)
    got = _pooled(run, feature, bins, first, end, weight, bias)
    # One integral image over the largest of these maps is wrong by three times this.
    np.testing.assert_allclose(got, expected, atol=3e-6 * (1 + mean), rtol=0)
    for bins_at_once in (2 * bins, 2, 0):  # two rows of bins, two bins of a row, one
        monkeypatch.setattr(bin_sums, "_CHUNK_FLOATS", bins_at_once * count * CHANNELS)
        got = _pooled(run, feature, bins, first, end, weight, bias)
        np.testing.assert_allclose(got, expected, atol=3e-6 * (1 + mean), rtol=0)


@pytest.mark.parametrize(("cells", "bins"), [(63, 7), (38, 7), (28, 7), (6, 3), (4, 7)])
def test_no_bin_is_longer_than_its_window(cells: int, bins: int) -> None:
    last = cells * 16 - 1
    low, high = np.meshgrid(np.arange(last + 1), np.arange(last + 1), indexing="ij")
    inside = low <= high
    edges = bin_edges(*(torch.from_numpy(v[inside].astype(np.float32)) for v in (low, high)), 16, bins, cells)
    lengths = (edges[..., 1] - edges[..., 0]).numpy()
    longest = longest_bin(cells, bins)
    assert lengths.max() <= longest
    windows, step = prefix_windows(cells, longest)
    assert len(windows) == -(-cells // step) * (step + longest)
    for first in range(cells):
        place = first + first // step * longest
        for length in range(min(longest, cells - first) + 1):
            row = windows[place + length] - windows[place]
            np.testing.assert_array_equal(row.nonzero()[0], np.arange(first, first + length))


def test_an_edge_that_is_no_number_spoils_no_other_roi(run: Run) -> None:
    random = np.random.RandomState(1)
    feature = random.randn(1, CHANNELS, 5, 9).astype(np.float32)
    weight, bias = random.randn(3, 3, CHANNELS, DEPTH), random.randn(3, 3, DEPTH)
    first = np.zeros((3, 2, 2))
    end = np.full((3, 2, 2), 2.0)
    expected = _pooled(run, feature, 3, first, end, weight, bias)
    first[:, 0], end[:, 0, 0], end[:, 0, 1] = np.nan, np.nan, np.inf
    np.testing.assert_array_equal(_pooled(run, feature, 3, first, end, weight, bias)[1], expected[1])
