"""Learnable spatio-temporal sampling in torch: the tap rule of the deployed op, with gradients into the offsets."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import nn

from lsts_edge.errors import ShapeError
from lsts_edge.presets import LstsPreset

__all__ = ["LstsAlignment", "differentiable_taps", "initial_offsets", "lsts_align"]


def initial_offsets(preset: LstsPreset, seed: int = 0) -> torch.Tensor:
    """``(K, 2)`` float32 offsets, ``(x, y)`` in cells: drawn from N(0, spread^2), or a grid of that step."""
    if preset.init == "uniform":
        half = round(preset.locations**0.5) // 2
        side = torch.arange(-half, half + 1, dtype=torch.float32, device="cpu")
        y, x = torch.meshgrid(side, side, indexing="ij")
        return preset.spread_cells * torch.stack((x.flatten(), y.flatten()), dim=1)
    generator = torch.Generator("cpu").manual_seed(seed)
    return preset.spread_cells * torch.randn(preset.locations, 2, generator=generator, device="cpu")


def differentiable_taps(offsets: torch.Tensor, height: int, width: int) -> tuple[list[tuple[int, int]], torch.Tensor]:
    """Factor K fractional offsets into the integer shifts they share, weights differentiable.

    ``bilinear(F, p0 + offset_k) = sum_u blend[k, u] F(p0 + tap_u)``. The floor carries no gradient; the four
    weights do, so at an integer offset the derivative is the one from the right.

    Args:
        offsets: ``(K, 2)`` float, ``(x, y)`` in cells. A non-finite one gets a row of zeros.
        height: rows of the map; taps that leave the map from every position are dropped.
        width: columns of the map.

    Returns:
        The taps as U pairs ``(x, y)`` of ints, and ``blend (K, U)`` on the offsets' device and dtype.

    Raises:
        ShapeError: if ``offsets`` is not ``(K, 2)``.
    """
    if offsets.ndim != 2 or offsets.shape[1] != 2:
        raise ShapeError("offsets", got=tuple(offsets.shape), expected="(K, 2)", fix="Pass (x, y) pairs in cells.")
    reach = torch.tensor((width, height), device=offsets.device, dtype=offsets.dtype)
    # NaN fails the comparison, so nothing is cast to an integer before it is known to be in range.
    inside = (offsets.detach().abs() < reach).all(dim=1, keepdim=True)
    offsets = torch.where(inside, offsets, torch.zeros_like(offsets))
    base = offsets.detach().floor()
    fraction = offsets - base
    corners = torch.tensor(((0, 0), (1, 0), (0, 1), (1, 1)), device=offsets.device)
    shifts = base.to(torch.int64)[:, None, :] + corners  # (K, 4, 2)
    part = torch.where(corners.bool(), fraction[:, None, :], 1 - fraction[:, None, :])
    weights = part.prod(dim=2) * inside
    used = inside & (shifts.abs() < reach).all(dim=2)
    if not weights.requires_grad:  # a corner of weight zero still has a gradient: dropped only when none is wanted
        used &= weights != 0
    taps, index = torch.unique(shifts[used], dim=0, return_inverse=True)
    rows = torch.arange(offsets.shape[0], device=offsets.device)[:, None].expand_as(used)[used]
    blend = torch.zeros(offsets.shape[0], len(taps), device=offsets.device, dtype=offsets.dtype)
    blend = blend.index_put((rows, index), weights[used], accumulate=True)
    return [(x, y) for x, y in taps.tolist()], blend


def lsts_align(
    memory_embedding: torch.Tensor,
    current_embedding: torch.Tensor,
    memory: torch.Tensor,
    offsets: torch.Tensor,
    normalization: Literal["softmax", "linear"] = "softmax",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Blend, at each position, the memory feature of K sampled locations by how well they match.

    ``s_k = < g(p0), f(p0 + offset_k) >``, ``S = softmax_k(s)`` or ``s / sum s``, ``F' = sum_k S_k F(p0 + offset_k)``
    (Jiang et al., ECCV 2020, Eq. 1 to 4), computed over the integer taps: nothing of size K x C is made. A sample
    outside the map or at a non-finite offset has feature 0 and similarity 0 and stays in the softmax.

    Args:
        memory_embedding: ``f``, ``(N, E, H, W)``.
        current_embedding: ``g``, ``(N, E, H, W)``.
        memory: ``F``, ``(N, C, H, W)``.
        offsets: ``(K, 2)``, ``(x, y)`` in cells.
        normalization: ``softmax`` or ``linear``; with ``linear`` a sum of zero gives NaN.

    Returns:
        The aligned feature ``(N, C, H, W)`` and the weights ``S (N, K, H, W)``.

    Raises:
        ShapeError: if the maps differ in batch or size, or the embeddings in channels.
    """
    places = (memory.shape[0], *memory.shape[2:])
    embedded = (memory_embedding.shape[0], *memory_embedding.shape[2:])
    if memory.ndim != 4 or memory_embedding.shape != current_embedding.shape or embedded != places:
        shapes = f"{tuple(memory_embedding.shape)}, {tuple(current_embedding.shape)}, {tuple(memory.shape)}"
        raise ShapeError("LSTS maps", got=shapes, expected="(N, E, H, W) twice and (N, C, H, W)", fix="Match the maps.")
    height, width = memory.shape[2:]
    taps, blend = differentiable_taps(offsets, height, width)
    if not taps:  # every sample is outside: all similarities are zero
        weights = memory.new_zeros(memory.shape[0], offsets.shape[0], height, width)
        weights = weights.softmax(dim=1) if normalization == "softmax" else weights / weights.sum(1, keepdim=True)
        return torch.zeros_like(memory) * weights.sum(1, keepdim=True), weights
    shifted_embedding = _Shifts(memory_embedding, taps)
    shifted_memory = _Shifts(memory, taps)
    correlation = torch.stack([(current_embedding * shifted_embedding(tap)).sum(1) for tap in taps], dim=1)
    blend = blend.to(memory.dtype)
    similarity = torch.einsum("ku,nuhw->nkhw", blend, correlation)
    if normalization == "softmax":
        weights = similarity.softmax(dim=1)
    else:
        weights = similarity / similarity.sum(dim=1, keepdim=True)
    tap_weights = torch.einsum("ku,nkhw->nuhw", blend, weights)
    aligned = tap_weights[:, :1] * shifted_memory(taps[0])
    for index, tap in enumerate(taps[1:], start=1):
        aligned = torch.addcmul(aligned, tap_weights[:, index : index + 1], shifted_memory(tap))
    return aligned, weights


