"""What a frozen backbone gives for every frame of an annotation set, kept on disk: computed once, trained on often."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from lsts_edge.boxes import Boxes
from lsts_edge.bundle.manifest import InputInfo
from lsts_edge.errors import FileUnwritable
from lsts_edge.evaluation.annotations import AnnotationSet, ImageRecord
from lsts_edge.evaluation.bundles import read_image
from lsts_edge.model.network import Normalize, VideoNetwork
from lsts_edge.progress import Progress, silent
from lsts_edge.runtime.preprocess import Preprocessor
from lsts_edge.train.absorb import absorb_batch_norms, release_batch_norms

__all__ = ["FrozenFeatures", "cache_features", "part_of"]

_FORMAT = 1


@dataclass(frozen=True)
class FrozenFeatures:
    """Features and truth of N frames, sorted by sequence and frame; mirrored ones follow as sequences of their own.

    Attributes:
        low: ``(N, L, h', w')`` float16, the low-level feature.
        heavy: ``(N, C, h, w)`` float16, the keyframe feature.
        pixels: ``(N, H, W, 3)`` uint8 BGR, the network's image.
        boxes: ``(N, M, 4)`` float32 xyxy, network pixels, inclusive corners.
        labels: ``(N, M)`` int64, -1 where there is no box.
        ignore: ``(N, M)`` bool.
        first: ``(N,)`` int64, index of the first frame of its sequence.
        last: ``(N,)`` int64, index of the last one.
        records: of the frames that are not mirrored, which come first.
    """

    low: np.ndarray
    heavy: np.ndarray
    pixels: np.ndarray
    boxes: torch.Tensor
    labels: torch.Tensor
    ignore: torch.Tensor
    first: torch.Tensor
    last: torch.Tensor
    records: tuple[ImageRecord, ...]

    def __len__(self) -> int:
        return len(self.low)

    def high(self, network: VideoNetwork, index: torch.Tensor) -> torch.Tensor:
        """The light path's feature of some frames ``(B, C, h, w)``; gradients reach Transform, not the backbone.

        At half size the low part runs on the kept pixels: the cached feature is of the full-size image.

        Args:
            network: with the backbone that the features come from.
            index: ``(B,)`` of frames.
        """
        size = network.preset.input
        if network.preset.light_scale == 1.0:
            return network.high(part_of(self.low, index), (size.height_px, size.width_px))
        with torch.no_grad():
            image = Normalize(size)(torch.from_numpy(self.pixels[index.numpy()]))
            shrunk = network.shrink(image.contiguous(memory_format=torch.channels_last))
            low = network.low(shrunk)
        return network.high(low, shrunk.shape[2:])


def part_of(array: np.ndarray, index: torch.Tensor) -> torch.Tensor:
    """Some rows of a cached array in float32."""
    rows = torch.from_numpy(np.asarray(array[index.numpy()], np.float32))
    return rows.contiguous(memory_format=torch.channels_last)


def cache_features(
    network: VideoNetwork,
    annotations: AnnotationSet,
    folder: Path,
    *,
    weights_sha256: str,
    mirrored: bool,
    batch: int = 8,
    progress: Progress = silent,
) -> FrozenFeatures:
    """Features of every frame: read if they are there, else computed; an interrupted run goes on where it was.

    Args:
        network: whose backbone is frozen; on the CPU, in float32.
        annotations: sequences of frames.
        folder: where to keep them; made if missing. Each network and annotation set has its own subfolder.
        weights_sha256: of the checkpoint, which tells networks apart.
        mirrored: every frame again, mirrored.
        batch: frames at a time.
        progress: told of frames done and frames in all.
    Raises:
        FileUnwritable: if the folder does not take them.
    """
    size = network.preset.input
    prepare = Preprocessor(InputInfo.of(size))
    jobs = [(record, False) for record in annotations.images]
    jobs += [(record, True) for record in annotations.images] if mirrored else []
    place = folder / _key(network, annotations, weights_sha256, mirrored)
    shapes = _shapes(network, len(jobs))
    try:
        place.mkdir(parents=True, exist_ok=True)
        arrays = {name: _array(place / f"{name}.npy", *shape) for name, shape in shapes.items()}
        done_file = place / "done.json"
        done = json.loads(done_file.read_text())["frames"] if done_file.exists() else 0
        if done < len(jobs):
            absorb_batch_norms(network.backbone)
            normalize = Normalize(size)
            with torch.inference_mode():
                for start in range(done, len(jobs), batch):
                    part = jobs[start : start + batch]
                    images = np.concatenate([prepare(_frame(*job))[0].copy() for job in part])
                    image = normalize(torch.from_numpy(images)).contiguous(memory_format=torch.channels_last)
                    low = network.low(image)
                    arrays["pixels"][start : start + len(part)] = images
                    arrays["low"][start : start + len(part)] = low.numpy()
                    arrays["heavy"][start : start + len(part)] = network.backbone.rest(low).numpy()  # type: ignore[operator]
                    _note(done_file, start + len(part))
                    progress("frames", start + len(part), len(jobs))
            release_batch_norms(network.backbone)
    except OSError as error:
        fix = "Choose another folder, or free space."
        raise FileUnwritable(
            f"cached features {place}", got=error.strerror or str(error), expected="space for them", fix=fix
        ) from error
    facts: dict[str, Any] = {**arrays, **_truth(jobs, prepare)}
    return FrozenFeatures(**facts, records=annotations.images)


def _key(network: VideoNetwork, annotations: AnnotationSet, weights_sha256: str, mirrored: bool) -> str:
    size = network.preset.input
    names = [f"{record.video}/{record.frame}/{record.path.name}" for record in annotations.images]
    told = json.dumps([_FORMAT, weights_sha256, size.height_px, size.width_px, size.resize, mirrored, names])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _shapes(network: VideoNetwork, frames: int) -> dict[str, tuple[tuple[int, ...], type]]:
    size, backbone = network.preset.input, network.preset.backbone

    def cells(stride: int) -> tuple[int, int]:
        return -(-size.height_px // stride), -(-size.width_px // stride)

    return {
        "low": ((frames, backbone.low_channels, *cells(backbone.low_stride)), np.float16),
        "heavy": ((frames, backbone.feature_channels, *cells(backbone.stride)), np.float16),
        "pixels": ((frames, size.height_px, size.width_px, 3), np.uint8),
    }


def _array(path: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    if path.exists():
        return np.lib.format.open_memmap(path, mode="r+")
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)


def _note(path: Path, frames: int) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"frames": frames}))
    os.replace(part, path)


def _frame(record: ImageRecord, mirrored: bool) -> np.ndarray:
    image = read_image(record)
    return np.ascontiguousarray(cv2.flip(image, 1)) if mirrored else image


def _truth(jobs: list[tuple[ImageRecord, bool]], prepare: Preprocessor) -> dict[str, torch.Tensor]:
    most = max(1, max(len(record.labels) for record, _ in jobs))
    boxes = np.zeros((len(jobs), most, 4), np.float32)
    labels = np.full((len(jobs), most), -1, np.int64)
    ignore = np.zeros((len(jobs), most), bool)
    first, last = np.zeros((2, len(jobs)), np.int64)
    start = 0
    for index, (record, mirrored) in enumerate(jobs):
        if index and (record.video, mirrored) != (jobs[index - 1][0].video, jobs[index - 1][1]):
            start = index
        first[index] = start
        last[start : index + 1] = index
        geometry = prepare.geometry(record.height_px, record.width_px)
        own = record.boxes_xyxy_px.astype(np.float32)
        if mirrored:
            own = np.stack((record.width_px - own[:, 2], own[:, 1], record.width_px - own[:, 0], own[:, 3]), axis=1)
        scale = np.array([geometry.scale_x, geometry.scale_y] * 2, np.float32)
        shift = np.array([geometry.left_px, geometry.top_px] * 2, np.float32)
        count = len(record.labels)
        placed = Boxes(own * scale + shift, np.ones(count, np.float32), record.labels)
        boxes[index, :count] = placed.with_corners("inclusive").xyxy_px
        labels[index, :count] = record.labels
        ignore[index, :count] = record.ignore
    arrays = {"boxes": boxes, "labels": labels, "ignore": ignore, "first": first, "last": last}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
