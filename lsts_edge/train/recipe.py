"""A training recipe as one small file: which data in which shares, which options, what must not be trained on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lsts_edge.errors import OptionError
from lsts_edge.read_file import read_file
from lsts_edge.train.augment import Augmentation
from lsts_edge.train.losses import LossOptions

__all__ = ["DataSource", "Recipe", "located", "read_recipe"]

_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class DataSource:
    """Annotations to train on.

    Attributes:
        data: the JSON file; in a recipe relative to the folder that ``--root`` names.
        share: of the draws; shares are set against each other. None: by ``still_fraction`` among all.
        hold_out: sequences to leave out.
        groups: class of category names beyond COCO's; ``""`` makes their boxes ignore boxes.
        licence: of the data, as the weights have to state it.
        licences: take only images under one of these, as the file states them; empty: all.
    """

    data: str
    share: float | None = None
    hold_out: tuple[str, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""
    licences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """What a training run is made of.

    Attributes:
        preset: the model.
        sources: the data.
        licence: of the weights.
        init: what to start from, as ``--init`` takes it; several files are averaged.
        must_not_see: file of names, relative to the recipe, that no sequence or folder of the data may have.
        choices: what ``varied`` changes in the preset, such as ``{"alignment": "non-local"}``.
        options: fields of ``TrainOptions``.
    """

    preset: str
    sources: tuple[DataSource, ...]
    licence: str
    init: tuple[str, ...] = ()
    must_not_see: str | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        OptionError: if it is missing or has fields that a recipe does not have.
    """
    try:
        content = json.loads(read_file(path, _MAX_BYTES))
        sources = [_source(entry) for entry in content.pop("sources")]
        options = content.setdefault("options", {})
        parts: tuple[tuple[str, Callable[..., object]], ...] = (("augmentation", Augmentation), ("loss", LossOptions))
        for name, kind in parts:
            if name in options:
                given = options[name].items()
                options[name] = kind(**_tuples(given))
        content["options"] = _tuples(options.items())
        init = content.get("init", ())
        content["init"] = (init,) if isinstance(init, str) else tuple(init)
        recipe = Recipe(sources=tuple(sources), **content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise OptionError(
            f"recipe {path}",
            got=f"{type(error).__name__}: {error}"[:200],
            expected=f"JSON with {', '.join(one.name for one in dataclasses.fields(Recipe))}",
            fix="docs/training.md shows one.",
        ) from error
    shares = [source.share for source in recipe.sources]
    if not shares or (any(shares) and not all(share is not None and share > 0 for share in shares)):
        fix = "Give each source a share above 0, or none of them."
        raise OptionError(f"recipe {path}: shares", got=shares, expected="positive numbers", fix=fix)
    return recipe


def located(recipe: Recipe, path: Path, root: Path) -> Recipe:
    """The recipe with paths that can be opened: its data under the root, its list beside the recipe's file."""
    sources = tuple(replace(source, data=str(root / source.data)) for source in recipe.sources)
    banned = None if recipe.must_not_see is None else str(path.parent / recipe.must_not_see)
    return replace(recipe, sources=sources, must_not_see=banned)


def _tuples(fields: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields}


def _source(entry: Mapping[str, Any]) -> DataSource:
    lists = {name: tuple(entry.get(name, ())) for name in ("hold_out", "licences")}
    return DataSource(**{**entry, **lists})
