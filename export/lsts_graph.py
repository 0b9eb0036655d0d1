"""The LSTS subgraph in its three forms: integer taps in standard operators, the custom op, and GridSample."""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx
import onnx_ir as ir

from lsts_edge.errors import ExportError
from lsts_edge.export.graph import Builder
from lsts_edge.export.shapes import Shape, sizes_of
from lsts_edge.opspec import LSTS
from lsts_edge.taps import TapPlan, tap_plan

__all__ = ["LSTS_FORMS", "lsts_graph", "taps_within"]

_END = np.iinfo(np.int64).max  # of a slice: to the last cell
LSTS_FORMS = ("taps", "custom", "gridsample")


def lsts_graph(
    form: str,
    offsets: np.ndarray,
    *,
    current: str,
    embedding_shape: Shape,
    memory_shape: Shape,
    map_cells: tuple[int, int] | None = None,
    normalization: Literal["softmax", "linear"] = "softmax",
    name: str = "lsts",
) -> onnx.ModelProto:
    """Write ``aligned = LSTS(memory, memory_embedding, current embedding)`` with constant offsets.

    Args:
        form: ``taps``, ``custom`` or ``gridsample``; they agree within the op's tolerance.
        offsets: ``(K, 2)``, ``(x, y)`` in feature cells; becomes a constant of the graph.
        current: name of the input that holds the embedding of the newer feature.
        embedding_shape: ``(1, E, H, W)`` of both embeddings.
        memory_shape: ``(1, C, H, W)`` of the memory feature and of the output; H and W may be names.
        map_cells: the most H and W may be; None where they are numbers.
        normalization: how the K similarities become weights.
        name: the graph's name.

    Raises:
        ExportError: if the form is unknown or every sampling location lies outside the map.
    """
    if form not in LSTS_FORMS:
        raise ExportError("LSTS form", got=repr(form), expected=", ".join(LSTS_FORMS), fix="Choose one of these.")
    graph = Builder(name)
    memory = graph.input("memory", memory_shape)
    memory_embedding = graph.input("memory_embedding", embedding_shape)
    current_embedding = graph.input(current, embedding_shape)
    if form == "custom":
        inputs = (memory_embedding, current_embedding, memory, graph.constant(offsets))
        aligned = graph.op(LSTS.name, *inputs, domain=LSTS.domain, normalization=normalization)
    elif form == "taps":
        height, width = map_cells or sizes_of(memory_shape[2:])
        plan = taps_within(tap_plan(offsets), height, width)
        if not plan.count:
            raise ExportError(
                "LSTS offsets",
                got="no sampling location that reaches the map",
                expected=f"offsets within {width}x{height} cells",
                fix="Train the offsets again or export at a larger input size.",
            )
        aligned = _taps(graph, plan, memory, memory_embedding, current_embedding, memory_shape, normalization)
    else:
        aligned = _gridsample(
            graph,
            offsets,
            memory,
            memory_embedding,
            current_embedding,
            sizes_of(embedding_shape),
            sizes_of(memory_shape),
            normalization,
        )
    return graph.build({"aligned": (aligned, memory_shape, "float32")})


def taps_within(plan: TapPlan, height: int, width: int) -> TapPlan:
    """The plan without taps that leave a map of this size from every position: they only ever read zeros."""
    used = (np.abs(plan.taps) < (width, height)).all(axis=1)
    return TapPlan(taps=plan.taps[used], blend=plan.blend[:, used])


def _taps(
    graph: Builder,
    plan: TapPlan,
    memory: ir.Value,
    memory_embedding: ir.Value,
    current_embedding: ir.Value,
    memory_shape: Shape,
    normalization: str,
) -> ir.Value:
    shifts = [(int(x), int(y)) for x, y in plan.taps]
    left, top = (max(0, *(-shift[axis] for shift in shifts)) for axis in (0, 1))
    right, bottom = (max(0, *(shift[axis] for shift in shifts)) for axis in (0, 1))
    pads = graph.ints(0, 0, top, left, 0, 0, bottom, right)

    def shifted(padded: ir.Value, x: int, y: int) -> ir.Value:
        starts, behind = (top + y, left + x), (bottom - y, right - x)
        ends = [
            start + size if isinstance(size, int) else -rest or _END  # from behind, where the size is not known
            for start, size, rest in zip(starts, memory_shape[2:], behind, strict=True)
        ]
        return graph.slice(padded, starts, ends, (2, 3))

    padded_embedding = graph.op("Pad", memory_embedding, pads)
    padded_memory = graph.op("Pad", memory, pads)
    correlations = [
        graph.op("ReduceSum", graph.op("Mul", shifted(padded_embedding, x, y), current_embedding), graph.ints(1))
        for x, y in shifts
    ]
    correlation = graph.op("Concat", *correlations, axis=1)
    similarity = graph.op("Conv", correlation, graph.constant(plan.blend[:, :, None, None]))
    weights = _normalized(graph, similarity, normalization)
    tap_weights = graph.op("Conv", weights, graph.constant(plan.blend.T[:, :, None, None]))
    aligned: ir.Value | None = None
    for weight, (x, y) in zip(graph.split(tap_weights, [1] * len(shifts), 1), shifts, strict=True):
        part = graph.op("Mul", shifted(padded_memory, x, y), weight)
        # One running sum: only two maps of the feature's size are alive at a time.
        aligned = part if aligned is None else graph.op("Add", aligned, part)
    assert aligned is not None
    return aligned


def _gridsample(
    graph: Builder,
    offsets: np.ndarray,
    memory: ir.Value,
    memory_embedding: ir.Value,
    current_embedding: ir.Value,
    embedding_shape: tuple[int, ...],
    memory_shape: tuple[int, ...],
    normalization: str,
) -> ir.Value:
    channels, height, width = memory_shape[1:]
    locations = len(offsets)
    finite = np.where(np.isfinite(offsets).all(1, keepdims=True), offsets, 4.0 * max(height, width))
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    cells = np.stack((x, y), axis=-1) + finite.astype(np.float64)[:, None, None, :]  # (K, H, W, 2)
    # Locations far outside sample zero wherever they are: keep them where float32 still counts cells.
    cells = np.clip(cells, -2.0, (width + 1.0, height + 1.0))
    grid = (2.0 * cells + 1.0) / (width, height) - 1.0
    grid_value = graph.constant(grid.reshape(1, locations * height, width, 2))

    def sampled(value: ir.Value, count: int) -> ir.Value:
        flat = graph.op("GridSample", value, grid_value, mode="bilinear", padding_mode="zeros", align_corners=0)
        return graph.reshape(flat, 1, count, locations, height * width)

    current = graph.reshape(current_embedding, 1, embedding_shape[1], 1, height * width)
    products = graph.op("Mul", sampled(memory_embedding, embedding_shape[1]), current)
    weights = _normalized(graph, graph.op("ReduceSum", products, graph.ints(1)), normalization, axis=2)
    samples = graph.op("Mul", sampled(memory, channels), weights)
    return graph.reshape(graph.op("ReduceSum", samples, graph.ints(2), keepdims=0), *memory_shape)


def _normalized(graph: Builder, similarity: ir.Value, normalization: str, axis: int = 1) -> ir.Value:
    if normalization == "softmax":
        return graph.op("Softmax", similarity, axis=axis)
    return graph.op("Div", similarity, graph.op("ReduceSum", similarity, graph.ints(axis)))
