"""What other trainers wrap around a set of weights, taken off where only one reading is possible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

import torch

from lsts_edge.errors import CheckpointError

__all__ = ["strip_prefix", "unwrap"]

_DEEPEST = 4
_COUNTERS = ("num_batches_tracked", "n_averaged")  # of batch norm and of averaged models: no weights
_SAVE_ALONE = "Save the one that is meant: torch.save(model.state_dict(), FILE)."


def unwrap(loaded: object, source: str) -> Mapping[str, object]:
    """The one set of named tensors in what a torch file holds, such as ``{"model_state_dict": {...}, "epoch": 3}``.

    Args:
        loaded: read as data only.
        source: the file's name, for messages.
    Raises:
        CheckpointError: if there is none, or more than one (``model`` and ``ema``).
    """
    found = list(_sets(loaded, "", _DEEPEST))
    if len(found) == 1:
        return found[0][1]
    if found:
        got = ", ".join(where or "the file itself" for where, _ in found[:5])
        problem = f"checkpoint {source} holds {len(found)} sets of weights"
        raise CheckpointError(problem, got=got, expected="one", fix=_SAVE_ALONE)
    kind = type(loaded).__name__
    got = f"a {kind} of {', '.join(map(_short, list(loaded)[:5]))}" if isinstance(loaded, Mapping) and loaded else kind
    raise CheckpointError(
        f"checkpoint {source} holds no named tensors",
        got=got,
        expected="a dictionary from names to tensors",
        fix="Save a state_dict: torch.save(model.state_dict(), FILE).",
    )


def strip_prefix(state: Mapping[str, object], wanted: Collection[str], source: str) -> dict[str, object]:
    """Names as the network has them: ``module.`` of DataParallel, ``model.`` of Lightning, ``_orig_mod.`` and others.

    Args:
        state: as found.
        wanted: the network's names.
        source: the file's name, for messages.
    Raises:
        CheckpointError: if two prefixes stand before the network's names (``student.`` and ``teacher.``).
    """
    names = set(wanted)
    prefixes: Counter[str] = Counter()
    for name in state:
        parts = name.split(".")
        for cut in range(len(parts)):
            if ".".join(parts[cut:]) in names:
                prefixes["".join(f"{part}." for part in parts[:cut])] += 1
                break
    best = prefixes.most_common(2)
    prefix = best[0][0] if best else ""
    if len(best) == 2 and best[1][1] > len(names) // 2:
        got = " and ".join(repr(one) for one, _ in best)
        problem = f"checkpoint {source} holds two networks"
        raise CheckpointError(problem, got=f"names behind {got}", expected="one", fix=_SAVE_ALONE)
    kept = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return {name: kept[name] for name in kept if name in names or not name.endswith(_COUNTERS)}


def _sets(value: object, where: str, depth: int) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Every dictionary that has tensors by name in it, the optimiser's apart, with the keys that lead to it."""
    if not isinstance(value, Mapping) or depth == 0:
        return
    if all(isinstance(name, str) for name in value) and any("." in name and _is_weight(value[name]) for name in value):
        yield where, value
        return
    for name, item in value.items():
        if isinstance(name, str) and "optim" not in name.lower() and "sched" not in name.lower():
            yield from _sets(item, f"{where}.{name}" if where else name, depth - 1)


def _is_weight(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _short(value: object) -> str:
    return ascii(value)[:40]
