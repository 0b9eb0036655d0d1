"""What is known about a detector's file: how it wants its picture and what its outputs mean."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lsts_edge.bundle.strict_json import decode, parse_json
from lsts_edge.errors import DetectorSpecError, ManifestError

__all__ = ["FAMILIES", "GIVEN", "Column", "DetectorSpec", "Family", "Role", "cell_grid", "overridden", "read_spec_file"]

Family = Literal["yolox", "picodet", "nanodet-plus", "detr", "yolov5", "yolov8", "suppressed", "ssd", "custom"]
FAMILIES: tuple[Family, ...] = typing.get_args(Family)
Role = Literal["rows", "boxes", "scores", "labels", "count"]
Column = Literal["box", "objectness", "classes", "score", "label", "batch"]
SizeRule = Literal["width-height", "height-width", "ones"]

MAX_SPEC_BYTES = 64 << 10
MAX_CLASSES = 10_000
_FIX = "Give the right value as an option or in the spec file; docs/your-detector.md lists them."


@dataclass(frozen=True)
class DetectorSpec:
    """How to feed a detector and how to read it. Every field but the last few can be given by the user.

    Attributes:
        family: which rules it was recognised by; ``custom`` has none, all is given.
        height_px: the file's own input height; for a file with free axes the size that was asked for.
        width_px: likewise.
        image_input: name of the input that takes the picture.
        layout: its axes.
        dtype: its type.
        size_inputs: other inputs, ``(1, 2)`` each, which become constants: the network's ``width-height`` or
            ``height-width`` in pixels, or ``ones`` (a scale).
        color_order: of the channels that the network wants.
        scale: the network sees ``(pixel * scale - mean) / std``.
        mean: in the network's channel order, after scaling.
        std: likewise.
        resize: how a frame is brought to the network's size.
        pad_value: grey beside a letterboxed frame.
        outputs: role -> names of the outputs that play it. ``rows`` holds all in one tensor, a box in each row (several
            tensors, one of each level, are put one behind the other); otherwise ``boxes`` and ``scores`` are apart.
        columns: what a row of ``rows`` holds, in order.
        transposed: boxes lie along the last axis of ``rows``, or of ``scores`` where these are apart.
        box_form: ``cells``: cell offsets and log sizes (YOLOX); ``distances``: from the cell's point to four sides,
            each a softmax over ``bins``; ``cxcywh``, ``xyxy``, ``yxyx``: decoded.
        box_unit: of decoded boxes. Cells and distances count in strides.
        bins: of ``distances``.
        cell_offset: where a cell's point lies, in cells from its corner.
        strides: pixels of a cell of each level, in the order of the outputs.
        score_form: ``probability``: as they are; ``sigmoid`` and ``softmax`` are still to be taken.
        background: a class among the scores that is none.
        label_base: the first class's number among ``labels``.
        class_count: classes without background; None where the outputs do not tell.
        suppression: ``added``: our nodes suppress overlaps; ``inside``: the model has; ``unneeded``: it gives each
            object one box.
        nms_iou: overlap from which the lesser box of a class goes.
        sizes: ``free``: every multiple of ``size_multiple_px``; ``fixed``: this size only.
        size_multiple_px: see ``sizes``.
        assumed: lines for the reader: what was taken for granted and why.
    """

    family: Family
    height_px: int
    width_px: int
    image_input: str
    outputs: Mapping[Role, tuple[str, ...]]
    layout: Literal["nchw", "nhwc"] = "nchw"
    dtype: Literal["float32", "float16", "uint8"] = "float32"
    size_inputs: Mapping[str, SizeRule] = field(default_factory=dict)
    color_order: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    resize: Literal["letterbox", "letterbox-centred", "stretch"] = "stretch"
    pad_value: int = 114
    columns: tuple[Column, ...] = ()
    transposed: bool = False
    box_form: Literal["cells", "distances", "cxcywh", "xyxy", "yxyx"] = "xyxy"
    box_unit: Literal["pixels", "normalised"] = "pixels"
    bins: int = 8
    cell_offset: float = 0.5
    strides: tuple[int, ...] = ()
    score_form: Literal["probability", "sigmoid", "softmax"] = "probability"
    background: Literal["none", "first", "last"] = "none"
    label_base: int = 0
    class_count: int | None = None
    suppression: Literal["added", "inside", "unneeded"] = "added"
    nms_iou: float = 0.6
    sizes: Literal["free", "fixed"] = "fixed"
    size_multiple_px: int = 32
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for side in (self.height_px, self.width_px):
            _check(32 <= side <= 4096, "input size", f"{side} pixels", "32..4096")
        _check(0 <= self.pad_value <= 255, "pad_value", self.pad_value, "0..255")
        _check(all(value != 0 for value in self.std) and self.scale != 0, "std or scale", 0, "other than 0")
        _check(0 < self.nms_iou <= 1, "nms_iou", self.nms_iou, "above 0, at most 1")
        _check(1 <= self.bins <= 256, "bins", self.bins, "1..256")
        _check(0 <= self.label_base <= 1, "label_base", self.label_base, "0 or 1")
        _check(1 <= self.size_multiple_px <= 1024, "size_multiple_px", self.size_multiple_px, "1..1024")
        _check(all(1 <= stride <= 1024 for stride in self.strides), "strides", self.strides, "1..1024 pixels")
        count = self.class_count
        _check(count is None or 1 <= count <= MAX_CLASSES, "class_count", count, f"1..{MAX_CLASSES}")
        self._check_outputs()

    def _check_outputs(self) -> None:
        roles = {role for role, names in self.outputs.items() if names}
        if "rows" in roles:
            _check(roles <= {"rows", "count"}, "outputs", sorted(roles), "rows (and count) alone")
            told = set(self.columns)
            fits = "box" in told and len(told) == len(self.columns) and ("classes" in told) != ({"score"} <= told)
            _check(fits, "columns", list(self.columns), "box, and classes or score, each once")
        else:
            _check({"boxes", "scores"} <= roles, "outputs", sorted(roles), "rows, or boxes and scores")
            _check(not self.columns, "columns", list(self.columns), "none without rows")
            same = len(self.outputs["boxes"]) == len(self.outputs["scores"])
            _check(same, "outputs", "boxes and scores of different levels", "as many boxes as scores")
        if self.box_form in ("cells", "distances"):
            _check(bool(self.strides), "strides", "none", f"the strides that box_form {self.box_form} counts in")

    @property
    def box_numbers(self) -> int:
        """Numbers of a box in the outputs."""
        return 4 * self.bins if self.box_form == "distances" else 4


# What a user may give: all but what follows from the file itself.
GIVEN = tuple(
    item.name
    for item in dataclasses.fields(DetectorSpec)
    if item.name not in ("family", "height_px", "width_px", "assumed")
)


def overridden(spec: DetectorSpec, overrides: Mapping[str, object]) -> DetectorSpec:
    """``spec`` with the user's values, each with its line among ``assumed``.

    Args:
        spec: what was recognised.
        overrides: field -> value as JSON has it; see ``GIVEN``.

    Raises:
        DetectorSpecError: if a name is unknown, a value is of another kind, or together they make no sense.
    """
    hints = typing.get_type_hints(DetectorSpec)
    values: dict[str, Any] = {}
    for name, value in overrides.items():
        _check(name in GIVEN, f"key {ascii(name)[:60]}", "no such field", ", ".join(GIVEN))
        with_lists = list(value) if isinstance(value, tuple) else value
        try:
            values[name] = decode(hints[name], with_lists, f"detector spec: {name}")
        except ManifestError as error:
            raise _in_spec(error) from error
    if "outputs" in values and "columns" not in values and not values["outputs"].get("rows"):
        values["columns"] = ()
    told = tuple(f"{name}: {_shown(values[name])} (given)" for name in overrides)
    kept = tuple(line for line in spec.assumed if line.split(":")[0] not in overrides)
    return dataclasses.replace(spec, **values, assumed=kept + told)


def read_spec_file(path: Path) -> dict[str, object]:
    """The overrides in a JSON file; values are checked when they are used.

    Raises:
        DetectorSpecError: if the file cannot be read or is no JSON object of known keys.
    """
    try:
        with path.open("rb") as file:
            data = parse_json(file.read(MAX_SPEC_BYTES + 1), max_bytes=MAX_SPEC_BYTES, file=f"spec file {path}")
    except OSError as error:
        reason = error.strerror or str(error)
        raise DetectorSpecError(f"spec file {path}", got=reason, expected="a readable file", fix=_FIX) from error
    except ManifestError as error:
        raise _in_spec(error) from error
    _check(isinstance(data, dict), f"spec file {path}", type(data).__name__, "a JSON object")
    unknown = sorted(set(data) - set(GIVEN))
    _check(not unknown, f"spec file {path}", f"the key {ascii(unknown[:1])[1:-1][:60]}", ", ".join(GIVEN))
    return dict(data)


def cell_grid(height_px: int, width_px: int, strides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Cells of all levels, level after level, row after row.

    Returns:
        ``(N, 2)`` float32 cell corners as x, y in cells, and ``(N, 1)`` float32 strides in pixels. A level whose stride
        does not divide the size has a cell more, as a padded convolution gives it.
    """
    cells, sizes = [], []
    for stride in strides:
        y, x = np.mgrid[: -(-height_px // stride), : -(-width_px // stride)]
        cells.append(np.stack((x, y), axis=-1).reshape(-1, 2))
        sizes.append(np.full((x.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(sizes).astype(np.float32)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    return str(dict(value)) if isinstance(value, Mapping) else str(value)


def _in_spec(error: ManifestError) -> DetectorSpecError:
    return DetectorSpecError(error.problem, got=error.got, expected=error.expected, fix=_FIX)


def _check(fits: bool, what: str, got: object, expected: object) -> None:
    if not fits:
        raise DetectorSpecError(f"detector spec: {what}", got=got, expected=expected, fix=_FIX)
