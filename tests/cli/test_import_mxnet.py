"""``lsts-edge import-mxnet``: what the released code saved comes back as it was, or nothing is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mxnet_files import released_arrays, write_params

from lsts_edge.cli import main
from lsts_edge.model import load_checkpoint, random_network
from lsts_edge.model.build import bare_network
from lsts_edge.model.mxnet_names import mxnet_names
from lsts_edge.presets import get_preset
from lsts_edge.variants import varied


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["import-mxnet", *map(str, words)])
    assert isinstance(left.value.code, int)
    return left.value.code


def there_and_back(preset: str, choices: dict[str, Any], seed: int, folder: Path, *more: str) -> None:
    """A random network of that seed, saved as the released code does, imported and compared bit for bit."""
    network = random_network(varied(get_preset(preset), choices), seed)
    file, output = folder / "lsts-0004.params", folder / "out" / "lsts.safetensors"
    write_params(file, released_arrays(network))
    words = [word for name, value in choices.items() for word in ("--variant", f"{name}={str(value).lower()}")]
    assert run(file, "--output", output, "--preset", preset, *words, "--licence", "MIT", *more) == 0
    loaded, info = load_checkpoint(output)
    assert loaded.preset == network.preset and info.licence == "MIT" and "lsts-0004.params" in info.description
    assert len(info.metadata["source_sha256"]) == 64
    expected = network.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())


def test_every_value_comes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there_and_back("lsts-r101", {"deformable": True}, 11, tmp_path, "--json")
    told = json.loads(capsys.readouterr().out)
    assert sum(told["arrays"].values()) == 349 + 208 + 6 and told["arrays"]["head"] == 8
    assert told["copies"] == ["arg:rfcn_bbox_weight_test", "arg:rfcn_bbox_bias_test"]
    assert told["bytes"] == (tmp_path / "out" / "lsts.safetensors").stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "choices", "seed", "count"),
    [
        ("lsts-r101", {}, 12, 557),
        ("lsts-r101-uniform", {}, 13, 557),
        ("lsts-r101", {"row": "c"}, 14, 545),
        ("rfcn-r101", {}, 15, 530),
        ("rfcn-r101", {"deformable": True}, 16, 536),
    ],
)
def test_every_network_of_the_released_code(
    preset: str, choices: dict[str, Any], seed: int, count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there_and_back(preset, choices, seed, tmp_path)
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"lsts-0004.params as {preset}: {count} arrays mapped"
    assert sum(int(line.split()[1]) for line in told if line.startswith("  ")) == count
    assert told[-4].endswith("arg:rfcn_bbox_weight_test, arg:rfcn_bbox_bias_test")
    assert told[-3:-1] == ["missing: none", "left over: none"] and told[-1].startswith("written: ")


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    """The names of a per-frame detector's file; each array is one number, so that files are small."""
    names = mxnet_names(bare_network(get_preset("rfcn-r101")))
    return {name: np.zeros(1, np.float32) for name in names.values()}


def refused(
    arrays: dict[str, np.ndarray], folder: Path, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[str, str]:
    """What an import of these that cannot be right prints, and its one line of error."""
    write_params(folder / "x.params", arrays)
    assert run(folder / "x.params", "--output", folder / "x.safetensors", *words) == 7
    assert not (folder / "x.safetensors").exists()
    told = capsys.readouterr()
    assert len(told.err.splitlines()) == 1 and told.err.startswith("error[checkpoint]: ")
    return told.out, told.err


def test_missing_left_over_and_mis_shaped_arrays_are_named(
    arrays: dict[str, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {name: array for name, array in arrays.items() if name != "aux:bn5c_branch2b_moving_var"}
    wrong["arg:\x1b[31mred"] = np.zeros(2, np.float32)
    out, err = refused(wrong, tmp_path, capsys, "--preset", "rfcn-r101")
    assert out.startswith("x.params as rfcn-r101: 529 arrays mapped\n  backbone.conv1        1 of 1\n")
    assert "missing: aux:bn5c_branch2b_moving_var\nleft over: arg:\\x1b[31mred\n" in out
    assert "  backbone.conv5       49 of 50\n" in out
    assert "1 missing: backbone.conv5.2.bn_b.running_var; 1 extra: " in err
    assert "backbone.conv1.weight (1,) for (64, 3, 7, 7)" in err


def test_a_file_of_another_network_says_which(
    arrays: dict[str, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = refused(arrays, tmp_path, capsys)
    assert "arg:init_offset" in out and "as lsts-r101: " in out
    assert "It has nothing of dfa, lsts, srfu, transform" in err
    _, err = refused(arrays, tmp_path, capsys, "--preset", "rfcn-r101", "--variant", "deformable=true")
    assert "leave deformable=true out" in err
    deformable = arrays | {f"arg:res5a_branch2b_offset_{kind}": np.zeros(3, np.float32) for kind in ("weight", "bias")}
    _, err = refused(deformable, tmp_path, capsys, "--preset", "rfcn-r101")
    assert "import-mxnet FILE --variant deformable=true" in err
    names = mxnet_names(bare_network(get_preset("lsts-r101"))).values()
    _, err = refused({name: np.zeros((81, 2), np.float32) for name in names}, tmp_path, capsys)
    assert "lsts-r101-uniform 81" in err


@pytest.mark.parametrize(
    ("words", "status", "problem"),
    [
        (("--output", "x.pth"), 2, "a name ending in .safetensors"),
        (("--output", "x.safetensors", "--licence", " "), 2, "--licence"),
        (("--output", "x.safetensors", "--preset", "lsts-tiny"), 7, "expected resnet101"),
        (("--output", "x.safetensors", "--preset", "lsts-r202"), 2, "unknown preset"),
        (("--output", "x.safetensors"), 7, "damaged or no MXNet parameter file"),
    ],
)
def test_what_cannot_be_right_is_refused(
    words: tuple[str, ...], status: int, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.params").write_bytes(bytes(100))
    assert run(tmp_path / "bad.params", *(str(tmp_path / w) if w.startswith("x.") else w for w in words)) == status
    assert problem in capsys.readouterr().err
