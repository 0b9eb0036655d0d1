"""The rows of the study, one small file each in ``rows/``: what is trained, run or repeated, and the paper's figure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lsts_edge.bundle.strict_json import decode, parse_json
from lsts_edge.errors import OptionError
from lsts_edge.presets import AlignmentName, Blend, ModelPreset

__all__ = ["COMPARISONS_FILE", "TABLES", "Comparison", "Recipe", "Variant", "read_comparisons", "read_recipes"]

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
    "trained", "same-as", "schedule", "per-frame", "hold", "flow-boxes", "smaller-input", "detections", "not-built"
]


@dataclass(frozen=True)
class Variant:
    """What a trained row changes of the preset; the defaults are the full model.

    Attributes:
        alignment: of ``presets.ALIGNMENTS``.
        srfu: how keyframes blend: ``quality``, ``mean`` or ``off``.
        dfa: how the frames between blend.
        transform: whether they have a Transform unit.
        init: of the sampling locations.
        locations: how many.
        learn_offsets: whether they are learned.
        spread_cells: standard deviation or step of the locations at the start.
        recurrent: the previous frame's result is aligned in place of the keyframe's.
    """

    alignment: AlignmentName = "lsts"
    srfu: Blend = "quality"
    dfa: Blend = "quality"
    transform: bool = True
    init: Literal["gaussian", "uniform"] = "gaussian"
    locations: int = 40
    learn_offsets: bool = True
    spread_cells: float = 1.0
    recurrent: bool = False

    def of(self, preset: ModelPreset) -> ModelPreset:
        """The preset with these changes.

        Raises:
            OptionError: if they do not go together.
        """
        if preset.lsts is None:
            raise OptionError("preset of the study", got=preset.name, expected="one with LSTS", fix="Give lsts-lite.")
        lsts = dataclasses.replace(
            preset.lsts,
            init=self.init,
            locations=self.locations,
            learn_offsets=self.learn_offsets,
            spread_cells=self.spread_cells,
        )
        return dataclasses.replace(
            preset,
            lsts=lsts,
            alignment=self.alignment,
            srfu=self.srfu,
            dfa=self.dfa,
            transform=preset.transform if self.transform else (),
            recurrent=self.recurrent,
        )


@dataclass(frozen=True)
class Recipe:
    """One row.

    Attributes:
        row: its name, that of the file.
        table: of ``TABLES``.
        label: in the table.
        kind: what it is made of: ``trained`` a variant; ``same-as`` another row; ``schedule`` another row's weights at
            another interval; ``per-frame``, ``hold``, ``flow-boxes`` and ``smaller-input`` the detector itself,
            untrained; ``detections`` a file that is given; ``not-built`` nothing that is here.
        variant: of a trained row.
        of: the row that it is the same as, or whose weights it runs.
        interval: frames from keyframe to keyframe.
        input_px: height and width of a smaller input.
        paper_map: what the paper states for it, mean AP on ImageNet VID.
        why_not: why it is not built.
    """

    row: str
    table: str
    label: str
    kind: Kind
    variant: Variant = field(default_factory=Variant)
    of: str | None = None
    interval: int = 10
    input_px: tuple[int, int] | None = None
    paper_map: float | None = None
    why_not: str = ""


@dataclass(frozen=True)
class Comparison:
    """A claim: ``first`` is better than ``second``; ``paper_points``: by so many points in the paper."""

    claim: str
    first: str
    second: str
    paper_points: float | None = None


@dataclass(frozen=True)
class _Comparisons:
    comparisons: tuple[Comparison, ...]


def read_recipes(folder: Path | None = None) -> list[Recipe]:
    """All rows, by table in the order of ``TABLES``, then by file name.

    Args:
        folder: other recipes than those that come along.
    Raises:
        ManifestError: if a file is no recipe.
        OptionError: if there is none, or one names a table or row that is not there.
    """
    folder = folder or _FOLDER
    recipes = [
        decode(Recipe, parse_json(path.read_bytes(), max_bytes=_MAX_BYTES, file=path.name), path.name)
        for path in sorted(folder.glob("*.json"))
    ]
    rows = {recipe.row for recipe in recipes}
    for recipe in recipes:
        if recipe.table not in TABLES:
            raise OptionError(f"recipe {recipe.row}", got=recipe.table, expected=", ".join(TABLES), fix="Correct it.")
        if (recipe.kind in ("same-as", "schedule")) != (recipe.of is not None) or recipe.of not in {None, *rows}:
            raise OptionError(f"recipe {recipe.row}", got=f"of {recipe.of}", expected="a row", fix="Correct it.")
    if not recipes:
        raise OptionError("recipes", got=f"none in {folder}", expected="a .json file for each row", fix="Add them.")
    order = list(TABLES)
    return sorted(recipes, key=lambda recipe: (order.index(recipe.table), recipe.row))


def read_comparisons(path: Path = COMPARISONS_FILE) -> tuple[Comparison, ...]:
    """The paper's claims, and ours, that rows can support.

    Raises:
        ManifestError: if the file is none of that kind.
    """
    data = parse_json(path.read_bytes(), max_bytes=_MAX_BYTES, file=path.name)
    return decode(_Comparisons, data, path.name).comparisons
