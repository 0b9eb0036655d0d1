"""Checkpoints in and out: safetensors of our own, torch files without code, MXNet files of the released network."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import nn

from lsts_edge.errors import CheckpointError, CheckpointUnsafe, FileUnwritable, OptionError
from lsts_edge.model.build import bare_network
from lsts_edge.model.mxnet_names import to_state
from lsts_edge.model.mxnet_params import read_params
from lsts_edge.model.network import VideoNetwork
from lsts_edge.model.unwrap import strip_prefix, unwrap
from lsts_edge.presets import ModelPreset, get_preset, preset_from_dict
from lsts_edge.write_file import write_file

__all__ = [
    "CheckpointInfo",
    "load_checkpoint",
    "load_state",
    "read_torch_file",
    "rebuilt",
    "save_checkpoint",
]

FORMAT = "lsts-edge-1"
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_TOLD = 5  # names of each kind of difference
_GET_ANOTHER = "Get the file again, or one of another kind (.safetensors, .pth, .params)."


@dataclass(frozen=True)
class CheckpointInfo:
    """Where a network's weights came from.

    Attributes:
        file: name of the file, without its folder.
        sha256: of the whole file, hexadecimal.
        preset: what the network was built from.
        licence: as the file states it, or "not stated".
        description: one line, or empty.
        held_out: sequences that no stage of the training saw, as the file states it; empty where it states none.
        metadata: everything else the file states.
    """

    file: str
    sha256: str
    preset: ModelPreset
    licence: str = "not stated"
    description: str = ""
    held_out: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


def load_checkpoint(
    path: str | os.PathLike[str], preset: ModelPreset | str | None = None
) -> tuple[VideoNetwork, CheckpointInfo]:
    """Build the network of a checkpoint and fill it.

    Args:
        path: ``.safetensors`` (ours), ``.pth``, ``.pt`` or ``.ckpt`` (a state dictionary, wrapped or not), ``.params``
            (MXNet, released names).
        preset: a preset or its name; ``None`` takes the one the file states, which only ours do.

    Returns:
        The network on the CPU in float32 and evaluation mode, and what is known about the file.

    Raises:
        CheckpointUnsafe: if reading the file would run code.
        CheckpointError: if it cannot be read, states no preset and none is given, or does not fit; one error
            counts the missing, extra, mis-shaped, non-finite and wrongly typed tensors and names some of each.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError("no checkpoint", got=str(path), expected="a file", fix="Check the path.")
    metadata: dict[str, str] = {}
    arrays: dict[str, np.ndarray] | None = None
    state: Mapping[str, object] = {}
    if path.suffix == ".safetensors":
        state, metadata = _read_safetensors(path)
    elif path.suffix in (".pth", ".pt", ".ckpt"):
        state = unwrap(read_torch_file(path), path.name)
    elif path.suffix == ".params":
        arrays = read_params(path)
    else:
        raise CheckpointError(
            f"checkpoint {path.name}",
            got=repr(path.suffix),
            expected=".safetensors, .pth, .pt, .ckpt or .params",
            fix="Convert it.",
        )
    chosen = _choose_preset(path, preset, metadata)
    network = bare_network(chosen)
    problems: list[str] = []
    if arrays is not None:
        state, problems = to_state(arrays, network)
    else:
        state = strip_prefix(state, network.state_dict().keys(), path.name)
    load_state(network, state, source=path.name, problems=problems)
    info = CheckpointInfo(
        file=path.name,
        sha256=_sha256(path),
        preset=chosen,
        licence=metadata.pop("licence", "not stated"),
        description=metadata.pop("description", ""),
        held_out=_held_out(path, metadata),
        metadata=metadata,
    )
    return network.eval(), info


