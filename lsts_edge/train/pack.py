"""A training set small enough to carry: a recipe and what it names, re-encoded and thinned until it fits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from lsts_edge.datasets.publish_folder import published_folder
from lsts_edge.datasets.publish_json import publish_json
from lsts_edge.errors import OptionError
from lsts_edge.kinds import check_fields
from lsts_edge.presets import get_preset
from lsts_edge.progress import Progress, silent
from lsts_edge.read_file import read_file
from lsts_edge.train.budget import share_out, thin
from lsts_edge.train.pack_source import PackSource
from lsts_edge.train.recipe import Recipe, located, read_recipe
from lsts_edge.train.sources import read_sources
from lsts_edge.variants import varied

__all__ = ["PackOptions", "PackedSource", "pack_training", "size_of_folder"]

_MIB = 1 << 20
_RECIPE, _LIST = "recipe.json", "must_not_see.txt"
_HEAD_BYTES = 400  # of an annotation file beside its rows and what it says of itself


@dataclass(frozen=True)
class PackOptions:
    """How much a pack may hold.

    Attributes:
        mib: of all files together.
        quality: of the WebP files, 1 to 100.
    """

    mib: float = 28.0
    quality: int = 50

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < self.mib <= 1e6:
            raise OptionError("--mib", got=self.mib, expected="above 0, at most 1000000", fix="Correct it.")
        if not 1 <= self.quality <= 100:
            raise OptionError("--quality", got=self.quality, expected="1..100", fix="Correct it.")


@dataclass(frozen=True)
class PackedSource:
    """What was taken of a source; ``of_`` is what there was, licence and hold-out considered."""

    data: str
    images: int
    of_images: int
    sequences: int
    of_sequences: int
    size_bytes: int


def pack_training(
    recipe_file: Path, root: Path, output: Path, options: PackOptions | None = None, progress: Progress = silent
) -> tuple[PackedSource, ...]:
    """Write a folder that ``train --recipe OUTPUT/recipe.json --root OUTPUT`` trains from.

    Images have the size that training reduces them to. The bytes go to the sources by their shares; of each sequence
    the same fraction of a source's images is kept, evenly spaced, of its stills likewise.

    Args:
        recipe_file: the recipe.
        root: folder of its data.
        output: a folder that is not there yet, or an empty one.
        options: None takes the usual ones.
        progress: told of images done and images in all.

    Returns:
        What was taken, source by source.

    Raises:
        OptionError: if the budget holds less than one image of each sequence, the recipe names data outside the root
            or twice, or it cannot be trained on (see ``read_sources``).
        AnnotationError: if annotations or an image cannot be read.
        FileUnwritable: if the folder cannot be made, or has something in it.
    """
    options = options or PackOptions()
    given = read_recipe(recipe_file)
    names = _names(given)
    recipe = located(given, recipe_file, root)
    preset = varied(get_preset(recipe.preset), recipe.choices)
    with published_folder(output) as folder:
        _copy_recipe(recipe_file, recipe, folder)
        data = read_sources(recipe.sources, preset.head.classes, must_not_see=recipe.must_not_see)
        side_px = max(preset.input.height_px, preset.input.width_px)
        sources = [
            PackSource(annotations, data.held_out, max_side_px=side_px, quality=options.quality)
            for annotations in data.sets
        ]
        costs = _costs(sources, progress)
        shares = [one.share if one.share is not None else float(sum(cost)) for one, cost in
                  zip(recipe.sources, costs, strict=True)]  # fmt: skip
        taken = _choose(sources, costs, shares, options, size_of_folder(folder))
        packed = []
        for name, source, places in zip(names, sources, taken, strict=True):
            before = size_of_folder(folder)
            content = source.content(places, of_images=len(source), max_side_px=side_px, webp_quality=options.quality)
            _write(folder / name, source, places, content, progress)
            packed.append(_told(str(name), source, places, size_of_folder(folder) - before))
        assert size_of_folder(folder) <= options.mib * _MIB, "costs are at least what is written"
    return tuple(packed)


def _names(recipe: Recipe) -> list[PurePath]:
    """Where the sources are under the root, and will be in the pack."""
    names = [PurePath(source.data) for source in recipe.sources]
    for name in names:
        if name.is_absolute() or ".." in name.parts or not name.name or str(name) in (_RECIPE, _LIST):
            expected = f"a path under --root, other than {_RECIPE} and {_LIST}"
            raise OptionError("recipe's data", got=repr(str(name)), expected=expected, fix="Move or rename it.")
    if len(set(names)) < len(names):
        got = sorted(str(name) for name in set(names) if names.count(name) > 1)
        raise OptionError("recipe's data", got=got, expected="each file once", fix="Pack a recipe for each.")
    return names


def _copy_recipe(recipe_file: Path, recipe: Recipe, folder: Path) -> None:
    """The recipe and its list, which the copy finds beside it."""
    content = json.loads(read_file(recipe_file, _MIB))
    if recipe.must_not_see is not None:
        try:
            (folder / _LIST).write_bytes(read_file(recipe.must_not_see, _MIB))
        except OSError as error:
            got = error.strerror or str(error)
            problem = f"list {recipe.must_not_see}"
            raise OptionError(problem, got=got, expected="a text file", fix="Check the path.") from error
        content["must_not_see"] = _LIST
    publish_json(content, folder / _RECIPE)


def _costs(sources: Sequence[PackSource], progress: Progress) -> list[list[int]]:
    """Bytes that each image would take, by encoding it."""
    total, done = sum(map(len, sources)), 0
    costs: list[list[int]] = []
    for source in sources:
        costs.append([])
        for at in range(len(source)):
            progress("images measured", done, total)
            costs[-1].append(len(source.encoded(at)) + source.rows_bytes(at))
            done += 1
    return costs


def _choose(
    sources: Sequence[PackSource],
    costs: Sequence[Sequence[int]],
    shares: Sequence[float],
    options: PackOptions,
    used_bytes: int,
) -> list[list[int]]:
    """Images to take of each source."""
    budget = int(options.mib * _MIB) - used_bytes
    budget -= sum(len(json.dumps(source.content([]))) + _HEAD_BYTES for source in sources)
    rows = list(zip(sources, costs, strict=True))
    fewest = [sum(cost[at] for at in thin(source.groups, cost, 0)) for source, cost in rows]
    parts = share_out(budget, fewest, [sum(cost) for cost in costs], shares)
    if parts is None:
        needed = options.mib + (sum(fewest) - budget) / _MIB
        expected = f"{needed + 0.01:.2f} or more, for one image of each sequence"
        raise OptionError("--mib", got=options.mib, expected=expected, fix="Give more, or a lower --quality.")
    return [thin(source.groups, cost, part) for (source, cost), part in zip(rows, parts, strict=True)]


def _write(file: Path, source: PackSource, places: Sequence[int], content: dict[str, Any], progress: Progress) -> None:
    publish_json(content, file)
    file.with_name(f"{file.name}.frames").mkdir()
    for done, at in enumerate(places):
        progress(f"images of {file.name}", done, len(places))
        (file.parent / source.file(at)).write_bytes(source.encoded(at))


def _told(name: str, source: PackSource, places: Sequence[int], size_bytes: int) -> PackedSource:
    sequences = {source.sequences[at] for at in places}
    return PackedSource(name, len(places), len(source), len(sequences), len(set(source.sequences)), size_bytes)


def size_of_folder(folder: Path) -> int:
    """Bytes of all files in it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
