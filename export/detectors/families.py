"""The families of detectors: what each one's outputs look like, and what it takes for granted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lsts_edge.export.detectors.spec import Column, Family
from lsts_edge.export.detectors.view import Output, View

__all__ = ["MATCHERS", "PREPROCESSING", "Match"]

Match = tuple[dict[str, Any], list[str]]
"""Fields of the spec, and lines that say why."""

_IMAGENET = {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_YOLO = {"color_order": "rgb", "scale": 1 / 255, "resize": "letterbox-centred", "pad_value": 114}

# The rules that each family's own project feeds its networks by; a file does not tell them.
PREPROCESSING: Mapping[Family, Mapping[str, Any]] = {
    "yolox": {"color_order": "bgr", "scale": 1.0, "resize": "letterbox", "pad_value": 114, "nms_iou": 0.65},
    "picodet": {"color_order": "rgb", **_IMAGENET, "resize": "stretch", "nms_iou": 0.6},
    "nanodet-plus": {
        "color_order": "bgr",
        "scale": 1.0,
        "mean": (103.53, 116.28, 123.675),
        "std": (57.375, 57.12, 58.395),
        "resize": "stretch",
        "nms_iou": 0.6,
    },
    "detr": {"color_order": "rgb", "scale": 1 / 255, "resize": "stretch", "suppression": "unneeded"},
    "yolov5": {**_YOLO, "nms_iou": 0.6},
    "yolov8": {**_YOLO, "nms_iou": 0.7},
    "suppressed": {**_YOLO, "suppression": "inside"},
    "ssd": {"color_order": "rgb", **_IMAGENET, "resize": "stretch", "nms_iou": 0.5},
    "custom": {},
}
_MANY = 1000  # rows: more than a set prediction or a suppressed list has
_LEVELS = {3: (8, 16, 32), 4: (8, 16, 32, 64), 5: (8, 16, 32, 64, 128)}


def _only(view: View) -> Output | None:
    """The one float output with two axes; raw maps of more than four axes beside it do not count."""
    flat = [output for output in view.outputs if not (len(output.axes) == 4 and not output.whole)]
    return flat[0] if len(flat) == 1 and len(flat[0].axes) == 2 and not flat[0].whole else None


def _form(output: Output) -> tuple[str, str]:
    if output.probability:
        return "probability", "score_form: probability (a Sigmoid or Softmax is in the graph)"
    return "sigmoid", "score_form: sigmoid (none is in the graph)"


def _yolox(view: View, _: bool) -> Match | None:
    only = _only(view)
    if only is None or only.axes[0] != view.cells(8, 16, 32) or (only.axes[1] or 0) < 6:
        return None
    form, why = _form(only)
    lines = [f"family: yolox (one output, a row for each of {only.axes[0]} cells of strides 8, 16, 32)", why]
    fields = {"outputs": {"rows": (only.name,)}, "columns": ("box", "objectness", "classes"), "score_form": form}
    if "Exp" in view.kinds:
        lines.append("box_form: cxcywh (decoded: the graph has an Exp)")
        return {**fields, "box_form": "cxcywh"}, lines
    lines.append("box_form: cells (raw: no Exp is in the graph)")
    return {**fields, "box_form": "cells", "cell_offset": 0.0, "strides": (8, 16, 32)}, lines


def _yolov8(view: View, _: bool) -> Match | None:
    only = _only(view)
    if only is None:
        return None
    grids = {view.cells(*strides): strides for strides in ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))}
    transposed = only.axes[1] in grids
    rows, width = (only.axes[1], only.axes[0]) if transposed else only.axes
    if rows not in grids or (width or 0) < 5:
        return None
    form, why = _form(only)
    fields = {"outputs": {"rows": (only.name,)}, "columns": ("box", "classes"), "score_form": form}
    lines = [f"family: yolov8 (one output, 4 + classes for each of {rows} cells, no objectness)", why]
    return {**fields, "transposed": transposed, "box_form": "cxcywh"}, lines


def _yolov5(view: View, _: bool) -> Match | None:
    flat = [output for output in view.outputs if len(output.axes) == 2 and not output.whole]
    rest = [output for output in view.outputs if output not in flat]
    if len(flat) != 1 or any(len(output.axes) != 4 for output in rest):
        return None
    grids = (3 * view.cells(8, 16, 32), 3 * view.cells(8, 16, 32, 64))
    if flat[0].axes[0] not in grids or (flat[0].axes[1] or 0) < 6:
        return None
    form, why = _form(flat[0])
    lines = [f"family: yolov5 (one output, 5 + classes for each of {flat[0].axes[0]} anchors)", why]
    columns = ("box", "objectness", "classes")
    fields = {"outputs": {"rows": (flat[0].name,)}, "columns": columns, "box_form": "cxcywh", "score_form": form}
    return fields, lines


def _nanodet(view: View, _: bool) -> Match | None:
    only = _only(view)
    if only is None or only.axes[0] != view.cells(8, 16, 32, 64) or (only.axes[1] or 0) < 33:
        return None
    form, why = _form(only)
    lines = [
        f"family: nanodet-plus (one output, a row for each of {only.axes[0]} cells of strides 8, 16, 32, 64)",
        "bins: 8 (its published configurations)",
        why,
    ]
    fields = {"outputs": {"rows": (only.name,)}, "columns": ("classes", "box"), "score_form": form}
    return {**fields, "box_form": "distances", "bins": 8, "cell_offset": 0.0, "strides": (8, 16, 32, 64)}, lines


def _picodet(view: View, _: bool) -> Match | None:
    strides = _LEVELS.get(len(view.outputs) // 2)
    if strides is None or len(view.outputs) % 2 or any(len(o.axes) != 2 or o.whole for o in view.outputs):
        return None
    scores, boxes = [], []
    for stride in strides:
        level = [output for output in view.outputs if output.axes[0] == view.cells(stride)]
        if len(level) != 2:
            return None
        level.sort(key=_box_like)
        scores.append(level[0])
        boxes.append(level[1])
    widths = {output.axes[1] for output in boxes}
    numbers = boxes[0].axes[1] or 0
    if len(widths) != 1 or len({o.axes[1] for o in scores}) != 1 or numbers % 4 or numbers < 8:
        return None
    form, why = _form(scores[0])
    lines = [f"family: picodet ({len(strides)} levels of scores and of 4 x {numbers // 4} distances)", why]
    outputs = {"scores": tuple(o.name for o in scores), "boxes": tuple(o.name for o in boxes)}
    shape = {"box_form": "distances", "bins": numbers // 4, "cell_offset": 0.5, "strides": strides}
    return {"outputs": outputs, "score_form": form, **shape}, lines


def _box_like(output: Output) -> tuple[bool, bool]:
    """Sorts distances behind scores: no sigmoid made them, and they are four of something."""
    return not output.probability, (output.axes[1] or 1) % 4 == 0


def _detr(view: View, _: bool) -> Match | None:
    triple = _triple(view)
    if triple is not None:
        return triple[0], ["family: detr (boxes, scores and labels, which it gives once for each object)", *triple[1]]
    only = _only(view)
    if only is not None:
        rows, width = only.axes
        if rows is None or rows >= _MANY or (width or 0) < 5:
            return None
        form, why = _form(only)
        lines = [f"family: detr (one output, 4 + classes for each of {rows} queries)", why]
        fields = {"outputs": {"rows": (only.name,)}, "columns": ("box", "classes"), "score_form": form}
        return {**fields, "box_form": "cxcywh", "box_unit": "normalised"}, [*lines, "box_unit: normalised"]
    pair = _pair(view)
    if pair is None or (pair[0].axes[0] or 0) >= _MANY or "Softmax" in pair[1].made_by:
        return None
    boxes, scores = pair
    if boxes.axes[0] != scores.axes[0]:
        return None
    form, why = _form(scores)
    lines = [f"family: detr (boxes and class scores of {boxes.axes[0]} queries)", why, "box_unit: normalised"]
    fields = {"outputs": {"boxes": (boxes.name,), "scores": (scores.name,)}, "score_form": form}
    return {**fields, "box_form": "cxcywh", "box_unit": "normalised"}, lines


def _suppressed(view: View, asked: bool) -> Match | None:
    triple = _triple(view)
    if triple is not None:
        if not asked and "NonMaxSuppression" not in view.kinds:
            return None
        why = "a NonMaxSuppression is in the graph" if "NonMaxSuppression" in view.kinds else "as it was asked for"
        return triple[0], [f"family: suppressed (boxes, scores and labels; {why})", *triple[1]]
    counts = [output for output in view.outputs if output.whole and output.axes in ((1,), (None,))]
    rows = [output for output in view.outputs if output not in counts]
    if len(rows) != 1 or len(counts) > 1 or len(rows[0].axes) != 2 or rows[0].axes[1] not in (6, 7):
        return None
    if (rows[0].axes[0] or 0) > _MANY or (rows[0].axes[1] == 7 and rows[0].batched):
        return None  # seven columns count the picture, which is why they need no axis for it
    outputs = {"rows": (rows[0].name,), **({"count": (counts[0].name,)} if counts else {})}
    columns: tuple[Column, ...] = ("box", "score", "label")
    fed: Mapping[str, Any] = {}
    if rows[0].axes[1] == 7:
        columns = ("batch", "box", "label", "score")
    elif "ones" in view.size_inputs.values():  # PaddleDetection's own post-processing
        columns, fed = ("label", "score", "box"), {**_IMAGENET, "resize": "stretch"}
    lines = ["family: suppressed (one output of final boxes)", f"columns: {', '.join(columns)}", "box_unit: pixels"]
    return {"outputs": outputs, "columns": columns, **fed}, lines


def _ssd(view: View, _: bool) -> Match | None:
    pair = _pair(view)
    if pair is None:
        return None
    boxes, scores = pair
    transposed = scores.axes[0] != boxes.axes[0]
    softmax = "Softmax" in scores.made_by
    form, why = _form(scores)
    unit = "normalised" if softmax else "pixels"
    background = "first" if softmax else "none"
    lines = [
        f"family: ssd (decoded boxes and class scores of {boxes.axes[0]} anchors)",
        why,
        f"background: {background} ({'a' if softmax else 'no'} Softmax over the classes)",
        f"box_unit: {unit}",
    ]
    outputs = {"boxes": (boxes.name,), "scores": (scores.name,)}
    fields = {"outputs": outputs, "transposed": transposed, "background": background, "score_form": form}
    return {**fields, "box_form": "xyxy", "box_unit": unit}, lines


def _pair(view: View) -> tuple[Output, Output] | None:
    """Boxes ``(N, 4)`` and class scores ``(N, C)`` or ``(C, N)``, nothing else."""
    if len(view.outputs) != 2 or any(len(o.axes) != 2 or o.whole for o in view.outputs):
        return None
    for boxes, scores in (view.outputs, view.outputs[::-1]):
        twins = scores.axes[1] == 4 and (boxes.probability or "box" in scores.name.lower())
        if boxes.axes[1] == 4 and boxes.axes[0] in scores.axes and not twins:
            return boxes, scores
    return None


def _triple(view: View) -> Match | None:
    """Boxes ``(D, 4)``, scores ``(D,)`` and labels ``(D,)``, perhaps with a count."""
    boxes = [output for output in view.outputs if len(output.axes) == 2 and output.axes[1] == 4]
    lists = [output for output in view.outputs if len(output.axes) == 1]
    if len(boxes) != 1 or len(boxes) + len(lists) != len(view.outputs) or len(lists) not in (2, 3):
        return None
    named = {
        role: [o for o in lists if any(word in o.name.lower() for word in words)] for role, words in _WORDS.items()
    }
    if all(len(named[role]) == 1 for role in ("scores", "labels")) and len(named["count"]) == len(lists) - 2:
        found = {role: outputs[0] for role, outputs in named.items() if outputs}
    else:
        counts = [o for o in lists if len(lists) == 3 and o.axes == (1,)]
        rest = [o for o in lists if o not in counts]
        if len(rest) != 2 or rest[0].whole == rest[1].whole:
            return None  # scores and labels cannot be told apart
        found = {"labels": next(o for o in rest if o.whole), "scores": next(o for o in rest if not o.whole)}
        found |= {"count": counts[0]} if counts else {}
    outputs = {"boxes": (boxes[0].name,), **{role: (output.name,) for role, output in found.items()}}
    if boxes[0].name.lower().startswith("detection_boxes"):
        lines = ["box_form: yxyx (TensorFlow's names)", "box_unit: normalised", "label_base: 1"]
        fields = {"box_form": "yxyx", "box_unit": "normalised", "label_base": 1, "resize": "stretch"}
        return {"outputs": outputs, **fields}, lines
    return {"outputs": outputs}, ["box_form: xyxy", "box_unit: pixels"]


_WORDS = {"scores": ("score", "conf"), "labels": ("label", "class"), "count": ("num", "count")}

MATCHERS: Mapping[Family, Callable[[View, bool], Match | None]] = {
    "yolox": _yolox,
    "nanodet-plus": _nanodet,
    "yolov5": _yolov5,
    "yolov8": _yolov8,
    "picodet": _picodet,
    "suppressed": _suppressed,
    "detr": _detr,
    "ssd": _ssd,
}
"""In the order that ``auto`` tries them; the second argument is whether this family was asked for by name."""