def save_checkpoint(
    network: VideoNetwork,
    path: str | os.PathLike[str],
    metadata: Mapping[str, str],
    *,
    held_out: Iterable[str] = (),
    half: bool = False,
) -> None:
    """Write a network as safetensors, whole or not at all.

    Args:
        network: on any device.
        path: where; an older file is replaced, a device or a link is written into.
        metadata: at least ``licence`` and ``description``; the preset and the format are added.
        held_out: names of the sequences that no stage of the training saw.
        half: store convolution weights in float16; offsets, biases and batch norm stay float32.

    Raises:
        OptionError: if ``licence`` or ``description`` is missing, or a value is no text.
        FileUnwritable: if the file cannot be written.
    """
    path = Path(path)
    wrong = [key for key in ("licence", "description") if not metadata.get(key)]
    wrong += [key for key, value in metadata.items() if not isinstance(value, str)]
    if wrong:
        raise OptionError(
            "checkpoint metadata",
            got=f"no text for {', '.join(wrong)}",
            expected="licence and description",
            fix="Add it.",
        )
    tensors = {}
    for name, tensor in network.state_dict().items():
        shrink = half and tensor.ndim == 4
        tensors[name] = tensor.detach().to("cpu", torch.float16 if shrink else torch.float32).contiguous()
    preset = json.dumps(network.preset.to_dict(), sort_keys=True)
    names = json.dumps(sorted(held_out))
    payload = safetensors.torch.save(tensors, {**metadata, "held_out": names, "preset": preset, "format": FORMAT})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, payload)
    except OSError as error:
        raise FileUnwritable(
            "checkpoint cannot be written",
            got=str(error),
            expected=f"room for {len(payload)} bytes",
            fix="Choose another path.",
        ) from error


def rebuilt(network: VideoNetwork, preset: ModelPreset, source: str) -> VideoNetwork:
    """The same weights in a network of another preset.

    Args:
        network: on the CPU.
        preset: one with the same parameters.
        source: file name for the message.

    Raises:
        CheckpointError: if it has others.
    """
    other = bare_network(preset)
    load_state(other, network.state_dict(), source=source)
    return other.train(network.training)


def load_state(
    module: nn.Module, state: Mapping[str, object], *, source: str, problems: list[str] | None = None
) -> None:
    """Fill a module from named tensors, or say what is wrong with them in one error and change nothing.

    Args:
        module: its ``state_dict`` names what is wanted.
        state: tensors by name, of any type of float; they become float32.
        source: file name for the message.
        problems: what was already found wrong while reading.

    Raises:
        CheckpointError: counting the differences, with some names of each kind and the likely cause.
    """
    wanted = module.state_dict()
    found = {"missing": sorted(set(wanted) - set(state)), "extra": sorted(set(state) - set(wanted))}
    shaped, typed, finite = [], [], []
    ready: dict[str, torch.Tensor] = {}
    for name in sorted(set(wanted) & set(state)):
        tensor = state[name]
        if not isinstance(tensor, torch.Tensor) or tensor.dtype not in _FLOATS:
            typed.append(f"{name} ({tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__})")
            continue
        if tensor.shape != wanted[name].shape:
            shaped.append(f"{name} {tuple(tensor.shape)} for {tuple(wanted[name].shape)}")
        ready[name] = tensor.to(torch.float32)
        if not torch.isfinite(ready[name]).all():  # a float64 beyond float32 too
            finite.append(name)
    found |= {"mis-shaped": shaped, "of a wrong type": typed, "with NaN or infinity": finite}
    lines = [f"{len(names)} {kind}: {_some(names)}" for kind, names in found.items() if names]
    lines += [] if not problems else [_some(problems, "; ")]
    if lines:
        raise CheckpointError(
            f"checkpoint {source} does not fit",
            got="; ".join(lines),
            expected=f"{len(wanted)} finite float tensors of the preset's names and shapes",
            fix=_likely_cause(set(wanted), set(state), shaped),
        )
    if any(tensor.is_meta for tensor in wanted.values()):
        values = {name: tensor.clone() if tensor is state[name] else tensor for name, tensor in ready.items()}
        module.load_state_dict(values, assign=True)
    else:  # in place, so that an optimizer made before keeps its parameters
        module.load_state_dict(ready)


