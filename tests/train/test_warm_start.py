"""The whitened start of the embeddings: like matches like, and LSTS finds a shifted feature again without training."""

from __future__ import annotations

import pytest
import torch

from lsts_edge.errors import ShapeError
from lsts_edge.model import random_network
from lsts_edge.presets import get_preset
from lsts_edge.train.warm_start import warm_start_embeddings, whitening


def correlated_features(count: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(32, 32, generator=generator) * torch.logspace(0, -2, 32)
    return torch.einsum("oc,nchw->nohw", mix, torch.randn(count, 32, 6, 9, generator=generator)) + 3.0


def test_self_similarity_is_twelve_and_strangers_are_zero():
    features = correlated_features()
    weight, bias = whitening(features, 8)
    embedded = torch.nn.functional.conv2d(features, weight, bias).permute(0, 2, 3, 1).reshape(-1, 8)
    products = embedded @ embedded.T
    assert float(products.diagonal().mean()) == pytest.approx(12.0, rel=0.01)
    assert abs(float(products.mean())) < 0.05


def shift_error(network: object, features: torch.Tensor) -> float:
    """Relative error of finding features moved by one cell to the right: the sample one cell to the left is right."""
    moved = torch.roll(features, 1, dims=3)
    with torch.no_grad():
        network.lsts.offsets.copy_(torch.tensor([(float(x), float(y)) for y in (-1, 0, 1) for x in (-1, 0, 1)]))
        aligned = network.align(features, network.embed_memory(features), network.embed_current(moved))
    inner = (slice(None), slice(None), slice(1, -1), slice(2, -1))
    return float((aligned[inner] - moved[inner]).square().mean() / moved[inner].var())


def test_shifted_feature_is_found_after_the_warm_start_and_not_before():
    network = random_network(get_preset("lsts-tiny"), 0)
    features = correlated_features()
    before = shift_error(network, features)
    warm_start_embeddings(network, features)
    after = shift_error(network, features)
    assert after < 0.2 < 0.5 < before


def test_too_few_positions_are_refused():
    with pytest.raises(ShapeError):
        whitening(torch.zeros(1, 32, 4, 4), 8)
    with pytest.raises(ShapeError):
        whitening(torch.zeros(4, 32, 4, 4), 33)
