"""Torch's recorded outputs inside a bundle, so that a device without torch can check itself."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lsts_edge.boxes import Boxes, Corners
from lsts_edge.errors import BundleError
from lsts_edge.verify.parity import Doubt, tensor_error

__all__ = ["GOLDEN_FILE", "Golden", "GoldenRecorder", "TensorSample"]

GOLDEN_FILE = "golden/golden.npz"
SAMPLES = 256
MIN_BOXES, MIN_CLASSES = 100, 3  # a recording with fewer proves little about the head and the memory
MAX_BYTES = 64 << 20

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class TensorSample:
    """Entries of one reference tensor: all of them (``index`` None) or those at flat ``index``; ``scale`` = max|b|."""

    values: Array
    scale: float
    index: npt.NDArray[np.int64] | None = None

    def error_of(self, got: Array) -> float:
        """Tensor error of ``got``; infinite if a sampled entry does not exist or anything is not finite."""
        if self.index is None:
            return tensor_error(got, self.values, self.scale)
        if (len(self.index) and int(self.index.max()) >= got.size) or not np.isfinite(got).all():
            return float("inf")
        return tensor_error(got.reshape(-1)[self.index], self.values, self.scale)


class GoldenRecorder:
    """Collects the reference outputs of a clip, frame by frame.

    Args:
        height_px: of the clip's frames.
        width_px: of the clip's frames.
        seed: of the procedural clip.
        film: the frames themselves, where they are not that clip's.
    """

    def __init__(self, height_px: int, width_px: int, seed: int, film: bytes = b"") -> None:
        self._clip = (height_px, width_px, seed)
        self._film = film
        self._kinds: list[str] = []
        self._images: list[str] = []
        self._boxes: list[Boxes] = []
        self._doubts: list[Doubt] = []
        self._index: dict[str, npt.NDArray[np.int64]] = {}
        self._rows: dict[str, list[tuple[int, float, Array]]] = {}

    def add(self, kind: str, image_sha256: str, slots: Mapping[str, Array], boxes: Boxes, doubt: Doubt) -> None:
        """Record one frame: its kind, its image's digest, a sample of each tensor, its boxes and their doubt."""
        frame = len(self._kinds)
        self._kinds.append(kind)
        self._images.append(image_sha256)
        self._boxes.append(boxes)
        self._doubts.append(doubt)
        for name, tensor in slots.items():
            flat = tensor.reshape(-1)
            if name not in self._index:
                step = np.random.RandomState(len(name)).permutation(flat.size)[:SAMPLES]
                self._index[name] = np.sort(step).astype(np.int64)
            scale = float(np.abs(flat).max(initial=0.0))
            self._rows.setdefault(name, []).append((frame, scale, flat[self._index[name]]))

    def weakness(self, score_floor: float, classes: int) -> str:
        """As of ``Golden``."""
        return _weakness(self._kinds, self._boxes, score_floor, classes)

    def to_bytes(self) -> bytes:
        """The ``.npz`` file, the same bytes for the same content."""
        arrays: dict[str, Array] = {
            "clip": np.array(self._clip, np.int64),
            "kinds": np.array(self._kinds),
            "image_sha256": np.array(self._images),
            **_packed("", self._boxes),
            "fragile": np.concatenate([doubt.fragile for doubt in self._doubts]),
            **_packed("extra_", [doubt.extra for doubt in self._doubts]),
        }
        if self._film:
            arrays["film"] = np.frombuffer(self._film, np.uint8)
        for name, rows in self._rows.items():
            arrays[f"index.{name}"] = self._index[name]
            arrays[f"frames.{name}"] = np.array([frame for frame, _, _ in rows], np.int64)
            arrays[f"scales.{name}"] = np.array([scale for _, scale, _ in rows], np.float64)
            arrays[f"values.{name}"] = np.stack([values for _, _, values in rows]).astype(np.float32)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()


