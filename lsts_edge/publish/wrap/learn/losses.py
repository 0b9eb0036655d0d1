"""How far propagated maps are from the detector's own on the same frame."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from lsts_edge.publish.wrap.learn.layout import DenseLayout

__all__ = ["distillation_loss"]

_SEEN = 0.05  # boxes of a lower score are nothing to learn
_BRIGHT = 0.1  # cells of a higher score count twice
_WEIGHTS = {"background": 0.5, "classes": 1.0, "boxes": 3.0}


def distillation_loss(
    layout: DenseLayout, found: Sequence[Sequence[torch.Tensor]], wanted: Sequence[Sequence[torch.Tensor]]
) -> tuple[torch.Tensor, dict[str, float]]:
    """Scores by cross entropy above that of the target itself, boxes by generalised IoU; by the weight of what is seen.

    Args:
        layout: of the maps.
        found: maps of each frame, by level, ``(B, F, h, w)``.
        wanted: the detector's.

    Returns:
        The loss, and its parts.
    """
    sums = {name: torch.zeros((), device=found[0][0].device) for name in (*_WEIGHTS, "seen")}
    for frame, target in zip(found, wanted, strict=True):
        for one, other in zip(frame, target, strict=True):
            for name, value in _level(layout, one, other).items():
                sums[name] = sums[name] + value
    seen = sums.pop("seen").clamp(min=1.0)
    parts = {name: value / seen for name, value in sums.items()}
    loss = torch.stack([_WEIGHTS[name] * value for name, value in parts.items()]).sum()
    return loss, {name: float(value.detach()) for name, value in parts.items()}


def _level(layout: DenseLayout, found: torch.Tensor, wanted: torch.Tensor) -> dict[str, torch.Tensor]:
    shift = torch.as_tensor(layout.shift, device=found.device)[:, None, None]
    first = layout.box_numbers
    mine, its = (value[:, first:] - shift[first:] for value in (found, wanted))
    chance = its.sigmoid()
    excess = _entropy(mine, chance) - _entropy(its, chance)
    if layout.objectness:
        object_, classes = chance[:, 0], chance[:, 1:]
        score = object_ * classes.amax(dim=1)
        background = (excess[:, 0] * (1 + (object_ > _BRIGHT))).sum()
        of_classes = (excess[:, 1:].sum(dim=1) * object_ * (object_ > _SEEN)).sum()
    else:
        score = chance.amax(dim=1)
        background = (excess * (1 + (chance > _BRIGHT))).sum()
        of_classes = (excess.sum(dim=1) * score * (score > _SEEN)).sum()
    weight = score * (score > _SEEN)
    overlap = _generalised_iou(_sides(layout, found[:, :first]), _sides(layout, wanted[:, :first]))
    boxes = ((1 - overlap) * weight).sum()
    return {"background": background, "classes": of_classes, "boxes": boxes, "seen": weight.sum()}


def _entropy(logits: torch.Tensor, chance: torch.Tensor) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(logits, chance, reduction="none")


def _sides(layout: DenseLayout, numbers: torch.Tensor) -> torch.Tensor:
    """``(4, B, h, w)``: left, top, right, bottom in strides from the cell's point."""
    if layout.spec.box_form == "cells":
        middle, half = numbers[:, :2], numbers[:, 2:].clamp(-6, 5).exp() / 2
        return torch.cat((middle - half, middle + half), dim=1).transpose(0, 1)
    bins = layout.spec.bins
    chances = numbers.view(len(numbers), 4, bins, *numbers.shape[2:]).softmax(dim=2)
    mean = (chances * torch.arange(bins, device=numbers.device)[:, None, None]).sum(dim=2)
    return torch.cat((-mean[:, :2], mean[:, 2:]), dim=1).transpose(0, 1)


def _generalised_iou(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    low, high = torch.maximum(first[:2], second[:2]), torch.minimum(first[2:], second[2:])
    common = (high - low).clamp(min=0).prod(dim=0)
    total = (first[2:] - first[:2]).prod(dim=0) + (second[2:] - second[:2]).prod(dim=0) - common
    around = (torch.maximum(first[2:], second[2:]) - torch.minimum(first[:2], second[:2])).prod(dim=0)
    return common / total.clamp(min=1e-6) - (around - total) / around.clamp(min=1e-6)
