"""Checkpoints as other trainers write them: unwrapped where one reading is possible, else one short error."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from lsts_edge.errors import CheckpointError, CheckpointUnsafe
from lsts_edge.model import load_checkpoint, random_network
from lsts_edge.presets import get_preset

TINY = get_preset("lsts-tiny")
State = Mapping[str, torch.Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    return random_network(TINY, 1).state_dict()


def behind(prefix: str, state: State) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def save(folder: Path, content: object, name: str = "given.pth") -> Path:
    torch.save(content, folder / name)
    return folder / name


def short_error(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, TINY)
    text = str(caught.value)
    assert len(text) < 1500 and "\n" not in text
    return text


WRAPPED: dict[str, Callable[[State], Any]] = {
    "plain": lambda s: dict(s),
    "DataParallel": lambda s: behind("module.", s),
    "the tutorial's": lambda s: {"model_state_dict": dict(s), "epoch": 3, "loss": 0.5, "optimizer_state_dict": {}},
    "state_dict": lambda s: {"state_dict": dict(s), "arch": "tiny"},
    "model": lambda s: {"model": dict(s), "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []}},
    "ema alone": lambda s: {"ema": dict(s), "updates": 7},
    "ema that holds a module": lambda s: {"ema": {"module": dict(s), "decay": 0.99}},
    "DataParallel in state_dict": lambda s: {"state_dict": behind("module.", s)},
    "Lightning": lambda s: {"state_dict": behind("model.", s), "lr_schedulers": [], "epoch": 1, "global_step": 2},
    "compiled in DataParallel": lambda s: behind("module._orig_mod.", s),
    "AveragedModel": lambda s: {**behind("module.", s), "n_averaged": torch.tensor(4)},
    "counters of batch norm": lambda s: {**s, "backbone.bn1.num_batches_tracked": torch.tensor(9)},
    "losses in a dictionary": lambda s: {"model": dict(s), "history": {"train": torch.ones(3), "val": torch.ones(3)}},
}


@pytest.mark.parametrize("what", WRAPPED)
def test_what_is_wrapped_once_is_unwrapped(tmp_path: Path, state: State, what: str) -> None:
    suffix = (".pth", ".pt", ".ckpt")[len(what) % 3]
    network, _ = load_checkpoint(save(tmp_path, WRAPPED[what](state), f"given{suffix}"), TINY)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_a_prefix_in_safetensors(tmp_path: Path, state: State) -> None:
    metadata = {"preset": json.dumps(TINY.to_dict())}
    safetensors.torch.save_file(behind("module.", state), tmp_path / "given.safetensors", metadata)
    network, _ = load_checkpoint(tmp_path / "given.safetensors")
    assert torch.equal(network.lsts.offsets, state["lsts.offsets"])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_every_type_of_float_becomes_float32(tmp_path: Path, state: State, dtype: torch.dtype) -> None:
    network, _ = load_checkpoint(save(tmp_path, {name: tensor.to(dtype) for name, tensor in state.items()}), TINY)
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == torch.float32 and torch.equal(tensor, state[name].to(dtype).float()), name


def test_a_float64_beyond_float32_is_no_finite_weight(tmp_path: Path, state: State) -> None:
    huge = {**state, "lsts.offsets": torch.full_like(state["lsts.offsets"], 1e300, dtype=torch.float64)}
    assert "1 with NaN or infinity: lsts.offsets" in short_error(save(tmp_path, huge))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lambda s: {"model": dict(s), "ema": dict(s)}, "holds 2 sets of weights: got model, ema"),
        (lambda s: {"network": dict(s), "average": dict(s), "step": 3}, "got network, average"),
        (lambda s: behind("student.", s) | behind("teacher.", s), "'student.' and 'teacher.'"),
        (lambda s: {"weight": 3}, "holds no named tensors: got a dict of 'weight'"),
        (lambda s: {}, "holds no named tensors: got dict"),
        (lambda s: [dict(s)], "got list"),
        (lambda s: {"a": {"b": {"c": {"d": {"e": dict(s)}}}}}, "holds no named tensors"),
        (lambda s: {f"x.{name}.y": value for name, value in s.items()}, "No name is one of the preset's"),
        (
            lambda s: {n: v for n, v in s.items() if not n.startswith(("lsts", "dfa"))},
            "It has nothing of dfa, lsts",
        ),
        (lambda s: {n: v[..., None] if n.startswith("head.") else v for n, v in s.items()}, "Only its head differs"),
        (lambda s: {("n" * 10**5) + f".{k}.x": torch.ones(3) for k in range(300)}, "and 295 more"),
    ],
    ids=range(11),
)
def test_what_cannot_be_read_one_way_is_one_short_error(
    tmp_path: Path, state: State, content: Callable[[State], Any], told: str
) -> None:
    assert told in short_error(save(tmp_path, content(state)))


def test_a_whole_model_is_named_and_not_run(tmp_path: Path) -> None:
    path = save(tmp_path, nn.Linear(2, 2))
    assert "an object of torch.nn.modules.linear.Linear" in short_error(path)
    with pytest.raises(CheckpointUnsafe, match=r"torch\.save\(model\.state_dict\(\)"):
        load_checkpoint(path, TINY)


def test_a_state_with_nothing_finite_is_short_too(tmp_path: Path, state: State) -> None:
    text = short_error(save(tmp_path, {name: torch.full_like(tensor, math.nan) for name, tensor in state.items()}))
    assert f"{len(state)} with NaN or infinity" in text
