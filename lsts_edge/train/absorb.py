"""Frozen parts made fast: a convolution absorbs the batch norm behind it, a cheap backward for depthwise kernels."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from lsts_edge.model.efficientnet import EfficientNetLite, InvertedResidual
from lsts_edge.model.layers import FrozenBatchNorm2d, SamePadConv2d

__all__ = ["AbsorbedConv2d", "absorb_batch_norms", "release_batch_norms"]


class AbsorbedConv2d(SamePadConv2d):
    """A convolution that has taken over the frozen batch norm behind it; ``eps`` is that norm's."""

    def __init__(self, conv: SamePadConv2d, bias: torch.Tensor, eps: float) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            0,
            conv.dilation,  # type: ignore[arg-type]
            conv.groups,
            device="meta",
        )
        self.weight, self.bias = conv.weight, nn.Parameter(bias)
        self.eps = eps

    def plain(self) -> tuple[SamePadConv2d, FrozenBatchNorm2d]:
        """The convolution without its bias, and a batch norm that adds it and changes nothing else."""
        conv = SamePadConv2d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,  # type: ignore[arg-type]
            self.stride,  # type: ignore[arg-type]
            0,
            self.dilation,  # type: ignore[arg-type]
            self.groups,
            bias=False,
            device="meta",
        )
        conv.weight = self.weight
        norm = FrozenBatchNorm2d(self.out_channels, self.eps).to(self.weight.device)
        norm.running_var.fill_(1.0 - self.eps)
        assert self.bias is not None
        norm.bias.copy_(self.bias)
        return conv, norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, C, H, W)`` to ``(N, D, ceil(H / stride), ceil(W / stride))``."""
        depthwise = self.groups == self.in_channels == self.out_channels and self.stride == (1, 1)
        if not depthwise or self.weight.requires_grad or not x.requires_grad:
            return super().forward(x)
        pad = self.dilation[0] * (self.kernel_size[0] // 2)
        result: torch.Tensor = _FrozenDepthwise.apply(  # type: ignore[no-untyped-call]
            x, self.weight, self.bias, pad, self.dilation[0]
        )
        return result


class _FrozenDepthwise(torch.autograd.Function):
    """Depthwise convolution, odd kernel, stride 1, whose weights take no gradient.

    The gradient of the input is the same convolution with the kernel turned round, which CPUs do several times
    faster than the general backward, above all with dilation.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, pad, dilation):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(weight)
        ctx.geometry = (pad, dilation)
        return F.conv2d(x, weight, bias, 1, pad, dilation, len(weight))

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        (weight,) = ctx.saved_tensors
        pad, dilation = ctx.geometry
        bias_gradient = gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
        turned = weight.to(gradient.dtype).flip(2, 3)  # autocast does not reach the backward pass
        back = F.conv2d(gradient, turned, None, 1, pad, dilation, len(weight))
        return back, None, bias_gradient, None, None


@torch.no_grad()
def absorb_batch_norms(backbone: nn.Module) -> int:
    """Let each convolution of an EfficientNet-Lite absorb the frozen batch norm behind it, in place.

    The function computed stays the same. Other backbones are left as they are.

    Returns:
        How many there were.
    """
    count = 0
    for parent, conv_name, norm_name in _pairs(backbone):
        conv, norm = getattr(parent, conv_name), getattr(parent, norm_name)
        if not isinstance(conv, SamePadConv2d) or not isinstance(norm, FrozenBatchNorm2d):
            continue
        factor = norm.weight / (norm.running_var + norm.eps).sqrt()
        conv.weight.mul_(factor[:, None, None, None])
        setattr(parent, conv_name, AbsorbedConv2d(conv, norm.bias - norm.running_mean * factor, norm.eps))
        setattr(parent, norm_name, nn.Identity())
        count += 1
    return count


@torch.no_grad()
def release_batch_norms(backbone: nn.Module) -> int:
    """Give each such convolution a batch norm back that adds its bias and changes nothing else.

    Afterwards the state dictionary has the names of the preset's network again.

    Returns:
        How many there were.
    """
    count = 0
    for parent, conv_name, norm_name in _pairs(backbone):
        conv = getattr(parent, conv_name)
        if not isinstance(conv, AbsorbedConv2d):
            continue
        plain, norm = conv.plain()
        setattr(parent, conv_name, plain)
        setattr(parent, norm_name, norm)
        count += 1
    return count


def _pairs(backbone: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    if not isinstance(backbone, EfficientNetLite):
        return
    yield backbone, "stem", "bn_stem"
    for block in backbone.modules():
        if isinstance(block, InvertedResidual):
            if block.expand is not None:
                yield block, "expand", "bn_expand"
            yield block, "depthwise", "bn_depthwise"
            yield block, "project", "bn_project"
