"""RPN and R-FCN losses of a batch: anchor targets, proposals, hard examples; ignore boxes count on neither side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from lsts_edge.errors import OptionError
from lsts_edge.kinds import check_fields
from lsts_edge.model.boxes import clip_boxes, decode_boxes, encode_boxes, overlaps, suppress
from lsts_edge.model.rfcn import HeadMaps, RfcnHead
from lsts_edge.train.processes import ALONE, Processes

__all__ = ["DetectionLoss", "LossOptions", "Truth", "batched_proposals", "covered_by", "match"]

_NO_BOX = -1.0  # every overlap is larger, so that no box is never the best
_NO_COST = -1.0  # every cost is larger, so that what does not count is kept only where too little does


@dataclass(frozen=True)
class LossOptions:
    """Numbers of the released training, with the counts as options for small networks.

    Attributes:
        rpn_batch: anchors per image that count.
        rpn_positive: overlap from which an anchor is an object; the best anchors of each box always are.
        rpn_negative: overlap under which it is background.
        proposals: proposals per image, before the true boxes are added.
        jittered: moved copies of each true box that are added as proposals.
        positive: overlap from which a proposal is an object.
        hard: proposals per image kept by online hard-example mining.
        mined: among the proposals of the ``batch``, so many per image on average, or of each ``image``, as released.
        ignore_cover: share of an anchor or proposal inside an ignore box from which it is no background.
        label_smoothing: of the class targets.
    """

    rpn_batch: int = 256
    rpn_positive: float = 0.7
    rpn_negative: float = 0.3
    proposals: int = 128
    jittered: int = 4
    positive: float = 0.5
    hard: int = 48
    mined: Literal["batch", "image"] = "batch"
    ignore_cover: float = 0.5
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("rpn_batch", "proposals", "hard"):
            value = getattr(self, name)
            if value < 1:
                raise OptionError(f"loss: {name}", got=value, expected=">= 1", fix="Correct it.")
        if not 0 < self.rpn_negative <= self.rpn_positive < 1:
            got = (self.rpn_negative, self.rpn_positive)
            raise OptionError("loss: RPN overlaps", got=got, expected="0 < negative <= positive < 1", fix="Correct it.")


@dataclass(frozen=True)
class Truth:
    """What a batch of images shows.

    Attributes:
        boxes: ``(N, M, 4)`` xyxy, inclusive corners, network pixels: boxes that must be found.
        labels: ``(N, M)`` int64, -1 where there is no box.
        hidden: ``(N, K, 4)`` ignore boxes.
        is_hidden: ``(N, K)`` bool, which of them are real.
        trust: ``(N, M)`` 0..1, what an object's losses are weighted by.
    """

    boxes: torch.Tensor
    labels: torch.Tensor
    hidden: torch.Tensor
    is_hidden: torch.Tensor
    trust: torch.Tensor

    @classmethod
    def of(
        cls, boxes: torch.Tensor, labels: torch.Tensor, ignore: torch.Tensor, trust: torch.Tensor | None = None
    ) -> Truth:
        """From the padded lists of a ``Batch`` frame, without their empty columns."""
        objects = (labels >= 0) & ~ignore
        hidden = (labels >= 0) & ignore
        found = _columns(objects)
        away = _columns(hidden)
        kept = torch.where(objects, labels, -1).gather(1, found)
        sure = torch.ones_like(boxes[..., 0]) if trust is None else trust
        return cls(_take(boxes, found), kept, _take(boxes, away), hidden.gather(1, away), sure.gather(1, found))

    def rows(self, processes: Processes) -> Truth:
        """One process's images of these, with as many columns."""
        return Truth(*(processes.rows(value) for value in vars(self).values()))

    @property
    def objects(self) -> torch.Tensor:
        """``(N, M)`` bool: which boxes are real."""
        return self.labels >= 0


