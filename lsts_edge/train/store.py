"""Every training image with its boxes and its place in a sequence: one look-up gives a batch on the device."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from lsts_edge.errors import AnnotationError
from lsts_edge.evaluation.annotations import AnnotationSet
from lsts_edge.train.pixels import FilePixels, MemoryPixels, Pixels, StoredImage, read_stored, reduction

__all__ = ["ImageStore"]

logger = logging.getLogger(__name__)


@dataclass
class ImageStore:
    """All images of some annotation sets, padded to one size at the right and bottom.

    Attributes:
        pixels: the images themselves, in memory or in files.
        sizes: ``(N, 2)`` float, height and width without padding.
        boxes: ``(N, M, 4)`` float xyxy, edges in pixels of ``pixels``.
        labels: ``(N, M)`` int64, -1 where there is no box.
        ignore: ``(N, M)`` bool.
        trust: ``(N, M)`` float, 0..1: how sure the labeller was.
        source: ``(N,)`` int64, index of its annotation set.
        frame: ``(N,)`` int64, which frame of the video an image is.
        first: ``(N,)`` int64, index of the first image of its sequence.
        last: ``(N,)`` int64, index of the last one.
        drawn: ``(N,)`` bool, whether a batch may be about the image; context of others is not.
        names: name of each sequence by the index of its first image.
    """

    pixels: Pixels
    sizes: torch.Tensor
    boxes: torch.Tensor
    labels: torch.Tensor
    ignore: torch.Tensor
    trust: torch.Tensor
    source: torch.Tensor
    frame: torch.Tensor
    first: torch.Tensor
    last: torch.Tensor
    drawn: torch.Tensor
    names: dict[int, str]

    @classmethod
    def load(
        cls,
        sets: list[AnnotationSet],
        *,
        color_order: str,
        max_side_px: int,
        images: Literal["memory", "disk"] = "memory",
    ) -> ImageStore:
        """Read the annotations' images once, or only where they are.

        Args:
            sets: the annotations; they share their classes.
            color_order: ``rgb`` or ``bgr``.
            max_side_px: larger images are reduced to this longer side.
            images: ``memory`` reads all; ``disk`` reads each when it is drawn.

        Raises:
            AnnotationError: if an image cannot be read or has another size than the annotations say.
        """
        records = [record for annotations in sets for record in annotations.images]
        if not records:
            raise AnnotationError("training data", got="no image", expected="at least one", fix="Check --data.")
        scales, sizes = zip(*(reduction((r.height_px, r.width_px), max_side_px) for r in records), strict=True)
        pictures = [
            StoredImage(r.path, (r.height_px, r.width_px), size, color_order)
            for r, size in zip(records, sizes, strict=True)
        ]
        most = max(1, max(len(r.labels) for r in records))
        boxes = np.zeros((len(records), most, 4), np.float32)
        labels = np.full((len(records), most), -1, np.int64)
        ignore = np.zeros((len(records), most), bool)
        trust = np.ones((len(records), most), np.float32)
        videos = [record.video for record in records]
        starts = [0, *(at for at in range(1, len(records)) if videos[at] != videos[at - 1])]
        frame, first, last = (np.zeros(len(records), np.int64) for _ in range(3))
        for start, end in itertools.pairwise((*starts, len(records))):
            first[start:end], last[start:end] = start, end - 1
            frame[start:end] = _frames([record.frame for record in records[start:end]])
        for index, record in enumerate(records):
            count = len(record.labels)
            boxes[index, :count] = record.boxes_xyxy_px * scales[index]
            labels[index, :count] = record.labels
            ignore[index, :count] = record.ignore
            if record.trust is not None:
                trust[index, :count] = record.trust
        logger.info("%d images of %d sequences", len(records), len(starts))
        return cls(
            pixels=FilePixels(pictures) if images == "disk" else _read_all(pictures),
            sizes=torch.tensor(sizes, dtype=torch.float32),
            boxes=torch.from_numpy(boxes),
            labels=torch.from_numpy(labels),
            ignore=torch.from_numpy(ignore),
            trust=torch.from_numpy(trust),
            source=torch.tensor([place for place, one in enumerate(sets) for _ in one.images]),
            frame=torch.from_numpy(frame),
            first=torch.from_numpy(first),
            last=torch.from_numpy(last),
            drawn=torch.tensor([not record.context for record in records]),
            names={start: videos[start] for start in starts},
        )

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> ImageStore:
        """The same store with its pixels on a device; batches are planned on the CPU."""
        return replace(self, pixels=self.pixels.to(device))

    def near(self, index: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
        """Of the same sequence, the stored image nearest to so many frames of the video before each image.

        It is the image itself only where 0 frames were asked for, or the sequence has none on that side.

        Args:
            index: ``(B,)`` images.
            back: ``(B,)`` frames; below 0 they lie after.

        Returns:
            ``(B,)`` int64.
        """
        first, last = self.first[index], self.last[index]
        wanted = (self.frame[index] - back).clamp(self.frame[first], self.frame[last])
        least = self.frame.min()
        span = self.frame.max() - least + 1
        later = torch.searchsorted(self.first * span + self.frame - least, first * span + wanted - least)
        earlier = torch.maximum(later - 1, first)
        found = torch.where(self.frame[later] - wanted < wanted - self.frame[earlier], later, earlier)
        return torch.where(found == index, (index - back.sign()).clamp(first, last), found)

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
            counted = drawn.long().cumsum(0)
            start = counted[self.first] - drawn[self.first].long()  # of those before the sequence
            place, length = counted - start - 1, (counted[self.last] - start).clamp(min=1)
            drawn = drawn & (place * frames_per_video // length > (place - 1) * frames_per_video // length)
        shown = (self.labels >= 0) & ~self.ignore
        classes = int(self.labels.max().item()) + 1
        present = torch.stack([((self.labels == c) & shown).any(1) for c in range(max(1, classes))], dim=1)
        still = self.first == self.last
        total = torch.zeros(len(self))
        kinds = [(still, still_fraction), (~still, 1.0 - still_fraction)]
        if shares is not None:
            kinds = [(self.source == place, share) for place, share in enumerate(shares)]
        for group, share in ((group & drawn, share) for group, share in kinds):
            if not group.any():
                continue
            counts = present[group].sum(0).clamp(min=1).float()
            factor = torch.tensor([class_weights.get(c, 1.0) for c in range(present.shape[1])])
            rarity = factor / counts**balance
            weight = torch.where(present, rarity, torch.zeros(())).max(1).values
            weight = torch.where(present.any(1), weight, empty * rarity.min()) * group
            if weight.any():
                total += share * weight / weight.sum()
        if not total.any():
            expected = "images with objects"
            raise AnnotationError("training data", got="nothing to draw", expected=expected, fix="Check the options.")
        return total / total.sum()


def _frames(numbers: list[int]) -> np.ndarray:
    """Numbers of a sequence's frames; positions where the annotations do not number them."""
    frames = np.array(numbers, np.int64)
    return frames if (np.diff(frames) > 0).all() else np.arange(len(frames))


def _read_all(pictures: list[StoredImage]) -> MemoryPixels:
    size = [max(one.stored_px[axis] for one in pictures) for axis in (0, 1)]
    pixels = np.zeros((len(pictures), 3, *size), np.uint8)
    for place, picture in enumerate(pictures):
        image = read_stored(picture)
        pixels[place, :, : image.shape[1], : image.shape[2]] = image
    return MemoryPixels(torch.from_numpy(pixels))
