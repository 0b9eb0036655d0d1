"""Checkpoints: what goes in comes out, what is wrong is told at once, nothing that a file holds is ever run."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch

from lsts_edge.errors import CheckpointError, CheckpointUnsafe, FileUnwritable, OptionError
from lsts_edge.model import build_network, load_checkpoint, random_network, save_checkpoint
from lsts_edge.presets import get_preset

TINY = get_preset("lsts-tiny")
ABOUT = {"licence": "CC0-1.0", "description": "a test", "steps": "12"}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_checkpoint(random_network(TINY, 3), tmp_path / "tiny.safetensors", ABOUT)
    return tmp_path / "tiny.safetensors"


def test_round_trip(saved: Path) -> None:
    network, info = load_checkpoint(saved)
    for (name, ours), theirs in zip(
        random_network(TINY, 3).state_dict().items(), network.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs), name
    assert not network.training and network.preset == TINY == info.preset
    assert (info.licence, info.description, info.metadata["steps"]) == ("CC0-1.0", "a test", "12")
    assert info.sha256 == hashlib.sha256(saved.read_bytes()).hexdigest()
    assert info.file == "tiny.safetensors"


def test_what_was_held_out_is_stated_as_names(tmp_path: Path, saved: Path) -> None:
    assert load_checkpoint(saved)[1].held_out == ()
    path = tmp_path / "held.safetensors"
    save_checkpoint(random_network(TINY, 3), path, ABOUT, held_out={"tennis, again", "mallard"})
    info = load_checkpoint(path)[1]
    assert info.held_out == ("mallard", "tennis, again") and "held_out" not in info.metadata


@pytest.mark.parametrize("stated", ["mallard,tennis", "3", "[3]", '{"a": 1}', "[" * 5000])
def test_names_that_are_no_list_are_refused(tmp_path: Path, saved: Path, stated: str) -> None:
    path = tmp_path / "forged.safetensors"
    metadata = {**ABOUT, "held_out": stated, "preset": json.dumps(TINY.to_dict())}
    safetensors.torch.save_file(random_network(TINY, 3).state_dict(), path, metadata)
    with pytest.raises(CheckpointError, match="held_out"):
        load_checkpoint(path)


def test_half_storage_halves_the_file_and_comes_back_as_float32(tmp_path: Path, saved: Path) -> None:
    network = random_network(TINY, 3)
    save_checkpoint(network, tmp_path / "half.safetensors", ABOUT, half=True)
    loaded, _ = load_checkpoint(tmp_path / "half.safetensors")
    assert (tmp_path / "half.safetensors").stat().st_size < 0.65 * saved.stat().st_size
    for (name, ours), theirs in zip(network.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert theirs.dtype == torch.float32
        torch.testing.assert_close(theirs, ours, rtol=1e-3, atol=1e-4, msg=name)
    assert torch.equal(loaded.lsts.offsets, network.lsts.offsets), "offsets keep float32"


def test_another_input_size_may_be_asked_for(saved: Path) -> None:
    network, info = load_checkpoint(saved, TINY.resized(80, 112))
    assert network.preset.input.height_px == 80 and info.preset.input.width_px == 112


def test_saving_replaces_whole_or_not_at_all(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileUnwritable, match="No space left"):
        save_checkpoint(random_network(TINY, 4), saved, ABOUT)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_saving_needs_a_licence_and_a_description(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no text for description"):
        save_checkpoint(random_network(TINY, 0), tmp_path / "x.safetensors", {"licence": "MIT"})
    with pytest.raises(OptionError, match="steps"):
        save_checkpoint(random_network(TINY, 0), tmp_path / "x.safetensors", {**ABOUT, "steps": 12})  # type: ignore[dict-item]
    with pytest.raises(FileUnwritable):
        save_checkpoint(random_network(TINY, 0), "/proc/nowhere/x.safetensors", ABOUT)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_everything_wrong_is_told_in_one_error(tmp_path: Path, suffix: str) -> None:
    state = dict(random_network(TINY, 0).state_dict())
    del state["head.rpn_box.bias"]
    state["head.surprise"] = torch.zeros(3)
    state["backbone.conv2.weight"] = torch.zeros(16, 8, 5, 5)
    state["lsts.offsets"] = torch.full((9, 2), float("nan"))
    state["backbone.bn1.weight"] = torch.ones(8, dtype=torch.int32)
    path = tmp_path / f"bad{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        safetensors.torch.save_file(state, path, {"preset": json.dumps(TINY.to_dict())})
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, TINY)
    text = str(caught.value)
    for part in (
        "1 missing: head.rpn_box.bias",
        "1 extra: head.surprise",
        "1 mis-shaped: backbone.conv2.weight (16, 8, 5, 5) for (16, 8, 3, 3)",
        "1 with NaN or infinity: lsts.offsets",
        "1 of a wrong type: backbone.bn1.weight (torch.int32)",
    ):
        assert part in text
    assert type(caught.value).code == "checkpoint"


def test_a_device_or_a_link_is_written_into(tmp_path: Path) -> None:
    """Run as root, a device's node was replaced by a file once."""
    network, about = random_network(get_preset("lsts-tiny"), 0), {"licence": "CC0", "description": "made up"}
    link, device = tmp_path / "link.safetensors", tmp_path / "null"
    link.symlink_to(tmp_path / "real.safetensors")
    device.symlink_to("/dev/null")
    for path in (link, device):
        save_checkpoint(network, path, about)
        assert path.is_symlink()
    assert load_checkpoint(tmp_path / "real.safetensors")[1].licence == "CC0"
    assert Path("/dev/null").is_char_device()


