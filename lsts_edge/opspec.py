"""What each custom op is: names, axes, types, a NumPy float64 reference and how far a kernel may stray from it.

A specification is an op's only declaration: kernels, graphs, tests and the library's own description are held to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lsts_edge.errors import OptionError, ShapeError
from lsts_edge.taps import MAX_SIDE_CELLS

__all__ = ["LSTS", "NORMALIZATIONS", "OPS", "OpSpec", "TensorSpec", "lsts_conditioning", "lsts_reference"]

NORMALIZATIONS = ("softmax", "linear")
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    Attributes:
        name: as in the ONNX node's documentation.
        axes: a letter for each axis; equal letters are equal sizes, a digit is that size.
        dtype: ``T`` for the op's type parameter, or a fixed NumPy name.
        constant: must be an initializer, so that the plan is made once.
        optional: may be left out.
    """

    name: str
    axes: tuple[str, ...]
    dtype: str = "T"
    constant: bool = False
    optional: bool = False


@dataclass(frozen=True)
class OpSpec:
    """A custom op's contract.

    Attributes:
        domain: ONNX operator domain.
        name: operator type.
        since: operator version, also the opset version of ``domain``.
        inputs: in order.
        outputs: in order.
        attributes: name to the values allowed; the first is the default.
        tolerance: NumPy name of ``T`` to the largest absolute error allowed where the memory feature's largest
            magnitude is at most 1; it scales with that magnitude (see ``allowed_error``).
        reference: the float64 definition.
    """

    domain: str
    name: str
    since: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    attributes: dict[str, tuple[str, ...]]
    tolerance: dict[str, float]
    reference: Callable[..., tuple[Array, Array]]

    @property
    def qualified_name(self) -> str:
        """``domain::name``, as manifests and messages write it."""
        return f"{self.domain}::{self.name}"

    def allowed_error(self, dtype: str, magnitude: float = 1.0) -> float:
        """Largest absolute error of a kernel with ``dtype`` storage.

        Args:
            dtype: NumPy name of ``T``.
            magnitude: largest ``|memory_feature|``; below 1 it counts as 1.

        Returns:
            The bound, in units of the memory feature.

        Raises:
            OptionError: if the op has no such type.
        """
        if dtype not in self.tolerance:
            raise OptionError(
                f"{self.qualified_name}: unknown type",
                got=dtype,
                expected=", ".join(self.tolerance),
                fix="Use one of these storage types.",
            )
        return self.tolerance[dtype] * max(1.0, magnitude)


def _checked(
    memory_embedding: npt.ArrayLike,
    current_embedding: npt.ArrayLike,
    memory_feature: npt.ArrayLike,
    offsets: npt.ArrayLike,
    normalization: str,
) -> tuple[Array, Array, Array, Array]:
    arrays = [np.asarray(a).astype(np.float64) for a in (memory_embedding, current_embedding, memory_feature, offsets)]
    embedding, current, feature, table = arrays
    shapes = ", ".join(str(a.shape) for a in arrays)
    same = embedding.ndim == 4 and embedding.shape == current.shape and feature.ndim == 4
    if not (same and feature.shape[0] == embedding.shape[0] and feature.shape[2:] == embedding.shape[2:]):
        raise ShapeError(
            "LSTS inputs do not fit each other",
            got=shapes,
            expected="(N, E, H, W), (N, E, H, W), (N, C, H, W), (K, 2)",
            fix="Give embeddings and feature of one map.",
        )
    if table.ndim != 2 or table.shape[0] < 1 or table.shape[1] != 2:
        raise ShapeError(
            "LSTS offsets have the wrong shape", got=table.shape, expected="(K, 2), K >= 1", fix="Give (x, y) pairs."
        )
    if max(feature.shape[2:]) > MAX_SIDE_CELLS:
        raise ShapeError(
            "LSTS map is too large", got=feature.shape, expected=f"sides <= {MAX_SIDE_CELLS}", fix="Split the map."
        )
    if normalization not in NORMALIZATIONS:
        raise OptionError(
            "LSTS normalization is unknown", got=normalization, expected=", ".join(NORMALIZATIONS), fix="Use softmax."
        )
    return embedding, current, feature, table


def _sample(plane: Array, x: Array, y: Array) -> Array:
    """Bilinear samples of ``(N, C, H, W)`` at ``x (W)``, ``y (H)``; outside cells and non-finite places are 0."""
    height, width = plane.shape[2:]
    inside_x = (x > -1.0) & (x < width)  # false for NaN and Inf
    inside_y = (y > -1.0) & (y < height)
    place_x = np.where(inside_x, x, 0.0)
    place_y = np.where(inside_y, y, 0.0)
    left, top = np.floor(place_x), np.floor(place_y)
    out = np.zeros_like(plane)
    for step_y in (0, 1):
        rows = (top + step_y).astype(np.int64)
        weight_y = np.where(step_y == 1, place_y - top, 1.0 - (place_y - top))
        use_y = np.flatnonzero(inside_y & (rows >= 0) & (rows < height) & (weight_y != 0.0))
        for step_x in (0, 1):
            columns = (left + step_x).astype(np.int64)
            weight_x = np.where(step_x == 1, place_x - left, 1.0 - (place_x - left))
            use_x = np.flatnonzero(inside_x & (columns >= 0) & (columns < width) & (weight_x != 0.0))
            weights = weight_y[use_y, None] * weight_x[use_x]
            out[:, :, use_y[:, None], use_x] += weights * plane[:, :, rows[use_y][:, None], columns[use_x]]
    return out


