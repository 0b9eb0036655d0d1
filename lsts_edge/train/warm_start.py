"""A start for the embeddings that already matches like with like, instead of random projections."""

from __future__ import annotations

import torch

from lsts_edge.errors import ShapeError
from lsts_edge.model.network import VideoNetwork

__all__ = ["warm_start_embeddings", "whitening"]

_SELF_SIMILARITY = 12.0  # <f(x), g(x)> of a typical position: exp(12) of weight against a stranger's 1
_LEAST_VARIANCE = 1e-6


def whitening(features: torch.Tensor, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Projection to the strongest principal directions, each scaled to the same variance.

    With it a feature's product with itself is 12 on average and with an unrelated one 0, so that the softmax over the
    sampling locations prefers the right one from the first step on.

    Args:
        features: ``(N, C, H, W)``.
        channels: E, at most C.

    Returns:
        Weight ``(E, C, 1, 1)`` and bias ``(E,)`` of a 1x1 convolution.

    Raises:
        ShapeError: if there are fewer positions than channels, or ``channels`` is more than C.
    """
    rows = features.float().permute(0, 2, 3, 1).reshape(-1, features.shape[1])
    if not channels <= rows.shape[1] < len(rows):
        got = f"{tuple(features.shape)} for {channels} channels"
        raise ShapeError("whitening", got=got, expected="E <= C < positions", fix="Give more images.")
    mean = rows.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov(rows.T))
    strongest = vectors[:, -channels:] / values[-channels:].clamp(min=_LEAST_VARIANCE).sqrt()
    weight = strongest.T * (_SELF_SIMILARITY / channels) ** 0.5
    return weight[:, :, None, None], -(weight @ mean)


@torch.no_grad()
def warm_start_embeddings(network: VideoNetwork, features: torch.Tensor) -> None:
    """Put the whitening of heavy features into all four embeddings (f and g, keyframe and propagated).

    Args:
        network: with LSTS; changed in place.
        features: ``(N, C, H, W)`` of the heavy path.
    """
    for part in (network.srfu, network.dfa):
        if part is None:
            continue
        for embedding in (part.embed_old, part.embed_new):
            if embedding is None or embedding.out_channels > features.shape[1]:
                continue
            weight, bias = whitening(features, embedding.out_channels)
            embedding.weight.copy_(weight)
            assert embedding.bias is not None
            embedding.bias.copy_(bias)