class DetectionLoss:
    """The four losses of one batch.

    With several processes each gives its images' part of a loss: counts are those of the whole batch, the hard examples
    are mined among all images of it, and the parts' sum is the loss.

    Args:
        head: the network's head.
        options: counts and overlaps.
        processes: that share the batch; each has as many images.
    """

    def __init__(self, head: RfcnHead, options: LossOptions | None = None, processes: Processes = ALONE) -> None:
        self.head = head
        self.options = options or LossOptions()
        self.processes = processes

    def __call__(
        self, maps: HeadMaps, truth: Truth, size: tuple[int, int], generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """Losses by name (``rpn_class``, ``rpn_box``, ``class``, ``box``), each a scalar.

        Args:
            maps: what the head's convolutions gave, ``(N, ...)``.
            truth: boxes of the same N images.
            size: height and width of the images.
            generator: for the random choices, on the CPU.
        """
        maps = HeadMaps(*(value.float() for value in vars(maps).values()))
        losses = self._rpn(maps, truth, generator)
        rois, valid = self._rois(maps, truth, size, generator)
        losses.update(self._rfcn(maps, truth, rois, valid))
        return losses

    def _rpn(self, maps: HeadMaps, truth: Truth, generator: torch.Generator) -> dict[str, torch.Tensor]:
        head, options = self.head, self.options
        anchors = head.all_anchors(maps)
        deltas = head.anchor_deltas(maps)
        batch = len(deltas)
        pair = maps.rpn_logits.view(batch, 2, -1, *maps.rpn_logits.shape[2:])
        logit = (pair[:, 1] - pair[:, 0]).permute(0, 2, 3, 1).reshape(batch, -1)
        with torch.no_grad():
            iou = match(anchors, truth.boxes, truth.objects)  # (N, A, M)
            best, which = iou.max(2)
            top = iou.amax(1, keepdim=True)
            is_top = ((iou >= top - 1e-4) & (top > 0.05)).any(2)
            positive = (best >= options.rpn_positive) | is_top
            # An anchor that is some box's best belongs to that box, even if another one covers it more.
            owner = torch.where((iou >= top - 1e-4) & (top > 0.05), iou, _NO_BOX).argmax(2)
            which = torch.where(is_top, owner, which)
            hidden = covered_by(anchors, truth.hidden, truth.is_hidden) >= options.ignore_cover
            negative = (best < options.rpn_negative) & ~hidden & ~positive
            positive = self._choose(positive, options.rpn_batch // 2, generator)
            room = options.rpn_batch - positive.sum(1, keepdim=True)
            negative = self._choose(negative, room, generator)
            target = _take(truth.boxes, which)
            wanted = encode_boxes(anchors, target) / deltas.new_tensor(head.preset.rpn_box_std)
            weight = torch.where(positive, truth.trust.gather(1, which), 1.0)
        counted = positive | negative
        class_loss = F.binary_cross_entropy_with_logits(logit, positive.float(), reduction="none")
        box_loss = F.smooth_l1_loss(deltas, wanted, reduction="none").sum(2)
        total = self.processes.sum(counted.sum()).clamp(min=1)
        return {
            "rpn_class": (class_loss * weight * counted).sum() / total,
            "rpn_box": torch.where(positive, box_loss * weight, 0.0).sum() / total,
        }

    @torch.no_grad()
    def _rois(
        self, maps: HeadMaps, truth: Truth, size: tuple[int, int], generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Proposals, true boxes and moved copies of them: ``(N, R, 4)`` and which of them are real."""
        boxes, valid = batched_proposals(self.head, maps, size, self.options.proposals)
        side = (truth.boxes[..., 2:] - truth.boxes[..., :2] + 1).repeat(1, 1, 2)
        parts, masks = [boxes, truth.boxes], [valid, truth.objects]
        for _ in range(self.options.jittered):
            noise = self.processes.normal(*truth.boxes.shape, generator=generator, device=boxes.device)
            parts.append(clip_boxes(truth.boxes + 0.12 * noise * side, *size))
            masks.append(truth.objects)
        rois, real = torch.cat(parts, dim=1), torch.cat(masks, dim=1)
        return rois, real & (rois[..., 2:] >= rois[..., :2]).all(-1)

    def _rfcn(self, maps: HeadMaps, truth: Truth, rois: torch.Tensor, valid: torch.Tensor) -> dict[str, torch.Tensor]:
        head, options = self.head, self.options
        with torch.no_grad():
            best, which = match(rois, truth.boxes, truth.objects).max(2)
            positive = (best >= options.positive) & valid
            hidden = covered_by(rois, truth.hidden, truth.is_hidden) >= options.ignore_cover
            counted = valid & (positive | ~hidden)
            label = torch.where(positive, truth.labels.gather(1, which) + 1, 0)
            weight = torch.where(positive, truth.trust.gather(1, which), 1.0)[counted]
            image, _ = counted.nonzero(as_tuple=True)
            chosen = rois[counted]
            label, positive = label[counted], positive[counted]
            wanted = encode_boxes(chosen, _take(truth.boxes, which)[counted]) / rois.new_tensor(head.preset.box_std)
        logits, deltas = head.classify(maps, torch.cat((image[:, None].to(chosen.dtype), chosen), dim=1))
        class_loss = F.cross_entropy(logits, label, reduction="none", label_smoothing=options.label_smoothing)
        box_loss = F.smooth_l1_loss(deltas[:, 4:], wanted, reduction="none").sum(1)
        class_loss, box_loss = class_loss * weight, torch.where(positive, box_loss * weight, 0.0)
        hard = self._hardest((class_loss + box_loss).detach(), counted)
        total = self.processes.sum(hard.sum()).clamp(min=1)
        return {"class": (class_loss * hard).sum() / total, "box": (box_loss * hard).sum() / total}

    @torch.no_grad()
    def _hardest(self, cost: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
        """Which of the counted proposals are kept.

        Args:
            cost: ``(C,)`` of those that count.
            counted: ``(N, R)`` bool.

        Returns:
            ``(C,)`` bool.
        """
        costs = torch.full(counted.shape, _NO_COST, device=cost.device)
        costs[counted] = cost
        if self.options.mined == "image":
            kept = torch.zeros_like(counted)
            kept.scatter_(1, costs.topk(min(counted.shape[1], self.options.hard), dim=1).indices, True)
            return kept[counted]
        everywhere = self.processes.gather(costs.flatten())  # (P, N * R)
        keep = min(everywhere.numel(), self.options.hard * len(counted) * self.processes.count)
        hardest = torch.zeros_like(everywhere, dtype=torch.bool)
        hardest.view(-1)[everywhere.flatten().topk(keep).indices] = True
        return hardest[self.processes.rank].view(counted.shape)[counted]

    def _choose(self, candidates: torch.Tensor, count: int | torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """A random ``count`` of each row's candidates (``(N, A)`` bool), or all if there are fewer."""
        key = self.processes.uniform(*candidates.shape, generator=generator, device=candidates.device)
        key = torch.where(candidates, key, 2.0)
        rank = key.argsort(1).argsort(1)
        return candidates & (rank < count)


def match(boxes: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """IoU of ``boxes`` ``(P, 4)`` or ``(N, P, 4)`` with ``truth (N, M, 4)``: ``(N, P, M)``; below 0 where not valid."""
    return torch.where(valid[:, None, :], overlaps(boxes, truth), _NO_BOX)


def covered_by(boxes: torch.Tensor, regions: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Largest share of each box's own area inside one of the regions ``(N, M, 4)``: ``(N, P)``."""
    low = torch.maximum(boxes[..., :, None, :2], regions[:, None, :, :2])
    high = torch.minimum(boxes[..., :, None, 2:], regions[:, None, :, 2:])
    inter = (high - low + 1).clamp(min=0).prod(-1)
    area = (boxes[..., 2:] - boxes[..., :2] + 1).clamp(min=1e-3).prod(-1)
    return torch.where(valid[:, None, :], inter / area[..., None], 0.0).amax(2)


@torch.no_grad()
def batched_proposals(
    head: RfcnHead, maps: HeadMaps, size: tuple[int, int], count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """``RfcnHead.propose`` for all images at once.

    Args:
        head: anchors, thresholds.
        maps: output of ``head.maps``.
        size: height and width of the images.
        count: proposals per image.

    Returns:
        ``(N, count, 4)`` best first, and ``(N, count)`` bool: which are real (the others repeat the first).
    """
    preset = head.preset
    scores = head.anchor_scores(maps)
    pool = min(scores.shape[1], max(preset.rpn_pre_nms, count))
    order = scores.topk(pool, dim=1).indices
    deltas = _take(head.anchor_deltas(maps), order) * scores.new_tensor(preset.rpn_box_std)
    # A wild delta early in training must not become infinity.
    deltas = torch.cat((deltas[..., :2], deltas[..., 2:].clamp(max=4.0)), dim=-1)
    boxes = clip_boxes(decode_boxes(head.all_anchors(maps)[order], deltas), *size)
    keep = suppress(overlaps(boxes, boxes) > preset.rpn_nms_iou, torch.ones_like(order, dtype=torch.bool))
    rank = torch.where(keep, torch.arange(pool, device=keep.device), pool)
    first = rank.topk(min(count, pool), dim=1, largest=False).values
    valid = first < pool
    return _take(boxes, torch.where(valid, first, 0)), valid


def _columns(real: torch.Tensor) -> torch.Tensor:
    """Per row the columns that are real, first; as many columns as the fullest row has, at least one."""
    most = max(1, int(real.sum(1).max()))
    return real.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]


def _take(rows: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """``rows (N, M, 4)`` by ``index (N, P)``: ``(N, P, 4)``."""
    return rows.gather(1, index[..., None].expand(-1, -1, rows.shape[2]))
