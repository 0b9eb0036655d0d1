"""Tells what an ONNX detector is: by the shapes and names of its inputs and outputs, and by what the user says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import onnx

from lsts_edge.errors import DetectorSize, DetectorSpecError, DetectorUnknown
from lsts_edge.export.detectors.families import MATCHERS, PREPROCESSING
from lsts_edge.export.detectors.read import read_detector
from lsts_edge.export.detectors.resize import resized
from lsts_edge.export.detectors.spec import DetectorSpec, Family, Role, overridden
from lsts_edge.export.detectors.view import Output, View, view_of

__all__ = ["recognise"]

_TRIAL_PX = (32, 96)  # added to height and width, to see whether the network runs at another size


def recognise(
    model: onnx.ModelProto | Path | bytes,
    family: Family | Literal["auto"] = "auto",
    *,
    size_px: tuple[int, int] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> DetectorSpec:
    """How to feed and read a detector.

    Args:
        model: the file, its bytes, or what ``read_detector`` gave.
        family: which rules to read it by; ``auto`` takes the first that fits, ``custom`` has none.
        size_px: height and width, needed where the file's input axes are free.
        overrides: field of ``DetectorSpec`` -> value, as JSON has it; they win over what is recognised.

    Returns:
        The spec; its ``assumed`` are lines to show.

    Raises:
        DetectorRefused: if the file is refused.
        DetectorUnknown: if no family fits, or not the one asked for.
        DetectorSize: if a size is needed or does not fit.
        DetectorSpecError: if an override is wrong.
    """
    proto = read_detector(model) if isinstance(model, Path | bytes) else model
    given = dict(overrides or {})
    view = view_of(proto, size_px, given)
    task = view.metadata.get("task", "detect")
    if task != "detect":
        raise DetectorUnknown(
            "the detector's metadata",
            got=f"task {ascii(task)[:40]}",
            expected="detect",
            fix="Give a detector of boxes.",
        )
    spec = overridden(_matched(view, family, given), given)
    spec = _checked(spec, view)
    return _with_sizes(spec, proto, view, "sizes" in given)


def _matched(view: View, family: str, given: Mapping[str, object]) -> DetectorSpec:
    base = {**view.image, "height_px": view.height_px, "width_px": view.width_px, "size_inputs": view.size_inputs}
    if "outputs" in given or family == "custom":
        name: Any = "custom" if family == "auto" else family
        if "outputs" not in given:
            raise DetectorSpecError(
                "family custom", got="no outputs", expected="outputs", fix="Say what each output is."
            )
        blank: dict[Role, tuple[str, ...]] = {"rows": (view.outputs[0].name,)}  # the user's own follow
        return DetectorSpec(name, outputs=blank, columns=("box", "classes"), **base, **PREPROCESSING[name])
    asked = family != "auto"
    for name, match in MATCHERS.items():
        found = match(view, asked) if family in ("auto", name) else None
        if found is None:
            continue
        fields, lines = found
        fed = PREPROCESSING[name]
        spec = DetectorSpec(name, **{**base, **fed, **fields})
        return dataclasses.replace(spec, assumed=(*lines, *_feeding(spec)))
    expected = ", ".join(MATCHERS) if not asked else f"what {family} gives"
    raise DetectorUnknown(
        "the detector's outputs are of no known family" if not asked else f"the detector is no {family}",
        got=f"{view.listed()} at {view.height_px}x{view.width_px}",
        expected=expected,
        fix="Name the family, or describe the outputs in a spec file; docs/your-detector.md says how.",
    )


def _feeding(spec: DetectorSpec) -> list[str]:
    """What no file tells: how the family's own project prepares its pictures."""
    of = f"(as {spec.family} has it)"
    lines = [f"color_order: {spec.color_order} {of}"]
    if spec.dtype == "uint8":
        lines.append("dtype: uint8 (the picture as it is, no scale)")
    else:
        lines.append(f"scale: {spec.scale:.6g} {of}")
        lines += [f"{name}: {', '.join(f'{v:g}' for v in getattr(spec, name))} {of}" for name in ("mean", "std")]
    lines.append(f"resize: {spec.resize} {of}")
    if spec.resize != "stretch":
        lines.append(f"pad_value: {spec.pad_value} {of}")
    if spec.strides:
        lines.append(f"strides: {', '.join(map(str, spec.strides))} (the outputs' rows fit)")
    lines += [f"{name}: {rule} (becomes a constant)" for name, rule in spec.size_inputs.items()]
    suppression = {"added": f"added (IoU {spec.nms_iou:g}, class by class)"}.get(spec.suppression, spec.suppression)
    lines.append(f"suppression: {suppression}")
    return lines


