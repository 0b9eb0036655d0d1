"""Rivals of LSTS over the same embeddings, in standard operators: MatchTrans and Non-Local; needs no torch."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import onnx

from lsts_edge.export.graph import Builder
from lsts_edge.export.lsts_graph import lsts_graph
from lsts_edge.export.shapes import Shape, sizes_of

__all__ = ["match_trans_graph", "non_local_graph"]

Normalization = Literal["softmax", "linear"]

_RADIUS_CELLS = 4  # LSTS paper, 4.4: "just like MatchTrans module with the neighbourhoods are set to 4"


def match_trans_graph(
    current: str,
    embedding_shape: Shape,
    memory_shape: Shape,
    normalization: Normalization = "softmax",
    map_cells: tuple[int, int] | None = None,
) -> onnx.ModelProto:
    """MatchTrans (Xiao and Lee, STMN, ECCV 2018): compare with all 81 cells of the 9 x 9 window around, and blend.

    It is LSTS with the integer grid as its fixed sampling locations, here with the same embeddings and softmax.

    Args:
        current: name of the input with the newer frame's embedding.
        embedding_shape: ``(1, E, H, W)``.
        memory_shape: ``(1, C, H, W)``.
        normalization: how the similarities become weights.
        map_cells: the most H and W may be, where they are names.

    Returns:
        memory, memory_embedding, ``current`` -> aligned.
    """
    side = np.arange(-_RADIUS_CELLS, _RADIUS_CELLS + 1, dtype=np.float32)
    offsets = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    return lsts_graph(
        "taps",
        offsets,
        current=current,
        embedding_shape=embedding_shape,
        memory_shape=memory_shape,
        map_cells=map_cells,
        normalization=normalization,
        name="match_trans",
    )


def non_local_graph(current: str, embedding_shape: Shape, memory_shape: Shape) -> onnx.ModelProto:
    """Non-Local (Wang et al., CVPR 2018, embedded Gaussian): every cell looks at every cell of the memory.

    ``aligned = memory softmax(memory_embedding^T current_embedding)`` over all H W positions.

    Args:
        current: name of the input with the newer frame's embedding.
        embedding_shape: ``(1, E, H, W)``.
        memory_shape: ``(1, C, H, W)``.

    Returns:
        memory, memory_embedding, ``current`` -> aligned.
    """
    graph = Builder("non_local")
    memory = graph.input("memory", memory_shape)
    memory_embedding = graph.input("memory_embedding", embedding_shape)
    current_embedding = graph.input(current, embedding_shape)
    fixed = all(isinstance(side, int) for side in memory_shape)
    cells = math.prod(sizes_of(memory_shape[2:])) if fixed else -1
    channels, embedded = int(memory_shape[1]), int(embedding_shape[1])
    keys = graph.reshape(memory_embedding, embedded, cells)
    queries = graph.op("Transpose", graph.reshape(current_embedding, embedded, cells), perm=[1, 0])
    weights = graph.op("Softmax", graph.op("MatMul", queries, keys), axis=-1)
    values = graph.op("Transpose", graph.reshape(memory, channels, cells), perm=[1, 0])
    blended = graph.op("Transpose", graph.op("MatMul", weights, values), perm=[1, 0])
    shape = graph.ints(*sizes_of(memory_shape)) if fixed else graph.op("Shape", memory)
    return graph.build({"aligned": (graph.op("Reshape", blended, shape), memory_shape, "float32")})