class Golden:
    """A recording read back.

    Attributes:
        height_px: of the clip's frames.
        width_px: of the clip's frames.
        seed: of the procedural clip.
        film: the frames themselves, compressed; empty where they are the procedural clip's.
        kinds: of each frame.
        image_sha256: of each frame's network image.
    """

    def __init__(self, content: bytes, corners: Corners) -> None:
        """Read ``golden.npz``.

        Args:
            content: the file.
            corners: of the networks' boxes, as the manifest states it; the recording does not.
        Raises:
            BundleError: if it is no such file, or larger than it may be.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                entries = archive.infolist()
            packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
            if packed or sum(entry.file_size for entry in entries) > MAX_BYTES:
                raise ValueError("compressed or too large")
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                self._arrays: dict[str, Array] = {name: file[name] for name in file.files}
            self._corners: Corners = corners
            self.height_px, self.width_px, self.seed = (int(value) for value in self._arrays["clip"])
            self.film = self._arrays.pop("film", np.zeros(0, np.uint8)).tobytes()
            self.kinds = [str(kind) for kind in self._arrays["kinds"]]
            self.image_sha256 = [str(digest) for digest in self._arrays["image_sha256"]]
            self._parts, self._extra_parts = (self._slices(name) for name in ("counts", "extra_counts"))
            self._slots = [name.removeprefix("index.") for name in self._arrays if name.startswith("index.")]
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise BundleError(
                f"{GOLDEN_FILE}", got=str(error)[:200], expected="a recording of this version", fix="Export it again."
            ) from error

    def boxes(self, frame: int) -> Boxes:
        """The reference's detections of a frame."""
        return self._unpacked("", self._parts[frame])

    def weakness(self, score_floor: float, classes: int) -> str:
        """Why this recording proves little; empty if it holds enough boxes.

        Args:
            score_floor: of the boxes that are compared.
            classes: of the model.
        """
        boxes = [self.boxes(frame) for frame in range(len(self.kinds))]
        return _weakness(self.kinds, boxes, score_floor, classes)

    def doubt(self, frame: int) -> Doubt:
        """Where the reference's answer for a frame hung on a rounding."""
        return Doubt(self._arrays["fragile"][self._parts[frame]], self._unpacked("extra_", self._extra_parts[frame]))

    def tensors(self, frame: int) -> dict[str, TensorSample]:
        """Samples of the tensors recorded for a frame."""
        samples = {}
        for slot in self._slots:
            row = np.flatnonzero(self._arrays[f"frames.{slot}"] == frame)
            if len(row):
                values, scale = self._arrays[f"values.{slot}"][row[0]], float(self._arrays[f"scales.{slot}"][row[0]])
                samples[slot] = TensorSample(values, scale, self._arrays[f"index.{slot}"])
        return samples

    def _slices(self, counts: str) -> list[slice]:
        ends = np.cumsum(self._arrays[counts])
        return [slice(int(a), int(b)) for a, b in zip((0, *ends[:-1]), ends, strict=True)]

    def _unpacked(self, prefix: str, part: slice) -> Boxes:
        boxes, scores, labels = (self._arrays[prefix + name][part] for name in ("boxes", "scores", "labels"))
        return Boxes(boxes, scores, labels, self._corners)


def _weakness(kinds: list[str], frames: list[Boxes], score_floor: float, classes: int) -> str:
    counts: dict[str, int] = dict.fromkeys(("keyframes", "propagated frames"), 0)
    labels: set[int] = set()
    for kind, boxes in zip(kinds, frames, strict=True):
        strong = boxes.scores >= score_floor
        counts["propagated frames" if kind == "propagated" else "keyframes"] += int(strong.sum())
        labels |= {int(label) for label in boxes.labels[strong]}
    empty = not counts["keyframes"] or ("propagated" in kinds and not counts["propagated frames"])
    wanted = min(MIN_CLASSES, classes)
    if sum(counts.values()) >= MIN_BOXES and len(labels) >= wanted and not empty:
        return ""
    found = ", ".join(f"{count} in {kind}" for kind, count in counts.items())
    return (
        f"the recording proves little: boxes that score {score_floor} or more are {found}, of {len(labels)} classes; "
        f"{MIN_BOXES} of {wanted} classes, some in each kind of frame, would be enough"
    )


def _packed(prefix: str, frames: list[Boxes]) -> dict[str, Array]:
    return {
        f"{prefix}counts": np.array([len(boxes) for boxes in frames], np.int64),
        f"{prefix}boxes": np.concatenate([boxes.xyxy_px for boxes in frames]),
        f"{prefix}scores": np.concatenate([boxes.scores for boxes in frames]),
        f"{prefix}labels": np.concatenate([boxes.labels for boxes in frames]),
    }
