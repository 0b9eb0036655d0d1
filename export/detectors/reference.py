"""The same decoding in NumPy, in double precision, a line for a line of the definition: what the graphs are held to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lsts_edge.export.detectors.spec import DetectorSpec

__all__ = ["reference_detections", "reference_feeds"]

Arrays = Mapping[str, np.ndarray]


def reference_feeds(spec: DetectorSpec, image_nhwc_bgr_u8: np.ndarray) -> dict[str, np.ndarray]:
    """What the original model is given for a bundle's picture.

    Args:
        spec: of the detector.
        image_nhwc_bgr_u8: ``(1, H, W, 3)``, resized and padded.
    """
    height, width = image_nhwc_bgr_u8.shape[1:3]
    pixels = image_nhwc_bgr_u8[..., ::-1] if spec.color_order == "rgb" else image_nhwc_bgr_u8
    if spec.dtype != "uint8":
        pixels = ((pixels * spec.scale - np.array(spec.mean)) / np.array(spec.std)).astype(spec.dtype)
    feeds = {spec.image_input: pixels.transpose(0, 3, 1, 2) if spec.layout == "nchw" else pixels}
    for name, rule in spec.size_inputs.items():
        pair = {"width-height": (width, height), "height-width": (height, width), "ones": (1, 1)}[rule]
        feeds[name] = np.array([pair], np.int64 if rule == "width-height" else np.float32)
    return {name: np.ascontiguousarray(value) for name, value in feeds.items()}


def reference_detections(
    spec: DetectorSpec,
    outputs: Arrays,
    *,
    height_px: int,
    width_px: int,
    class_count: int,
    score_floor: float,
    nms_iou: float,
    max_detections: int,
    candidates: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes of the original model's outputs; the arguments are those of ``wrap_detector``.

    Returns:
        boxes ``(D, 4)`` xyxy in network pixels, scores ``(D,)`` and labels ``(D,)``, best first.
    """
    numbers, scores, labels = _read(spec, outputs, class_count)
    boxes = _decoded(spec, numbers, height_px, width_px)
    known = (scores > score_floor) & (labels >= 0) & (labels < class_count)
    boxes, scores, labels = boxes[known], scores[known], labels[known]
    order = np.argsort(-scores, kind="stable")[:candidates]
    boxes, scores, labels = boxes[order], scores[order], labels[order]
    if spec.suppression == "added":
        keep = _greedy(boxes, labels, nms_iou)
        boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
    return boxes[:max_detections], scores[:max_detections], labels[:max_detections]


def _read(spec: DetectorSpec, outputs: Arrays, class_count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(box numbers, score, label) of every row."""
    columns: dict[str, np.ndarray] = {}
    if spec.columns:
        rows = np.concatenate([_rows(outputs[name], spec.transposed) for name in spec.outputs["rows"]])
        start = 0
        for column in spec.columns:
            widths = {"box": spec.box_numbers, "classes": class_count + (spec.background != "none")}
            columns[column] = rows[:, start : start + widths.get(column, 1)]
            start += widths.get(column, 1)
    else:
        columns["box"] = np.concatenate([_rows(outputs[name], False) for name in spec.outputs["boxes"]])
        if spec.outputs.get("labels"):
            columns["score"] = np.concatenate([outputs[name].reshape(-1, 1) for name in spec.outputs["scores"]])
            columns["label"] = np.concatenate([outputs[name].reshape(-1, 1) for name in spec.outputs["labels"]])
        else:
            columns["classes"] = np.concatenate([_rows(outputs[n], spec.transposed) for n in spec.outputs["scores"]])
    if "classes" not in columns:
        count = int(outputs[spec.outputs["count"][0]].item()) if spec.outputs.get("count") else len(columns["box"])
        score = _chances(spec, columns["score"][:count, 0].astype(np.float64))
        return columns["box"][:count], score, columns["label"][:count, 0].astype(np.int64) - spec.label_base
    chances = _chances(spec, columns["classes"].astype(np.float64))
    if spec.background != "none":
        chances = chances[:, 1:] if spec.background == "first" else chances[:, :-1]
    if "objectness" in columns:
        chances = chances * _chances(spec, columns["objectness"].astype(np.float64))
    return columns["box"], chances.max(axis=1), chances.argmax(axis=1)


def _rows(output: np.ndarray, transposed: bool) -> np.ndarray:
    table = output.reshape(output.shape[-2:])
    return table.T if transposed else table


def _chances(spec: DetectorSpec, scores: np.ndarray) -> np.ndarray:
    if spec.score_form == "probability":
        return scores
    if spec.score_form == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-scores)))
    return _softmax(scores)


def _softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _decoded(spec: DetectorSpec, numbers: np.ndarray, height_px: int, width_px: int) -> np.ndarray:
    """``(N, 4)`` xyxy in network pixels."""
    numbers = numbers.astype(np.float64)
    if spec.box_form in ("cells", "distances"):
        points, strides = [], []
        for stride in spec.strides:
            for y in range(-(-height_px // stride)):
                for x in range(-(-width_px // stride)):
                    points.append((x, y))
                    strides.append(stride)
        point, stride_px = np.array(points, np.float64), np.array(strides, np.float64)[:, None]
        if spec.box_form == "cells":
            middle = (point + spec.cell_offset + numbers[:, :2]) * stride_px
            return _around(middle, np.exp(numbers[:, 2:]) * stride_px)
        sides = _softmax(numbers.reshape(-1, 4, spec.bins)) @ np.arange(spec.bins) * stride_px
        middle = (point + spec.cell_offset) * stride_px
        return np.concatenate((middle - sides[:, :2], middle + sides[:, 2:]), axis=1)
    if spec.box_form == "yxyx":
        numbers = numbers[:, [1, 0, 3, 2]]
    if spec.box_unit == "normalised":
        numbers = numbers * np.array([width_px, height_px] * 2)
    return _around(numbers[:, :2], numbers[:, 2:]) if spec.box_form == "cxcywh" else numbers


def _around(middle: np.ndarray, size: np.ndarray) -> np.ndarray:
    return np.concatenate((middle - size / 2, middle + size / 2), axis=1)


def _greedy(boxes: np.ndarray, labels: np.ndarray, nms_iou: float) -> list[int]:
    """Indices kept of boxes sorted by score."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    keep: list[int] = []
    for index in range(len(boxes)):
        better = [other for other in keep if labels[other] == labels[index]]
        low = np.maximum(boxes[better, :2], boxes[index, :2])
        high = np.minimum(boxes[better, 2:], boxes[index, 2:])
        common = np.prod(np.clip(high - low, 0, None), axis=1)
        overlap = common / np.maximum(area[better] + area[index] - common, 1e-12)
        if not np.any(overlap > nms_iou):
            keep.append(index)
    return keep
