"""Training behind a frozen backbone: what is cached, that it is what the network gives, and that it is learned from."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_data import write_toy_data

from lsts_edge.errors import OptionError, TrainingError
from lsts_edge.evaluation.annotations import AnnotationSet, read_annotations
from lsts_edge.evaluation.bundles import read_image
from lsts_edge.model import VideoLoop, random_network
from lsts_edge.model.network import Normalize, VideoNetwork
from lsts_edge.presets import FIVE_GROUPS, get_preset
from lsts_edge.train.frozen_features import FrozenFeatures, cache_features
from lsts_edge.train.frozen_inference import run_on_features
from lsts_edge.train.frozen_training import FrozenOptions, train_on_features

PRESET = get_preset("lsts-tiny")


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> AnnotationSet:
    return read_annotations(write_toy_data(tmp_path_factory.mktemp("toy"), frames=5), FIVE_GROUPS)


def cached(folder: Path, truth: AnnotationSet, *, mirrored: bool = False) -> FrozenFeatures:
    network = random_network(PRESET, 0)
    return cache_features(network, truth, folder, weights_sha256="0", mirrored=mirrored, batch=3)


def test_what_is_cached_is_what_the_network_gives(truth: AnnotationSet, tmp_path: Path):
    features = cached(tmp_path, truth, mirrored=True)
    network, normalize = random_network(PRESET, 0), Normalize(PRESET.input)
    assert len(features) == 20 and len(features.records) == 10
    record = features.records[7]
    with torch.inference_mode():
        low = network.low(normalize(torch.from_numpy(read_image(record))[None]))
        np.testing.assert_allclose(features.low[7], low[0].numpy(), atol=2e-3, rtol=2e-3)
        heavy = network.backbone.rest(low)[0].numpy()
        np.testing.assert_allclose(features.heavy[7], heavy, atol=2e-3, rtol=2e-3)
    np.testing.assert_array_equal(features.pixels[17], features.pixels[7][:, ::-1])
    assert features.first.tolist() == [0] * 5 + [5] * 5 + [10] * 5 + [15] * 5
    assert features.last.tolist() == [4] * 5 + [9] * 5 + [14] * 5 + [19] * 5
    # Inclusive corners, mirrored in a picture of 96 columns.
    left, top, right, bottom = features.boxes[7, 0].tolist()
    assert features.boxes[17, 0].tolist() == [95 - right, top, 95 - left, bottom]
    np.testing.assert_array_equal(features.labels[7], features.labels[17])


def test_an_interrupted_cache_goes_on(truth: AnnotationSet, tmp_path: Path):
    whole = cached(tmp_path / "whole", truth)
    cached(tmp_path / "broken", truth)
    place = next((tmp_path / "broken").iterdir())
    (place / "done.json").write_text(json.dumps({"frames": 3}))
    heavy = np.load(place / "heavy.npy", mmap_mode="r+")
    heavy[3:] = 0
    heavy.flush()
    again = cached(tmp_path / "broken", truth)
    np.testing.assert_array_equal(again.heavy, whole.heavy)


@pytest.mark.parametrize("interval", [3, None])
def test_a_run_over_features_is_the_reference_loop(truth: AnnotationSet, tmp_path: Path, interval: int | None):
    features = cached(tmp_path, truth)
    network, normalize = random_network(PRESET, 0), Normalize(PRESET.input)
    found = run_on_features(network, features, keyframe_interval=interval)
    boxes = 0
    for records in truth.sequences().values():
        loop = VideoLoop(_Stored(network, features))  # type: ignore[arg-type]
        for index, record in enumerate(records):
            if interval is None:
                loop.reset()
            position = [one.image_id for one in features.records].index(record.image_id)
            network.position = position  # type: ignore[assignment]
            wanted = loop.step(normalize(torch.from_numpy(read_image(record))[None]), index % (interval or 1) == 0)
            np.testing.assert_allclose(found[record.image_id].scores, wanted["scores"].numpy(), atol=1e-5)
            boxes += len(wanted["scores"])
    assert boxes > 20


def test_the_light_path_at_half_size_sees_the_halved_picture(truth: AnnotationSet, tmp_path: Path):
    features = cached(tmp_path, truth)
    half = random_network(dataclasses.replace(PRESET, light_scale=0.5), 0)
    picture = Normalize(PRESET.input)(torch.from_numpy(read_image(features.records[7])[None]))
    with torch.inference_mode():
        np.testing.assert_allclose(features.high(half, torch.tensor([7])), half.light(picture), atol=1e-5)
    before = {name: value.clone() for name, value in half.state_dict().items()}
    train_on_features(half, features, FrozenOptions(steps=2, batch=2, segment=3), seed=0)
    moved = {name for name, value in half.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("transform.") for name in moved)
    assert not any(name.startswith("backbone.") for name in moved)
    assert len(run_on_features(half, features, keyframe_interval=3)) == len(features.records)


class _Stored:
    """A network that reads the heavy and low features of ``position`` from the cache."""

    def __init__(self, network: VideoNetwork, features: FrozenFeatures) -> None:
        self._network, self._features = network, features

    def __getattr__(self, name: str) -> object:
        return getattr(self._network, name)

    def _at(self, array: np.ndarray) -> torch.Tensor:
        position = int(self._network.position)  # type: ignore[arg-type]
        return torch.from_numpy(np.asarray(array[position : position + 1], np.float32))

    def heavy(self, image: torch.Tensor) -> torch.Tensor:
        return self._at(self._features.heavy)

    def light(self, image: torch.Tensor) -> torch.Tensor:
        return self._network.high(self._at(self._features.low), image.shape[2:])


def test_training_learns_and_leaves_the_backbone_alone(truth: AnnotationSet, tmp_path: Path):
    features = cached(tmp_path, truth)
    network = random_network(PRESET, 0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    options = FrozenOptions(steps=10, batch=4, segment=3, head_rate=5e-3)
    first = train_on_features(random_network(PRESET, 0), features, dataclasses.replace(options, steps=1), seed=1)
    last = train_on_features(network, features, options, seed=1)
    assert last["class"] < first["class"] and last["mimic"] < first["mimic"]
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith("backbone.") for name in moved)
    assert {"lsts.offsets", "dfa.embed_new.weight", "head.class_maps.weight"} <= moved
    again = random_network(PRESET, 0)
    assert train_on_features(again, features, options, seed=1) == last, "the same seed, the same training"


def test_fixed_locations_stay_where_they_are(truth: AnnotationSet, tmp_path: Path):
    assert PRESET.lsts is not None
    preset = dataclasses.replace(PRESET, lsts=dataclasses.replace(PRESET.lsts, learn_offsets=False))
    network = random_network(preset, 0)
    before = network.lsts.offsets.clone()  # type: ignore[union-attr]
    train_on_features(network, cached(tmp_path, truth), FrozenOptions(steps=2, batch=2), seed=0)
    assert torch.equal(network.lsts.offsets, before)  # type: ignore[union-attr]


def test_a_loss_that_is_no_number_ends_the_training(truth: AnnotationSet, tmp_path: Path):
    network = random_network(PRESET, 0)
    with torch.no_grad():
        network.head.class_maps.weight.fill_(float("nan"))  # type: ignore[union-attr]
    with pytest.raises(TrainingError, match="loss at step 0"):
        train_on_features(network, cached(tmp_path, truth), FrozenOptions(steps=2, batch=2), seed=0)
    with pytest.raises(OptionError, match="training on features"):
        FrozenOptions(steps=0)
