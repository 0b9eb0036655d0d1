"""``lsts-edge bench study``: the paper's tables repeated on one's own annotated video."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lsts_edge.cli.group import examples, json_option
from lsts_edge.cli.show_progress import rewritten_line
from lsts_edge.errors import OptionError

if TYPE_CHECKING:
    from lsts_edge.benchmarks.accuracy.study import StudyOptions

__all__ = ["command"]

_CHECKPOINT = Path("examples/weights/lsts-lite.safetensors")


@click.command(
    "study",
    short_help="The paper's comparisons, repeated on annotated video.",
    epilog=examples(
        "lsts-edge bench study --train vid/train.json --validation vid/val.json --list",
        "lsts-edge bench study --train vid/train.json --validation vid/val.json --tables table-3,table-4 --seeds 3",
        "lsts-edge bench study --train vid/train.json --validation vid/val.json --rows table-2-ours-g --steps 100",
        "lsts-edge bench study --train vid/train.json --validation vid/val.json --output study.json --output study.md",
    ),
)
@click.option("--train", required=True, type=click.Path(path_type=Path), help="COCO-VID annotations to train rows on.")
@click.option(
    "--validation", required=True, type=click.Path(path_type=Path), help="Those to measure on; no row sees them."
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    default=_CHECKPOINT,
    show_default=True,
    help="A detector with LSTS; its backbone is frozen.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("study"),
    show_default=True,
    help="Where features and finished runs are kept; the same command goes on from there.",
)
@click.option("--tables", default="", metavar="NAMES", help="Only these tables, separated by commas.")
@click.option("--rows", default="", metavar="NAMES", help="Only these rows, separated by commas.")
@click.option("--seeds", type=click.IntRange(1, 100), default=3, show_default=True, help="Trainings of each row.")
@click.option("--steps", type=click.IntRange(1), default=400, show_default=True, help="Optimiser steps of a training.")
@click.option("--batch", type=click.IntRange(1), default=4, show_default=True, help="Triplets a step.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads; default: all.")
@click.option("--mirror", is_flag=True, help="Train on mirrored frames too: twice the cache.")
@click.option(
    "--detections",
    "given",
    multiple=True,
    metavar="ROW=FILE",
    help="For a row of the table peers: detections, an ONNX detector, or NanoDet-Plus's ncnn .param; repeatable.",
)
@click.option("--note", default="", help="About the data, for the page.")
@click.option("--list", "list_only", is_flag=True, help="Say (and --output) what has been run, run nothing.")
@click.option(
    "--output",
    "outputs",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Write the result (.json) or the page (.md), after every run; may be repeated.",
)
@json_option
def command(
    train: Path,
    validation: Path,
    checkpoint: Path,
    folder: Path,
    tables: str,
    rows: str,
    seeds: int,
    steps: int,
    batch: int,
    threads: int | None,
    mirror: bool,
    given: tuple[str, ...],
    note: str,
    list_only: bool,
    outputs: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Train every row of the study on the cached features of a frozen backbone and compare them, seed by seed.

    A row trains Transform, alignment, SRFU, DFA and head: minutes on one core. All rows are run with the first seed,
    then with the next, so that whatever is there can be compared. An interrupted study goes on where it was.
    """
    for output in outputs:
        if output.suffix not in (".json", ".md"):
            fix = "Name the file so that its ending says what it is."
            raise OptionError("--output", got=output.name, expected="a name ending in .json or .md", fix=fix)
    from lsts_edge.benchmarks.accuracy.study import PaperStudy, StudyOptions
    from lsts_edge.benchmarks.accuracy.study_tables import study_markdown, study_text
    from lsts_edge.benchmarks.results import to_json, write_result, write_text
    from lsts_edge.train.frozen_training import FrozenOptions

    options = StudyOptions(
        checkpoint=checkpoint,
        train=train,
        validation=validation,
        folder=folder,
        seeds=tuple(range(seeds)),
        tables=_names(tables),
        rows=_names(rows),
        training=FrozenOptions(steps=steps, batch=batch),
        threads=threads,
        mirrored=mirror,
        given=dict(map(_given, given)),
        note=note,
    )

    file = next((output.name for output in outputs if output.suffix == ".json"), "")

    def write() -> None:
        result = study.result()
        for output in outputs:
            if output.suffix == ".json":
                write_result(output, result)
            else:
                write_text(output, study_markdown(result, file))

    with rewritten_line(sys.stderr) as progress:
        study = PaperStudy(options, _command(options), progress)
        if not list_only:
            study.run(write if outputs else lambda: None)
    if outputs:
        write()
    result = study.result()
    click.echo(to_json(result) if as_json else study_text(result))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _given(text: str) -> tuple[str, Path]:
    row, separator, file = text.partition("=")
    if not separator or not file:
        raise OptionError("--detections", got=repr(text), expected="ROW=FILE", fix="Correct it.")
    return row, Path(file)


def _command(options: StudyOptions) -> str:
    """What runs it again, without anybody's folders."""
    from lsts_edge.benchmarks.accuracy.study import set_name

    words = [f"--train {set_name(options.train)}", f"--validation {set_name(options.validation)}"]
    if options.checkpoint != _CHECKPOINT:
        words.append(f"--checkpoint {options.checkpoint.name}")
    words += [f"--seeds {len(options.seeds)}", f"--steps {options.training.steps}", f"--batch {options.training.batch}"]
    return " ".join(["lsts-edge bench study", *words])
