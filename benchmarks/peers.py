"""What a user would pick instead, one frame at a time: YOLOX-Nano and NanoDet-Plus from files the user gives."""

from __future__ import annotations

import abc
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.bundle.manifest import InputInfo
from lsts_edge.coco import COCO_CLASSES
from lsts_edge.errors import OptionError, PackageMissing
from lsts_edge.read_file import read_file
from lsts_edge.runtime.engines.interface import Backend
from lsts_edge.runtime.preprocess import Geometry, Preprocessor

__all__ = ["NanoDetPlus", "Peer", "YoloxNano", "to_groups"]

_NMS_IOU = 0.6  # both projects' own test setting is 0.65 (YOLOX) and 0.6 (NanoDet); one value for both
_CANDIDATES = 1000
_REG_BINS = 8  # NanoDet-Plus: distances are means over 0..7 strides
_NANODET_MEAN = (103.53, 116.28, 123.675)
_NANODET_SCALE = (0.017429, 0.017507, 0.017125)


class Peer(Protocol):
    """A per-frame detector: ``prepare``, ``infer`` and ``finish`` are timed apart, as ours are.

    Attributes:
        classes: names of its classes; where accuracy is measured, COCO's are taken for our groups.
    """

    classes: tuple[str, ...]

    def prepare(self, frame_hwc_bgr_u8: np.ndarray, /) -> tuple[Any, Geometry]:
        """The engine's input and where the frame lies in it."""
        ...

    def infer(self, prepared: Any, /) -> Any:
        """The network's raw output."""
        ...

    def finish(self, raw: Any, geometry: Geometry, /) -> Boxes:
        """Boxes in frame pixels, corners as edges, best first; labels index ``classes``."""
        ...