def read_torch_file(path: Path) -> object:
    """What a ``.pth`` file holds, read as data only: a file that asks for more is refused and never retried.

    Raises:
        CheckpointUnsafe: if torch would have to run code, or entries are compressed (torch never writes such).
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                packed = [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
            if packed:
                raise pickle.UnpicklingError(f"compressed entries: {', '.join(packed[:3])}")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader raises whatever a damaged file leads it to
        objects = re.search(r"GLOBAL ([A-Za-z0-9_.]{1,100})", str(error))
        raise CheckpointUnsafe(
            f"checkpoint {path.name} is no plain set of tensors",
            got=f"an object of {objects[1]}" if objects else _first_line(error),
            expected="a file that torch.load reads with weights_only=True",
            fix="Save the weights alone: torch.save(model.state_dict(), FILE)." if objects else _GET_ANOTHER,
        ) from error


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as reader:
            metadata = dict(reader.metadata() or {})
            return {name: reader.get_tensor(name) for name in reader.keys()}, metadata  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {path.name} cannot be read", got=_first_line(error), expected="safetensors", fix=_GET_ANOTHER
        ) from error


def _some(names: list[str], between: str = ", ") -> str:
    """The first of them, each cut to a length that can be read."""
    told = [name if len(name) <= 120 else f"{name[:117]}..." for name in names[:_TOLD]]
    return between.join(told) + (f" and {len(names) - _TOLD} more" if len(names) > _TOLD else "")


def _likely_cause(wanted: set[str], found: set[str], shaped: list[str]) -> str:
    if not wanted & found:
        return "No name is one of the preset's: it is of another network, or wrapped in a way that is not known."
    parts = {name.partition(".")[0] for name in wanted - found}
    if wanted == found and shaped and all(name.startswith("head.") for name in shaped):
        return "Only its head differs: it was trained for other classes. Choose its preset."
    if any("_branch2b_offset_" in name for name in found - wanted):
        return "It has deformable convolutions: lsts-edge import-mxnet FILE --variant deformable=true."
    if wanted - found and all(".conv_b.offset." in name for name in wanted - found):
        return "Its convolutions are not deformable: leave deformable=true out."
    if any(name.startswith("lsts.offsets") for name in shaped):
        return "It has another number of sampling locations (lsts-r101 40, lsts-r101-uniform 81): choose its preset."
    if parts and not parts & {name.partition(".")[0] for name in found}:
        return f"It has nothing of {_some(sorted(parts))}: it is of a network without. Choose its preset."
    return "Choose the preset it was trained with, or another file."


def _choose_preset(path: Path, preset: ModelPreset | str | None, metadata: dict[str, str]) -> ModelPreset:
    stated = metadata.pop("preset", None)
    if isinstance(preset, str):
        return get_preset(preset)
    if preset is not None:
        return preset
    try:
        if stated is not None:
            return preset_from_dict(json.loads(stated))
    except (ValueError, RecursionError, AttributeError) as error:
        raise CheckpointError(
            f"checkpoint {path.name}: its preset", got=_first_line(error), expected="a preset", fix="Name one yourself."
        ) from error
    raise CheckpointError(
        f"checkpoint {path.name} states no preset", got="none", expected="a preset's name", fix="Name one (--preset)."
    )


def _held_out(path: Path, metadata: dict[str, str]) -> tuple[str, ...]:
    stated = metadata.pop("held_out", "[]")
    try:
        names = json.loads(stated)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(
            f"checkpoint {path.name}: its held_out",
            got=ascii(stated)[:80],
            expected="names as a JSON list",
            fix=_GET_ANOTHER,
        )
    return tuple(names)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