def test_a_refused_state_changes_nothing(saved: Path) -> None:
    from lsts_edge.model.checkpoint import load_state

    network = build_network(TINY)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = dict(random_network(TINY, 0).state_dict())
    state.pop("lsts.offsets")
    with pytest.raises(CheckpointError):
        load_state(network, state, source="x")
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_torch_files_with_and_without_a_wrapper(tmp_path: Path) -> None:
    network = random_network(TINY, 1)
    for name, content in (("plain.pth", network.state_dict()), ("wrapped.pt", {"state_dict": network.state_dict()})):
        torch.save(content, tmp_path / name)
        loaded, info = load_checkpoint(tmp_path / name, "lsts-tiny")
        assert torch.equal(loaded.head.class_maps.weight, network.head.class_maps.weight)
        assert info.licence == "not stated"
    with pytest.raises(CheckpointError, match=r"states no preset.*--preset"):
        load_checkpoint(tmp_path / "plain.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="list"):
        load_checkpoint(tmp_path / "list.pth", TINY)


def test_unreadable_files(tmp_path: Path, saved: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_checkpoint(tmp_path / "absent.safetensors")
    with pytest.raises(CheckpointError, match=r"got '\.onnx'"):
        (tmp_path / "model.onnx").write_bytes(b"")
        load_checkpoint(tmp_path / "model.onnx")
    whole = saved.read_bytes()
    for size in (0, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.safetensors").write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="cannot be read"):
            load_checkpoint(tmp_path / "cut.safetensors")
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "odd.safetensors", {"preset": "[[[["})
    with pytest.raises(CheckpointError, match="its preset"):
        load_checkpoint(tmp_path / "odd.safetensors")
    fields = {**dataclasses.asdict(TINY), "surprise": 1}
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "odd.safetensors", {"preset": json.dumps(fields)})
    with pytest.raises((CheckpointError, OptionError)):
        load_checkpoint(tmp_path / "odd.safetensors")


class _Runs:
    """Unpickling an instance would call a function with arguments of its own."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def _legacy_tar(path: Path, canary: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            payload = pickle.dumps(_Runs(canary.touch))
            entry = tarfile.TarInfo(name)
            entry.size = len(payload)
            archive.addfile(entry, io.BytesIO(payload))


def _script(path: Path, canary: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))


def _zip_bomb(path: Path, canary: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
        archive.writestr("archive/data/0", bytes(64 * 2**20))
        archive.writestr("archive/version", "3\n")


def _repacked(path: Path, canary: Path) -> None:
    """A genuine torch archive whose pickle is replaced by one that calls."""
    torch.save({"a": torch.zeros(1)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, pickle.dumps(_Runs(canary.touch), 2) if name.endswith("data.pkl") else content)


HOSTILE: dict[str, Callable[[Path, Path], object]] = {
    "bare pickle": lambda path, canary: path.write_bytes(pickle.dumps(_Runs(canary.touch))),
    "os.system": lambda path, canary: torch.save({"a": _Runs(os.system, f"touch {canary}")}, path),
    "eval": lambda path, canary: torch.save(_Runs(eval, f"open({str(canary)!r}, 'w')"), path),
    "nested in a state dictionary": lambda path, canary: torch.save(
        {"state_dict": {"a": torch.zeros(1), "b": _Runs(canary.touch)}}, path
    ),
    "old torch format": lambda path, canary: torch.save(
        {"a": _Runs(canary.touch)}, path, _use_new_zipfile_serialization=False
    ),
    "exec": lambda path, canary: torch.save([_Runs(exec, f"open({str(canary)!r}, 'w')")], path),
    "legacy tar": _legacy_tar,
    "TorchScript": _script,
    "zip bomb": _zip_bomb,
    "repacked archive": _repacked,
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("kind", HOSTILE)
def test_no_torch_file_runs_code(kind: str, tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "hostile.pth"
    HOSTILE[kind](path, canary)
    with pytest.raises(CheckpointUnsafe) as caught:
        load_checkpoint(path, TINY)
    assert not canary.exists()
    assert type(caught.value).code == "checkpoint-unsafe"


def test_the_canary_would_sing(tmp_path: Path) -> None:
    """Planted fault: the same bytes, read the careless way, do run."""
    canary, path = tmp_path / "canary", tmp_path / "hostile.pth"
    HOSTILE["os.system"](path, canary)
    torch.load(path, weights_only=False)
    assert canary.exists()


def test_the_sources_never_ask_for_more(root: Path) -> None:
    for path in (root / "lsts_edge").rglob("*.py"):
        assert "weights_only=False" not in path.read_text(), path


def test_the_safetensors_header_states_licence_and_preset(saved: Path) -> None:
    with safetensors.safe_open(saved, framework="numpy") as file:
        metadata = file.metadata()
    assert metadata["licence"] == "CC0-1.0" and json.loads(metadata["preset"])["name"] == "lsts-tiny"
