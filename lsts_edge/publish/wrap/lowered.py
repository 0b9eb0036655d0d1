"""The same detector in int8, calibrated on the clips that choose, if it still finds what it found in float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.evaluation.agreement import AgreementOptions, measure_agreement
from lsts_edge.evaluation.frame_boxes import FrameBoxes
from lsts_edge.export.quantize import quantized
from lsts_edge.publish.wrap.found import LEAST_SCORE
from lsts_edge.publish.wrap.make import MAIN_GRAPH
from lsts_edge.publish.wrap.networks import OncePerFrame

__all__ = ["LEAST_AGREEMENT", "int8_agreement", "int8_graph"]

LEAST_AGREEMENT = 0.9
"""Of the int8 network with the float32 one, frame by frame: below, int8 is not looked at further."""


def int8_graph(graph: bytes, images: Sequence[np.ndarray]) -> bytes:
    """A float32 graph with its convolutions in int8.

    Args:
        graph: picture to boxes.
        images: ``(1, H, W, 3)`` uint8 BGR at its size, on which ranges are measured.

    Raises:
        ExportError: if it has nothing to quantise.
    """
    feeds = [{"image": image} for image in images]
    return bytes(quantized(MAIN_GRAPH, graph, feeds).SerializeToString(deterministic=True))


def int8_agreement(
    network: OncePerFrame, lowered: OncePerFrame, pictures: Sequence[np.ndarray], truth_score: float
) -> float | None:
    """Pooled agreement of two networks on the same pictures; None where the float32 one finds nothing.

    Args:
        network: in float32.
        lowered: in int8.
        pictures: ``(H, W, 3)`` uint8 BGR.
        truth_score: from which on the float32 network's boxes are true.
    """
    found: list[FrameBoxes] = []
    for one in (network, lowered):
        rows: list[Boxes] = []
        for picture in pictures:
            boxes = one.step(picture, "first").boxes
            rows.append(boxes.select(boxes.scores >= LEAST_SCORE))
        found.append(FrameBoxes.join(rows))
    nothing = np.zeros(len(pictures), np.int64)
    options = AgreementOptions(truth_score, truth_score, resamples=0)
    return measure_agreement(found[0], found[1], nothing, nothing, options).pooled