def _checked(spec: DetectorSpec, view: View) -> DetectorSpec:
    """``spec`` with the number of classes that its outputs show.

    Raises:
        DetectorSpecError: if an output does not exist or its shape does not fit what is said of it.
    """
    for role, names in spec.outputs.items():
        for name in names:
            if view.output(name) is None:
                raise _unfit(f"outputs: {role}", f"no output {name[:60]!r}", view.listed())
    classes = _rows_classes(spec, view) if spec.outputs.get("rows") else _apart_classes(spec, view)
    if classes is not None and spec.background != "none":
        classes -= 1
    if classes is not None and spec.class_count not in (None, classes):
        raise _unfit("class_count", spec.class_count, f"{classes}, which the outputs have")
    count = spec.class_count if classes is None else classes
    line = f"class_count: {count}" if count is not None else "class_count: not told by the outputs"
    kept = tuple(text for text in spec.assumed if not text.startswith("class_count"))
    return dataclasses.replace(spec, class_count=count, assumed=(*kept, line))


def _rows_classes(spec: DetectorSpec, view: View) -> int | None:
    widths = {"box": spec.box_numbers, "classes": 0}
    used = sum(widths.get(column, 1) for column in spec.columns)
    found, total = set(), 0
    for name in spec.outputs["rows"]:
        rows, width = _two_axes(_existing(view, name), spec.transposed)
        found.add(width)
        total += rows or 0
    if len(found) != 1 or None in found:
        raise _unfit("outputs: rows", f"widths {sorted(map(str, found))}", "one known width")
    _check_cells(spec, view, total)
    rest = int(found.pop() or 0) - used
    if ("classes" in spec.columns and rest < 1) or ("classes" not in spec.columns and rest != 0):
        raise _unfit("columns", f"{used} columns and {rest} over", f"the columns of {view.listed()}")
    return rest if "classes" in spec.columns else None


def _apart_classes(spec: DetectorSpec, view: View) -> int | None:
    total, found = 0, set()
    labels = spec.outputs.get("labels")
    for boxes_name, scores_name in zip(spec.outputs["boxes"], spec.outputs["scores"], strict=True):
        boxes = _existing(view, boxes_name)
        if len(boxes.axes) != 2 or boxes.axes[1] not in (spec.box_numbers, None):
            raise _unfit(f"output {boxes_name[:60]}", f"axes {boxes.axes}", f"boxes of {spec.box_numbers} numbers")
        scores = _existing(view, scores_name)
        if labels:
            rows = scores.axes[0] if len(scores.axes) == 1 else -1
        else:
            rows, width = _two_axes(scores, spec.transposed)
            found.add(width)
        if None not in (rows, boxes.axes[0]) and rows != boxes.axes[0]:
            raise _unfit(f"output {scores_name[:60]}", f"axes {scores.axes}", f"scores of {boxes.axes[0]} boxes")
        total += rows or 0
    _check_cells(spec, view, total)
    if labels:
        return None
    if len(found) != 1 or None in found:
        raise _unfit("outputs: scores", f"classes {sorted(map(str, found))}", "one known number of classes")
    return found.pop()


def _check_cells(spec: DetectorSpec, view: View, rows: int) -> None:
    if spec.box_form in ("cells", "distances") and rows != view.cells(*spec.strides):
        expected = (
            f"{view.cells(*spec.strides)}, the cells of strides {spec.strides} at {view.height_px}x{view.width_px}"
        )
        raise _unfit("outputs", f"{rows} rows", expected)


def _existing(view: View, name: str) -> Output:
    output = view.output(name)
    assert output is not None  # looked up before
    return output


def _two_axes(output: Output, transposed: bool) -> tuple[int | None, int | None]:
    if len(output.axes) != 2:
        raise _unfit(f"output {output.name[:60]}", f"axes {output.axes}", "(1, rows, columns) or (rows, columns)")
    return (output.axes[1], output.axes[0]) if transposed else (output.axes[0], output.axes[1])


def _with_sizes(spec: DetectorSpec, model: onnx.ModelProto, view: View, given: bool) -> DetectorSpec:
    """``spec`` with the sizes that it can run at.

    A file made for one size runs at others only if it decodes nothing itself: a size or grid in its own decoding need
    not be seen in any shape.

    Raises:
        DetectorSize: if ``free`` was given and is not so.
    """
    if given and spec.sizes == "fixed":
        return spec
    height, width = spec.height_px + _TRIAL_PX[0], spec.width_px + _TRIAL_PX[1]
    trial = dataclasses.replace(spec, sizes="free")
    try:
        resized(model, trial, height, width)
    except DetectorSize as error:
        if given:
            raise
        line = f"sizes: only {spec.height_px}x{spec.width_px} ({error.got})"
        return dataclasses.replace(spec, sizes="fixed", assumed=(*spec.assumed, line))
    if not (given or view.free_axes or spec.box_form in ("cells", "distances")):
        line = (
            f"sizes: only {spec.height_px}x{spec.width_px} (it was exported for this size and decodes its boxes itself)"
        )
        return dataclasses.replace(spec, sizes="fixed", assumed=(*spec.assumed, line))
    told = () if given else (f"sizes: every multiple of {spec.size_multiple_px}",)
    return dataclasses.replace(trial, assumed=(*spec.assumed, *told))


def _unfit(what: str, got: object, expected: object) -> DetectorSpecError:
    fix = "Name another family, or correct the spec; docs/your-detector.md says what each field means."
    return DetectorSpecError(f"detector spec: {what}", got=got, expected=expected, fix=fix)