def _similarities(embedding: Array, current: Array, table: Array) -> Array:
    """``s (N, K, H, W)``: the dot product of each position's current embedding with each of its K memory samples."""
    count, _, height, width = embedding.shape
    scores = np.zeros((count, len(table), height, width), np.float64)
    for k, (x, y) in enumerate(table):
        scores[:, k] = (_sample(embedding, np.arange(width) + x, np.arange(height) + y) * current).sum(axis=1)
    return scores


def lsts_reference(
    memory_embedding: npt.ArrayLike,
    current_embedding: npt.ArrayLike,
    memory_feature: npt.ArrayLike,
    offsets: npt.ArrayLike,
    normalization: str = "softmax",
) -> tuple[Array, Array]:
    """Sample, compare, weigh and sum, location by location, in float64.

    ``s_k(p0) = <g(p0), f(p0 + offset_k)>``; ``S = softmax_k(s)`` or ``s / sum_k s``;
    ``F'(p0) = sum_k S_k(p0) F(p0 + offset_k)``. Source: Jiang et al., ECCV 2020, Eq. 1 to 4; the softmax is the
    released code's. It samples each location on its own and knows nothing of taps, so it checks them.

    Args:
        memory_embedding: ``(N, E, H, W)``, f of the memory.
        current_embedding: ``(N, E, H, W)``, g of the current feature.
        memory_feature: ``(N, C, H, W)``, F.
        offsets: ``(K, 2)``, ``(x, y)`` in cells. A non-finite offset, or a sample outside the map, has feature 0 and
            similarity 0 and keeps its place in the normalisation.
        normalization: ``softmax`` or ``linear``; with ``linear`` a position where the sum is 0 gives NaN.

    Returns:
        The aligned feature ``(N, C, H, W)`` and the peak weight ``max_k S_k (N, 1, H, W)``.

    Raises:
        ShapeError: if the shapes do not fit each other.
        OptionError: if ``normalization`` is unknown.
    """
    embedding, current, feature, table = _checked(
        memory_embedding, current_embedding, memory_feature, offsets, normalization
    )
    with np.errstate(all="ignore"):
        weights = _similarities(embedding, current, table)
        if normalization == "softmax":
            weights = np.exp(weights - weights.max(axis=1, keepdims=True, initial=-np.inf))
        total = weights.sum(axis=1, keepdims=True)
        weights = np.where(total == 0.0, np.nan, weights / total)
        aligned = np.zeros_like(feature)
        width, height = feature.shape[3], feature.shape[2]
        for k, (x, y) in enumerate(table):
            aligned += weights[:, k : k + 1] * _sample(feature, np.arange(width) + x, np.arange(height) + y)
    return aligned, weights.max(axis=1, keepdims=True)


def lsts_conditioning(
    memory_embedding: npt.ArrayLike, current_embedding: npt.ArrayLike, offsets: npt.ArrayLike
) -> Array:
    """How much ``linear`` normalisation magnifies rounding: ``sum_k |s_k| / |sum_k s_k|`` at each position.

    Args:
        memory_embedding: ``(N, E, H, W)``.
        current_embedding: ``(N, E, H, W)``.
        offsets: ``(K, 2)``, ``(x, y)`` in cells.

    Returns:
        ``(N, 1, H, W)``, at least 1; infinite where the sum is 0. The tolerance of ``linear`` is multiplied by it.

    Raises:
        ShapeError: if the shapes do not fit each other.
    """
    embedding, current, _, table = _checked(memory_embedding, current_embedding, memory_embedding, offsets, "linear")
    with np.errstate(all="ignore"):
        scores = _similarities(embedding, current, table)
        total = np.abs(scores.sum(axis=1, keepdims=True))
        return np.where(total > 0.0, np.abs(scores).sum(axis=1, keepdims=True) / total, np.inf)


LSTS = OpSpec(
    domain="lsts.edge",
    name="LSTS",
    since=1,
    inputs=(
        TensorSpec("memory_embedding", ("N", "E", "H", "W")),
        TensorSpec("current_embedding", ("N", "E", "H", "W")),
        TensorSpec("memory_feature", ("N", "C", "H", "W")),
        TensorSpec("offsets", ("K", "2"), dtype="float32", constant=True),
    ),
    outputs=(
        TensorSpec("aligned_feature", ("N", "C", "H", "W")),
        TensorSpec("peak_weight", ("N", "1", "H", "W"), dtype="float32", optional=True),
    ),
    attributes={"normalization": NORMALIZATIONS},
    tolerance={"float32": 1e-5, "float16": 5e-3},
    reference=lsts_reference,
)

OPS = (LSTS,)
"""Every op that the library must hold."""