class _CellPeer(abc.ABC):
    """A ``Peer`` whose output is a row for each cell of a few strides: decoding and suppression are shared."""

    classes: tuple[str, ...] = COCO_CLASSES
    strides: tuple[int, ...] = ()

    def __init__(self, height_px: int, width_px: int, score_floor: float, max_detections: int) -> None:
        multiple = 32  # NanoDet's fourth stride, 64, is rounded up, as its own 416x416 shows
        if height_px % multiple or width_px % multiple:
            raise OptionError(
                f"input of {type(self).__name__}",
                got=f"{width_px}x{height_px}",
                expected=f"multiples of {multiple}",
                fix="Use the model's own 416x416.",
            )
        self.input_px = (height_px, width_px)
        self._preprocess = Preprocessor(InputInfo(height_px, width_px, "letterbox", 114))
        self._floor = score_floor
        self._most = max_detections
        self._cells, self._cell_strides = _cell_grid(height_px, width_px, self.strides)

    @abc.abstractmethod
    def prepare(self, frame_hwc_bgr_u8: np.ndarray) -> tuple[Any, Geometry]:
        """The engine's input and where the frame lies in it."""

    @abc.abstractmethod
    def infer(self, prepared: Any) -> np.ndarray:
        """The network's raw output, ``(cells, channels)``."""

    def finish(self, raw: np.ndarray, geometry: Geometry) -> Boxes:
        """Decode, suppress overlaps class by class, scale to the frame."""
        boxes, scores = self._decode(raw)
        labels = scores.argmax(axis=1)
        best = scores[np.arange(len(scores)), labels]
        keep = np.flatnonzero(best >= self._floor)
        if len(keep) > _CANDIDATES:
            keep = keep[np.argpartition(-best[keep], _CANDIDATES)[:_CANDIDATES]]
        corners = self._corners(boxes, raw, keep)
        sizes = np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1)
        chosen = cv2.dnn.NMSBoxesBatched(
            sizes.tolist(), best[keep], labels[keep].astype(np.int32), self._floor, _NMS_IOU
        )
        index = np.asarray(chosen, np.int64).reshape(-1)
        index = index[np.argsort(-best[keep][index], kind="stable")][: self._most]
        return geometry.to_frame(Boxes(corners[index], best[keep][index], labels[keep][index], "edges"))

    @abc.abstractmethod
    def _decode(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(box numbers of every cell, class scores of every cell)."""

    @abc.abstractmethod
    def _corners(self, boxes: np.ndarray, raw: np.ndarray, keep: np.ndarray) -> np.ndarray:
        """``(D, 4)`` float32 xyxy in network pixels of the cells in ``keep``."""


class YoloxNano(_CellPeer):
    """YOLOX-Nano (Ge et al. 2021, Apache-2.0): an ONNX file with a raw head, at another input size if asked.

    The graph is fully convolutional: its input's height and width are rewritten, its weights are not touched.

    Args:
        path: the ONNX file, output ``(1, cells, 85)``: four box numbers, objectness, 80 classes.
        backend: the engine.
        height_px: input height, a multiple of 32.
        width_px: input width, a multiple of 32.
        score_floor: boxes scoring less are left out.
        max_detections: most boxes of a frame.

    Raises:
        OptionError: if the file is no such model or the size does not fit.
    """

    strides = (8, 16, 32)

    def __init__(
        self, path: Path, backend: Backend, height_px: int, width_px: int, score_floor: float, max_detections: int
    ) -> None:
        super().__init__(height_px, width_px, score_floor, max_detections)
        self._session = backend.load(_resized_onnx(path, height_px, width_px), path.name)
        self._input = self._session.inputs[0]
        self._output = self._session.outputs[0]

    def prepare(self, frame_hwc_bgr_u8: np.ndarray) -> tuple[np.ndarray, Geometry]:
        """Letterbox, then BGR planes in 0..255."""
        image, geometry = self._preprocess(frame_hwc_bgr_u8)
        return np.ascontiguousarray(image.transpose(0, 3, 1, 2), dtype=np.float32), geometry

    def infer(self, prepared: np.ndarray) -> np.ndarray:
        """``(cells, 85)``."""
        return np.asarray(self._session.run({self._input: prepared})[self._output][0])

    def _decode(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return raw[:, :4], raw[:, 4:5] * raw[:, 5:]

    def _corners(self, boxes: np.ndarray, raw: np.ndarray, keep: np.ndarray) -> np.ndarray:
        stride = self._cell_strides[keep, None]
        center = (boxes[keep, :2] + self._cells[keep]) * stride
        half = np.exp(boxes[keep, 2:]) * stride / 2
        return np.concatenate((center - half, center + half), axis=1).astype(np.float32)


class NanoDetPlus(_CellPeer):
    """NanoDet-Plus-m (RangiLyu 2021, Apache-2.0) in ncnn, from its .param file with the .bin beside it.

    Args:
        param_path: the .param file.
        threads: ncnn's threads.
        height_px: input height, a multiple of 32.
        width_px: input width, a multiple of 32.
        score_floor: boxes scoring less are left out.
        max_detections: most boxes of a frame.

    Raises:
        PackageMissing: if ncnn is not installed.
        OptionError: if the files are no such model or the size does not fit.
    """

    strides = (8, 16, 32, 64)

    def __init__(
        self, param_path: Path, threads: int, height_px: int, width_px: int, score_floor: float, max_detections: int
    ) -> None:
        super().__init__(height_px, width_px, score_floor, max_detections)
        try:
            import ncnn
        except ImportError as error:
            raise PackageMissing(
                "NanoDet-Plus runs in ncnn", got="no package ncnn", expected="ncnn", fix="Run: pip install ncnn"
            ) from error
        self._ncnn = ncnn
        self._net = ncnn.Net()
        self._net.opt.num_threads = threads
        self._net.opt.use_vulkan_compute = False
        weights = param_path.with_suffix(".bin")
        if not (param_path.is_file() and weights.is_file()) or (
            self._net.load_param(str(param_path)) or self._net.load_model(str(weights))
        ):
            raise _not_a_peer(param_path, "an ncnn .param file with its .bin file beside it")
        self._bins = np.arange(_REG_BINS, dtype=np.float32)

    def prepare(self, frame_hwc_bgr_u8: np.ndarray) -> tuple[Any, Geometry]:
        """Letterbox, then ncnn's own conversion and normalisation."""
        image, geometry = self._preprocess(frame_hwc_bgr_u8)
        height, width = self.input_px
        matrix = self._ncnn.Mat.from_pixels(image[0], self._ncnn.Mat.PixelType.PIXEL_BGR, width, height)
        matrix.substract_mean_normalize(list(_NANODET_MEAN), list(_NANODET_SCALE))
        return matrix, geometry

    def infer(self, prepared: Any) -> np.ndarray:
        """``(cells, 112)``: 80 class scores, 4 x 8 bins of distance."""
        with self._net.create_extractor() as extractor:
            extractor.input("data", prepared)
            status, output = extractor.extract("output")
            if status:
                raise _not_a_peer(Path("NanoDet-Plus"), "a network with data in and output out")
            return np.array(output)

    def _decode(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return raw[:, len(COCO_CLASSES) :], raw[:, : len(COCO_CLASSES)]

    def _corners(self, boxes: np.ndarray, raw: np.ndarray, keep: np.ndarray) -> np.ndarray:
        powers = np.exp(boxes[keep].reshape(-1, 4, _REG_BINS))
        distances = (powers @ self._bins) / powers.sum(axis=-1) * self._cell_strides[keep, None]
        center = self._cells[keep] * self._cell_strides[keep, None]
        return np.concatenate((center - distances[:, :2], center + distances[:, 2:]), axis=1).astype(np.float32)


def to_groups(
    labels: np.ndarray, classes: tuple[str, ...], groups: tuple[str, ...], mapping: Mapping[str, str]
) -> np.ndarray:
    """Index of each label's group; -1 where it belongs to none.

    Args:
        labels: ``(D,)`` indices into ``classes``.
        classes: names of the labels.
        groups: the group names.
        mapping: class name -> group name.
    """
    table = np.array([groups.index(mapping[name]) if name in mapping else -1 for name in classes])
    return np.asarray(table[labels.astype(np.int64)])


def _cell_grid(height_px: int, width_px: int, strides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(cells ``(N, 2)`` as x, y; their strides ``(N,)``), stride after stride, row after row."""
    cells, sizes = [], []
    for stride in strides:
        y, x = np.meshgrid(np.arange(-(-height_px // stride)), np.arange(-(-width_px // stride)), indexing="ij")
        cells.append(np.stack((x, y), axis=-1).reshape(-1, 2))
        sizes.append(np.full(x.size, stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(sizes).astype(np.float32)


def _resized_onnx(path: Path, height_px: int, width_px: int) -> bytes:
    import onnx

    try:
        model = onnx.load_model_from_string(read_file(path))
        shape = model.graph.input[0].type.tensor_type.shape.dim
        shape[2].dim_value, shape[3].dim_value = height_px, width_px
        del model.graph.value_info[:]
        cells = sum(height_px * width_px // stride**2 for stride in YoloxNano.strides)
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = cells
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    except Exception as error:  # protobuf, file and shape errors share no base class
        message = re.sub(r"\s+", " ", str(error))[:200]
        raise _not_a_peer(path, "a YOLOX ONNX file with a raw head", message) from error
    found = [dim.dim_value for dim in inferred.graph.output[0].type.tensor_type.shape.dim]
    if found != [1, cells, 5 + len(COCO_CLASSES)]:
        raise _not_a_peer(path, f"an output of shape [1, {cells}, 85]", str(found))
    return bytes(model.SerializeToString())


def _not_a_peer(path: Path, expected: str, got: str = "another or no file") -> OptionError:
    return OptionError(f"peer model {path}", got=got, expected=expected, fix="Give the right file, or leave it out.")
