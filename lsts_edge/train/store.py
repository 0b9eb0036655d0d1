"""Every training image in memory as bytes, with its boxes: one look-up gives a batch on the device."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from lsts_edge.errors import AnnotationError
from lsts_edge.evaluation.annotations import AnnotationSet
from lsts_edge.runtime.sources.picture import read_picture

__all__ = ["ImageStore"]

logger = logging.getLogger(__name__)


@dataclass
class ImageStore:
    """All images of some annotation sets, padded to one size at the right and bottom.

    Attributes:
        pixels: ``(N, 3, H, W)`` uint8 in the network's colour order.
        sizes: ``(N, 2)`` float, height and width without padding.
        boxes: ``(N, M, 4)`` float xyxy, edges in pixels of ``pixels``.
        labels: ``(N, M)`` int64, -1 where there is no box.
        ignore: ``(N, M)`` bool.
        trust: ``(N, M)`` float, 0..1: how sure the labeller was.
        source: ``(N,)`` int64, index of its annotation set.
        step: ``(N,)`` int64, frames of the video from one image of its sequence to the next.
        first: ``(N,)`` int64, index of the first image of its sequence.
        last: ``(N,)`` int64, index of the last one.
        drawn: ``(N,)`` bool, whether a batch may be about the image; context of others is not.
        names: name of each sequence by the index of its first image.
    """

    pixels: torch.Tensor
    sizes: torch.Tensor
    boxes: torch.Tensor
    labels: torch.Tensor
    ignore: torch.Tensor
    trust: torch.Tensor
    source: torch.Tensor
    step: torch.Tensor
    first: torch.Tensor
    last: torch.Tensor
    drawn: torch.Tensor
    names: dict[int, str]

    @classmethod
    def load(cls, sets: list[AnnotationSet], *, color_order: str, max_side_px: int) -> ImageStore:
        """Read the images once.

        Args:
            sets: the annotations; they share their classes.
            color_order: ``rgb`` or ``bgr``.
            max_side_px: larger images are reduced to this longer side.

        Raises:
            AnnotationError: if an image cannot be read or has another size than the annotations say.
        """
        records = [record for annotations in sets for record in annotations.images]
        if not records:
            raise AnnotationError("training data", got="no image", expected="at least one", fix="Check --data.")
        scales = [min(1.0, max_side_px / max(r.height_px, r.width_px)) for r in records]
        sizes = [(round(r.height_px * s), round(r.width_px * s)) for r, s in zip(records, scales, strict=True)]
        height, width = max(s[0] for s in sizes), max(s[1] for s in sizes)
        most = max(1, max(len(r.labels) for r in records))
        pixels = np.zeros((len(records), 3, height, width), np.uint8)
        boxes = np.zeros((len(records), most, 4), np.float32)
        labels = np.full((len(records), most), -1, np.int64)
        ignore = np.zeros((len(records), most), bool)
        trust = np.ones((len(records), most), np.float32)
        step = np.ones(len(records), np.int64)
        first = np.zeros(len(records), np.int64)
        last = np.zeros(len(records), np.int64)
        names: dict[int, str] = {}
        start = 0
        for index, (record, size) in enumerate(zip(records, sizes, strict=True)):
            if index and record.video != records[index - 1].video:
                start = index
            names.setdefault(start, record.video)
            first[index] = start
            last[start : index + 1] = index
            image = _read(record.path, (record.height_px, record.width_px))
            if image.shape[:2] != size:
                image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
            if color_order == "rgb":
                image = image[:, :, ::-1]
            pixels[index, :, : size[0], : size[1]] = image.transpose(2, 0, 1)
            count = len(record.labels)
            boxes[index, :count] = record.boxes_xyxy_px * scales[index]
            labels[index, :count] = record.labels
            ignore[index, :count] = record.ignore
            if record.trust is not None:
                trust[index, :count] = record.trust
            if index > start:
                gaps = np.diff([one.frame for one in records[start : index + 1]])
                step[start : index + 1] = max(1, round(float(np.median(gaps))))
        logger.info("%d images of %d sequences at %d x %d", len(records), len(names), width, height)
        return cls(
            pixels=torch.from_numpy(pixels),
            sizes=torch.tensor(sizes, dtype=torch.float32),
            boxes=torch.from_numpy(boxes),
            labels=torch.from_numpy(labels),
            ignore=torch.from_numpy(ignore),
            trust=torch.from_numpy(trust),
            source=torch.tensor([place for place, one in enumerate(sets) for _ in one.images]),
            step=torch.from_numpy(step),
            first=torch.from_numpy(first),
            last=torch.from_numpy(last),
            drawn=torch.tensor([not record.context for record in records]),
            names=names,
        )

    def __len__(self) -> int:
        return len(self.pixels)

    def to(self, device: torch.device) -> ImageStore:
        """The same store with its pixels on a device; batches are planned on the CPU."""
        return replace(self, pixels=self.pixels.to(device))

    def sampling_weights(
        self,
        class_weights: dict[int, float],
        still_fraction: float,
        *,
        shares: Sequence[float] | None = None,
        balance: float = 1.0,
        frames_per_video: int = 0,
        empty: float = 1.0,
    ) -> torch.Tensor:
        """How often each image is drawn: classes even out, then the weights asked for; each source gets its share.

        An image weighs as much as its rarest class (one over the number of images that show it, among those of its
        kind); one that shows none weighs ``empty`` times as much as the commonest class.

        Args:
            class_weights: factor by label; 1 where absent.
            still_fraction: share of the draws that goes to sequences of one image, when there are both kinds.
            shares: of the annotation sets, in their order, instead of ``still_fraction``; their sum is not important.
            balance: 1 draws all classes equally often, 0 as often as they occur.
            frames_per_video: draw from so many images of each sequence, evenly spaced; 0 from all. Context never is.
            empty: of images that show no object.

        Returns:
            ``(N,)`` float probabilities.

        Raises:
            AnnotationError: if nothing is left to draw.
        """
        drawn = self.drawn
        if frames_per_video:
            count = self.drawn.cumsum(0)
            before = count[self.first] - self.drawn[self.first].long()
            place, length = count - 1 - before, (count[self.last] - before).clamp(min=1)
            drawn = drawn & (place * frames_per_video // length > (place - 1) * frames_per_video // length)
        shown = (self.labels >= 0) & ~self.ignore
        classes = int(self.labels.max().item()) + 1
        present = torch.stack([((self.labels == c) & shown).any(1) for c in range(max(1, classes))], dim=1)
        still = self.first == self.last
        total = torch.zeros(len(self))
        kinds = [(still, still_fraction), (~still, 1.0 - still_fraction)]
        if shares is not None:
            kinds = [(self.source == place, share) for place, share in enumerate(shares)]
        for group, share in kinds:
            if not group.any():
                continue
            counts = present[group & drawn].sum(0).clamp(min=1).float()
            factor = torch.tensor([class_weights.get(c, 1.0) for c in range(present.shape[1])])
            rarity = factor / counts**balance
            weight = torch.where(present, rarity, torch.zeros(())).max(1).values
            weight = torch.where(present.any(1), weight, empty * rarity.min()) * (group & drawn)
            if weight.any():
                total += share * weight / weight.sum()
        if not total.any():
            expected = "images with objects"
            raise AnnotationError("training data", got="nothing to draw", expected=expected, fix="Check the options.")
        return total / total.sum()


def _read(path: Path, size: tuple[int, int]) -> np.ndarray:
    image, why = read_picture(path)
    if image is None:
        raise AnnotationError(f"training image {path}", got=why, expected="a readable one", fix="Check the path.")
    if image.shape[:2] != size:
        raise AnnotationError(
            f"training image {path}", got=image.shape[:2], expected=size, fix="Make file and annotations agree."
        )
    return image