class LstsAlignment(nn.Module):
    """The learned sampling locations; one set serves keyframes and propagated frames.

    Args:
        preset: number of locations, their start, normalisation, and whether they are trained.
    """

    compares: ClassVar[Literal["embeddings"]] = "embeddings"

    def __init__(self, preset: LstsPreset) -> None:
        super().__init__()
        self.normalization: Literal["softmax", "linear"] = preset.normalization
        self.offsets = nn.Parameter(initial_offsets(preset), requires_grad=preset.learn_offsets)

    def forward(
        self, memory: torch.Tensor, memory_embedding: torch.Tensor, current_embedding: torch.Tensor
    ) -> torch.Tensor:
        """Memory feature moved to where the current frame shows it, ``(N, C, H, W)``; see ``lsts_align``."""
        return lsts_align(memory_embedding, current_embedding, memory, self.offsets, self.normalization)[0]


class _Shifts:
    """Views of one zero-padded map, moved by whole cells."""

    def __init__(self, feature: torch.Tensor, taps: list[tuple[int, int]]) -> None:
        self.height, self.width = feature.shape[2:]
        self.left = max(0, -min(x for x, _ in taps))
        self.top = max(0, -min(y for _, y in taps))
        right = max(0, max(x for x, _ in taps))
        bottom = max(0, max(y for _, y in taps))
        self.padded = F.pad(feature, (self.left, right, self.top, bottom))

    def __call__(self, tap: tuple[int, int]) -> torch.Tensor:
        x, y = self.left + tap[0], self.top + tap[1]
        return self.padded[:, :, y : y + self.height, x : x + self.width]
