"""The detection head: region proposals from the first channels of the task feature, R-FCN from the last."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from lsts_edge.model.boxes import anchor_boxes, clip_boxes, decode_boxes, grid_anchors, nms, overlaps, suppress
from lsts_edge.model.pooling import position_sensitive_pool
from lsts_edge.presets import HeadPreset

__all__ = ["HeadMaps", "RfcnHead"]

_BOX_CLASSES = 2  # class-agnostic boxes: background and object, the object's are used


@dataclass(frozen=True)
class HeadMaps:
    """What the head's convolutions give for a batch.

    Attributes:
        rpn_logits: ``(N, 2 * A, H, W)``: A background scores, then A object scores.
        rpn_deltas: ``(N, 4 * A, H, W)``, channel ``anchor * 4 + coordinate``, divided by ``rpn_box_std``.
        class_maps: ``(N, (classes + 1) * bins^2, H, W)``, background first.
        box_maps: ``(N, 8 * bins^2, H, W)``, divided by ``box_std``.
    """

    rpn_logits: torch.Tensor
    rpn_deltas: torch.Tensor
    class_maps: torch.Tensor
    box_maps: torch.Tensor


class RfcnHead(nn.Module):
    """RPN and R-FCN of the released code, for any width, classes, anchors and number of bins.

    Args:
        preset: sizes, anchors and thresholds.
        stride: pixels per cell of the task feature.
    """

    anchors: torch.Tensor

    def __init__(self, preset: HeadPreset, stride: int = 16) -> None:
        super().__init__()
        self.preset = preset
        self.stride = stride
        anchors = anchor_boxes(preset.anchor_base_px, preset.anchor_ratios, preset.anchor_scales)
        self.register_buffer("anchors", anchors, persistent=False)  # values, also where parameters have no storage
        cells = preset.bins * preset.bins
        self.rpn_score = nn.Conv2d(preset.rpn_channels, 2 * len(anchors), 1)
        self.rpn_box = nn.Conv2d(preset.rpn_channels, 4 * len(anchors), 1)
        self.class_maps = nn.Conv2d(preset.rfcn_channels, (len(preset.classes) + 1) * cells, 1)
        self.box_maps = nn.Conv2d(preset.rfcn_channels, 4 * _BOX_CLASSES * cells, 1)

    def maps(self, task: torch.Tensor) -> HeadMaps:
        """Run the four 1x1 convolutions on a task feature ``(N, C, H, W)``."""
        first = task[:, : self.preset.rpn_channels]
        last = task[:, task.shape[1] - self.preset.rfcn_channels :]
        return HeadMaps(self.rpn_score(first), self.rpn_box(first), self.class_maps(last), self.box_maps(last))

    def anchor_margins(self, maps: HeadMaps) -> torch.Tensor:
        """``(N, H * W * A)`` object minus background logit: ranks as ``anchor_scores``, also where those are all 1."""
        batch, _, height, width = maps.rpn_logits.shape
        pair = maps.rpn_logits.view(batch, 2, -1, height, width)
        return (pair[:, 1] - pair[:, 0]).permute(0, 2, 3, 1).reshape(batch, -1)

    def anchor_scores(self, maps: HeadMaps) -> torch.Tensor:
        """``(N, H * W * A)`` probability that an anchor holds an object."""
        return self.anchor_margins(maps).sigmoid()

    def anchor_deltas(self, maps: HeadMaps) -> torch.Tensor:
        """``(N, H * W * A, 4)`` deltas, still divided by ``rpn_box_std``."""
        batch, channels, height, width = maps.rpn_deltas.shape
        return maps.rpn_deltas.view(batch, channels // 4, 4, height, width).permute(0, 3, 4, 1, 2).reshape(batch, -1, 4)

    def all_anchors(self, maps: HeadMaps) -> torch.Tensor:
        """``(H * W * A, 4)`` anchors in the order of ``anchor_scores``."""
        height, width = maps.rpn_logits.shape[2:]
        return grid_anchors(self.anchors, height, width, self.stride)

    @torch.no_grad()
    def propose(self, maps: HeadMaps, height_px: int, width_px: int, *, fill: bool = False) -> torch.Tensor:
        """Proposals of every image of the batch.

        Decode, clip to the image, keep the best ``rpn_pre_nms``, suppress at ``rpn_nms_iou``, keep the best
        ``rpn_post_nms``; no minimum size.

        Args:
            maps: output of ``maps``.
            height_px: height of the network input.
            width_px: width of the network input.
            fill: repeat the survivors from the start until there are ``rpn_post_nms`` (what the reference does).

        Returns:
            ``(R, 5)``: image of the batch, then xyxy in pixels; images in order, best first.
        """
        preset = self.preset
        # Many probabilities are exactly 1 in float32, and which ones differs from engine to engine.
        scores = self.anchor_margins(maps)
        deltas = self.anchor_deltas(maps) * scores.new_tensor(preset.rpn_box_std)
        boxes = clip_boxes(decode_boxes(self.all_anchors(maps), deltas), height_px, width_px)
        rois = []
        for image in range(len(scores)):
            order = scores[image].sort(descending=True, stable=True).indices[: preset.rpn_pre_nms]
            ranked = boxes[image, order]
            ranked = ranked[nms(ranked, preset.rpn_nms_iou, preset.rpn_post_nms)]
            if fill:
                ranked = ranked[torch.arange(preset.rpn_post_nms, device=ranked.device) % len(ranked)]
            rois.append(torch.cat((ranked.new_full((len(ranked), 1), float(image)), ranked), dim=1))
        return torch.cat(rois)

    def classify(self, maps: HeadMaps, rois: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Vote of the 49 bins for each RoI.

        Args:
            maps: output of ``maps``.
            rois: ``(R, 5)``.

        Returns:
            Class logits ``(R, classes + 1)``, background first, and deltas ``(R, 8)``: background's four, the
            object's four, still divided by ``box_std``.
        """
        bins = self.preset.bins
        both = torch.cat((maps.class_maps, maps.box_maps), dim=1)
        votes = position_sensitive_pool(both, rois, bins=bins, stride=self.stride).mean(dim=(2, 3))
        return votes[:, : len(self.preset.classes) + 1], votes[:, len(self.preset.classes) + 1 :]

    def refine(self, rois: torch.Tensor, deltas: torch.Tensor, height_px: int, width_px: int) -> torch.Tensor:
        """RoIs moved by the object's deltas and clipped: ``(R, 4)`` xyxy."""
        moved = decode_boxes(rois[:, 1:], deltas[:, 4:] * deltas.new_tensor(self.preset.box_std))
        return clip_boxes(moved, height_px, width_px)

    @torch.no_grad()
    def select(
        self, boxes: torch.Tensor, probabilities: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Score floor, best ``max_candidates`` pairs of box and class, suppression per class, best ``max_detections``.

        Args:
            boxes: ``(R, 4)``.
            probabilities: ``(R, classes + 1)``, background first.

        Returns:
            Boxes, scores and labels as ``interfaces.Head.detect`` returns them.
        """
        preset = self.preset
        scores = probabilities[:, 1:].T  # (classes, R)
        order = scores.sort(dim=1, descending=True, stable=True).indices
        ranked = scores.gather(1, order)
        beats = overlaps(boxes, boxes) > preset.nms_iou
        candidates = ranked > preset.score_floor
        if scores.numel() > preset.max_candidates:
            candidates &= ranked >= scores.flatten().topk(preset.max_candidates).values[-1]
        keep = suppress(beats[order[:, :, None], order[:, None, :]], candidates)
        labels, position = keep.nonzero(as_tuple=True)
        kept = ranked[labels, position]
        best = kept.sort(descending=True, stable=True).indices[: preset.max_detections]
        labels, position = labels[best], position[best]
        return boxes[order[labels, position]], kept[best], labels

    @torch.no_grad()
    def detect(
        self, task: torch.Tensor, height_px: int, width_px: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Final detections of one image; see ``interfaces.Head``."""
        maps = self.maps(task)
        rois = self.propose(maps, height_px, width_px)
        logits, deltas = self.classify(maps, rois)
        return self.select(self.refine(rois, deltas, height_px, width_px), logits.softmax(dim=1))
