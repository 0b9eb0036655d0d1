"""The rows of the study, one small file each in ``rows/``: what is trained, run or repeated, and the paper's figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lsts_edge.bundle.strict_json import decode, parse_json
from lsts_edge.errors import OptionError
from lsts_edge.presets import ModelPreset
from lsts_edge.variants import parse_choices, varied

__all__ = ["COMPARISONS_FILE", "TABLES", "ClaimRecipe", "RowRecipe", "read_comparisons", "read_recipes", "row_choices"]

TABLES = {
    "table-1": "Table 1: the detectors that can be built here",
    "table-2-flow": "Table 2, first half: the framework with optical flow",
    "table-2-ours": "Table 2, second half: the framework with LSTS",
    "table-3": "Table 3: other alignments in the same framework",
    "table-4": "Table 4: how the sampling locations start, and whether they are learned",
    "intervals": "Keyframe intervals of the full model",
    "ways": "Ways that need no training, and what the full model is without its parts",
    "peers": "Detectors that one would pick instead, on every frame",
}
"""Titles, in the order of the page."""

COMPARISONS_FILE = Path(__file__).parent / "comparisons.json"
_FOLDER = Path(__file__).parent / "rows"
_MAX_BYTES = 2**16

Kind = Literal[
    "trained",
    "same-as",
    "schedule",
    "seq-nms",
    "per-frame",
    "hold",
    "flow-boxes",
    "smaller-input",
    "detections",
    "not-built",
]
_OF_ANOTHER = ("same-as", "schedule", "seq-nms")
_OF_ALL_ROWS = {"light_scale": "1"}  # the paper's light path, whatever a preset has; a row that says another has that


@dataclass(frozen=True)
class RowRecipe:
    """One row.

    Attributes:
        row: its name, that of the file.
        table: of ``TABLES``.
        label: in the table.
        kind: what it is made of: ``trained`` a variant; ``same-as`` another row; ``schedule`` another row's weights at
            another interval; ``seq-nms`` another row's boxes after it; ``per-frame``, ``hold``, ``flow-boxes`` and
            ``smaller-input`` the detector itself, untrained; ``detections`` a file that is given; ``not-built``
            nothing that is here.
        variant: of a trained row, or one that could be: what it changes of the preset, in the words of
            ``lsts_edge.variants``.
        of: the row that it is the same as, or that it starts from.
        interval: frames from keyframe to keyframe.
        input_px: height and width of a smaller input.
        paper_map: what the paper states for it, mean AP on ImageNet VID.
        why_not: why it is not built.
    """

    row: str
    table: str
    label: str
    kind: Kind
    variant: Mapping[str, str] = field(default_factory=dict)
    of: str | None = None
    interval: int = 10
    input_px: tuple[int, int] | None = None
    paper_map: float | None = None
    why_not: str = ""

    @property
    def choices(self) -> dict[str, Any]:
        """What it changes of a preset, as ``varied`` takes it.

        Raises:
            OptionError: if the choices are unknown.
        """
        return parse_choices({**_OF_ALL_ROWS, **self.variant})

    def preset(self, preset: ModelPreset) -> ModelPreset:
        """The preset as this row has it.

        Raises:
            OptionError: if the choices are unknown or do not go together.
        """
        return varied(preset, self.choices)


@dataclass(frozen=True)
class ClaimRecipe:
    """A claim: ``first`` is better than ``second``; ``paper_points``: by so many points in the paper."""

    claim: str
    first: str
    second: str
    paper_points: float | None = None


@dataclass(frozen=True)
class _Comparisons:
    comparisons: tuple[ClaimRecipe, ...]


def read_recipes(folder: Path | None = None) -> list[RowRecipe]:
    """All rows, by table in the order of ``TABLES``, then by file name.

    Args:
        folder: other recipes than those that come along.
    Raises:
        ManifestError: if a file is no recipe.
        OptionError: if there is none, or one names a table or row that is not there.
    """
    folder = folder or _FOLDER
    recipes = [
        decode(RowRecipe, parse_json(path.read_bytes(), max_bytes=_MAX_BYTES, file=path.name), path.name)
        for path in sorted(folder.glob("*.json"))
    ]
    rows = {recipe.row for recipe in recipes}
    for recipe in recipes:
        if recipe.table not in TABLES:
            raise OptionError(f"recipe {recipe.row}", got=recipe.table, expected=", ".join(TABLES), fix="Correct it.")
        if (recipe.kind in _OF_ANOTHER) != (recipe.of is not None) or recipe.of not in {
            None,
            *rows,
        }:
            raise OptionError(f"recipe {recipe.row}", got=f"of {recipe.of}", expected="a row", fix="Correct it.")
    if not recipes:
        raise OptionError("recipes", got=f"none in {folder}", expected="a .json file for each row", fix="Add them.")
    order = list(TABLES)
    return sorted(recipes, key=lambda recipe: (order.index(recipe.table), recipe.row))


def row_choices(row: str) -> dict[str, Any]:
    """What a row changes of a preset, as ``varied`` takes it, to train it in full rather than on frozen features.

    Args:
        row: that is trained, or made from one that is (``same-as``, ``schedule``, ``seq-nms``): then of that.
    Raises:
        OptionError: if there is no such row, or nothing of ours is trained in it.
    """
    recipes = {recipe.row: recipe for recipe in read_recipes()}
    recipe = recipes.get(row)
    if recipe is not None and recipe.of is not None:
        recipe = recipes[recipe.of]
    if recipe is None or not (recipe.kind == "trained" or recipe.variant):
        trained = ", ".join(one.row for one in recipes.values() if one.kind == "trained" or one.variant)
        raise OptionError("row of the study", got=repr(row), expected=trained, fix="Choose one that is trained.")
    return recipe.choices


def read_comparisons(path: Path = COMPARISONS_FILE) -> tuple[ClaimRecipe, ...]:
    """The paper's claims, and ours, that rows can support.

    Raises:
        ManifestError: if the file is none of that kind.
    """
    data = parse_json(path.read_bytes(), max_bytes=_MAX_BYTES, file=path.name)
    return decode(_Comparisons, data, path.name).comparisons
