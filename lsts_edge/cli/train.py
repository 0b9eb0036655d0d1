"""``lsts-edge train``: annotated videos and stills to a checkpoint."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lsts_edge.cli.group import examples
from lsts_edge.cli.show_progress import echo_progress
from lsts_edge.cli.variant_options import choices_of, variant_options
from lsts_edge.errors import OptionError

if TYPE_CHECKING:
    from lsts_edge.train.recipe import Recipe

__all__ = ["command"]


class _OncePerMachine(click.Command):
    """Of several processes with the same words, one a machine says what is wrong with them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As every command does."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if os.environ.get("LOCAL_RANK", "0") != "0":
                sys.exit(error.exit_code)
            raise


@click.command(
    "train",
    cls=_OncePerMachine,
    short_help="Train a checkpoint on annotated video.",
    epilog=examples(
        "lsts-edge train --data vid/train.json --data stills/annotations.json --output lite.safetensors --steps 1200",
        "lsts-edge train --data vid/train.json --output lite.safetensors --steps 1200 --log-dir logs --resume",
        "lsts-edge train --recipe pack/recipe.json --root pack --output lite.safetensors --minutes 8 --resume",
        "lsts-edge train --data vid/train.json --output a.safetensors --steps 600 --hold-out bear,bus --seed 1",
        "lsts-edge train --recipe examples/recipes/lsts-lite-1-frames.json --root data --output lite.safetensors",
        "lsts-edge train --recipe examples/recipes/lsts-r101-imagenet-vid.json --study-row table-3-1-non-local ...",
        "torchrun --standalone --nproc-per-node 8 -m lsts_edge train --device cuda --data vid/train.json ...",
    ),
)
@click.option("--data", multiple=True, metavar="JSON", help="COCO or COCO-VID style file; repeatable.")
@click.option("--recipe", metavar="FILE", help="JSON: data in shares, options, licence; what is given here wins.")
@click.option("--root", default=".", show_default=True, metavar="DIR", help="Folder of the recipe's data.")
@click.option("--output", required=True, metavar="FILE", help="Checkpoint to write (.safetensors).")
@click.option("--preset", help="Model preset [default: the recipe's, or lsts-lite].")
@click.option("--study-row", metavar="NAME", help="Train what a row of 'bench study' is: table-3-1-non-local, say.")
@variant_options
@click.option("--steps", type=int, help="Optimiser steps; needed without a recipe.")
@click.option(
    "--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N; under torchrun cpu, or cuda: a GPU each."
)
@click.option("--seed", type=int, help="Of everything random [default: the recipe's, or 0].")
@click.option("--threads", type=int, help="CPU threads; default: all.")
@click.option(
    "--init",
    multiple=True,
    metavar="FILE",
    help="'imagenet', 'none', a backbone file, or a checkpoint to go on from; of several checkpoints the mean.",
)
@click.option("--hold-out", default="", metavar="NAMES", help="Sequences to leave out, separated by commas.")
@click.option("--class-weight", "class_weights", multiple=True, metavar="NAME=W", help="Draw a class more often.")
@click.option("--batch", type=int, help="Images per step of the detector phase, of all processes.")
@click.option("--video-batch", type=int, help="Triplets per step of the video phase, of all processes.")
@click.option("--video-fraction", type=float, help="Share of the steps on triplets; 1 trains all on them.")
@click.option("--small-fraction", type=float, help="Share of the detector phase at three quarters of the size.")
@click.option("--learning-rate", type=float, help="For parts that start untrained.")
@click.option("--backbone-rate", type=float, help="For parts that start from ImageNet.")
@click.option("--images", type=click.Choice(("memory", "disk")), help="Keep all in memory, or read what is drawn.")
@click.option("--precision", type=click.Choice(("fp32", "bf16", "fp16")), help="[default: bf16 on CUDA, else fp32]")
@click.option("--optimizer", type=click.Choice(("adamw", "sgd")), help="[default: the preset's, see docs/training.md]")
@click.option("--schedule", type=click.Choice(("cosine", "steps")), help="How the rates fall [default: the preset's].")
@click.option("--weight-decay", type=float, help="Of all but the sampling offsets.")
@click.option("--clip-norm", type=float, help="Largest norm of a step's gradient; 0 does not clip.")
@click.option("--sampling", type=click.Choice(("online", "offline")), help="Keyframes before the frame, or around it.")
@click.option("--keyframes", type=int, help="In a triplet: 2, or more to unroll the memory further.")
@click.option("--bypass/--no-bypass", default=None, help="Align nothing between frames that are the same still image.")
@click.option("--freeze", multiple=True, metavar="PART", help="Part that stays, as backbone.conv1; repeatable.")
@click.option("--freeze-norms/--train-norms", default=None, help="Scale and shift of batch norms stay.")
@click.option("--train-low/--freeze-low", default=None, help="Train the part both paths share.")
@click.option("--train-heavy/--freeze-heavy", default=None, help="Train the heavy path in the video phase too.")
@click.option("--warm-start/--no-warm-start", default=None, help="Start the embeddings from the heavy features.")
@click.option("--train-depthwise/--freeze-depthwise", default=None, help="Train depthwise kernels (slow on CPUs).")
@click.option("--licence", help="Licence of the weights, put into the file [default: the recipe's, or 'not stated'].")
@click.option("--must-not-see", metavar="FILE", help="List of sequences and folders that stop the run.")
@click.option("--log-dir", metavar="DIR", help="Write curves for TensorBoard there (extra [tensorboard]).")
@click.option("--minutes", type=float, help="Stop after the step that passes them, for --resume to go on.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run of the same command, if there is one.")
def command(
    data: tuple[str, ...],
    recipe: str | None,
    root: str,
    output: str,
    preset: str | None,
    study_row: str | None,
    light_scale: float | None,
    alignment: str | None,
    variants: tuple[str, ...],
    device: str,
    threads: int | None,
    init: tuple[str, ...],
    hold_out: str,
    class_weights: tuple[str, ...],
    freeze: tuple[str, ...],
    licence: str | None,
    must_not_see: str | None,
    log_dir: str | None,
    minutes: float | None,
    resume: bool,
    **overrides: float | bool | str | None,
) -> None:
    """Train a network and write a safetensors checkpoint that states data, licence, seed, steps and command."""
    from lsts_edge.benchmarks.accuracy.recipes import row_choices
    from lsts_edge.train.job import TrainJob, run_job
    from lsts_edge.train.processes import joined

    with joined(device) as (processes, own_device):
        plan = _plan(data, recipe, root)
        chosen = {**plan.options, **{name: value for name, value in overrides.items() if value is not None}}
        if "steps" not in chosen:
            raise OptionError("--steps", got="nothing", expected="a number", fix="Say how many steps to train.")
        if class_weights:
            chosen["class_weights"] = dict(map(_class_weight, class_weights))
        if freeze:
            chosen["freeze"] = freeze
        row = {} if study_row is None else row_choices(study_row)
        job = TrainJob(
            data=plan.sources,
            output=output,
            preset=preset or plan.preset,
            device=own_device,
            threads=threads,
            init=init or plan.init,
            hold_out=tuple(name for name in hold_out.split(",") if name),
            licence=licence or plan.licence,
            must_not_see=must_not_see or plan.must_not_see,
            resume=resume,
            log_dir=log_dir,
            minutes=minutes,
            choices={**plan.choices, **row, **choices_of(variants, alignment, light_scale)},
            options=chosen,
        )
        end = run_job(job, echo_progress, processes)
        if not processes.is_first:
            return
        if end.checkpoint is not None:
            click.echo(f"written: {end.checkpoint} ({end.checkpoint.stat().st_size / 1e6:.1f} MB)")
        else:
            click.echo(
                f"stopped at step {end.step} of {end.steps} after {end.minutes:.1f} minutes; "
                "the same command with --resume goes on"
            )


def _plan(data: tuple[str, ...], recipe: str | None, root: str) -> Recipe:
    """What a recipe says, its data under the root and its list beside it; or the data alone."""
    from lsts_edge.train.recipe import DataSource, Recipe, located, read_recipe

    if bool(data) == bool(recipe):
        got = "both" if data else "neither"
        raise OptionError("--data, --recipe", got=got, expected="one of them", fix="Give files or a recipe.")
    if recipe is None:
        return Recipe("lsts-lite", tuple(map(DataSource, data)), "not stated")
    return located(read_recipe(Path(recipe)), Path(recipe), Path(root))


def _class_weight(text: str) -> tuple[str, float]:
    name, _, weight = text.partition("=")
    try:
        return name, float(weight)
    except ValueError:
        raise OptionError("--class-weight", got=repr(text), expected="NAME=NUMBER", fix="Correct it.") from None
