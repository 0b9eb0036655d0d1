"""``lsts-edge wrap``: somebody's ONNX detector becomes a bundle that runs the way that pays on their own clips."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from lsts_edge.cli.group import examples, json_option
from lsts_edge.cli.show_progress import echo_progress
from lsts_edge.cli.size_option import size_hw
from lsts_edge.errors import OptionError

if TYPE_CHECKING:
    from lsts_edge.publish.wrap.study import MachineUsed, Study, StudyRow

__all__ = ["NOT_KEPT", "command", "study_lines"]

NOT_KEPT = 9
"""Exit status where nothing that was measured keeps what was asked for; the bundle is there all the same."""

_EVERY_S = 5.0


@click.command(
    "wrap",
    short_help="Make a bundle of your own ONNX detector, run the way that pays.",
    epilog=examples(
        "lsts-edge wrap detector.onnx --clips footage/ --output bundle",
        "lsts-edge wrap picodet.onnx --size 448x256 --clips footage/ --output bundle --precision auto",
        "lsts-edge wrap detector.onnx --clips a.mp4 --clips b.mp4 --output bundle --budget-ms 5",
        "lsts-edge wrap odd.onnx --spec odd.json --classes names.txt --clips footage/ --output bundle",
        "lsts-edge wrap detector.onnx --clips footage/ --stills coco/val.json --annotations video/val.json --output b",
    ),
)
@click.argument("detector", type=click.Path(path_type=Path))
@click.option("--clips", multiple=True, type=click.Path(path_type=Path), help="A video or a folder. May be repeated.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The bundle's directory.")
@click.option("--family", default="auto", show_default=True, help="yolox, picodet, detr, yolov8, ...: see the docs.")
@click.option("--spec", type=click.Path(path_type=Path), help="JSON: how the detector is fed and read.")
@click.option("--classes", type=click.Path(path_type=Path), help="Class names, one in each line.")
@click.option("--size", metavar="WIDTHxHEIGHT", help="Largest input that is looked at [default: the file's].")
@click.option("--truth-score", type=float, help="The detector's boxes are true from here on [default: its family's].")
@click.option("--stills", type=click.Path(path_type=Path), help="Labelled stills to find that score on (best F1).")
@click.option("--annotations", type=click.Path(path_type=Path), help="Labelled sequences: AP50 besides agreement.")
@click.option("--min-agreement", type=float, default=0.85, show_default=True, help="The cheapest that keeps it is run.")
@click.option("--intervals", default="2,2.5,3,4,5,10", show_default=True, help="From keyframe to keyframe.")
@click.option(
    "--motions",
    default="0.05,0.1,0.15,0.2,0.3",
    show_default=True,
    help="Keyframes once moved boxes have moved by this share of their size, at most 6 frames apart; '' for none.",
)
@click.option("--budget-ms", type=float, help="Run what agrees best within this time a frame instead.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "auto"]),
    default="fp32",
    show_default=True,
    help="auto: int8 too, calibrated on the clips that choose.",
)
@click.option("--backend", "engines", multiple=True, help="Engine to time. May be repeated [default: all installed].")
@click.option("--threads", type=int, help="Threads inside an operator [default: the engine's choice].")
@click.option("--minutes", type=float, default=30.0, show_default=True, help="That measuring may take.")
@click.option("--name", default="", help="Of the bundle [default: that of its directory].")
@click.option("--licence", default="", metavar="TEXT", help="Of the detector's weights.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["onnx", "openvino"]),
    help="openvino: write OpenVINO IR beside the ONNX files. May be repeated.",
)
@click.option(
    "--keep",
    type=click.Choice(["all", "chosen"]),
    default="all",
    show_default=True,
    help="chosen: only the graphs that the chosen way runs.",
)
@click.option("--record/--no-record", default=True, help="Keep some frames of the clips in it, to verify it with.")
@click.option("--record-licence", default="", metavar="TEXT", help="Of those frames.")
@click.option("--study", type=click.Path(path_type=Path), help="Write the study here [default: OUTPUT.study.json].")
@click.option("--report", type=click.Path(path_type=Path), help="Write the page here [default: OUTPUT.report.html].")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder of results, for interrupted runs.")
@click.option("--fresh", is_flag=True, help="Measure again what an earlier run has left there.")
@click.option("--learn", is_flag=True, help="Learn LSTS around it too, from its own outputs; needs torch, takes hours.")
@click.option("--learn-steps", type=int, default=3000, show_default=True, help="Steps of the optimiser.")
@click.option(
    "--learn-form",
    type=click.Choice(["taps", "custom"]),
    default="taps",
    show_default=True,
    help="LSTS in standard operators, or as the op: faster, where its library is.",
)
@click.option(
    "--learn-size", metavar="WIDTHxHEIGHT", help="Learn at this smaller input, for less time [default: --size]."
)
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is there.")
@json_option
def command(
    detector: Path,
    clips: tuple[Path, ...],
    output: Path,
    family: str,
    spec: Path | None,
    size: str | None,
    intervals: str,
    motions: str,
    formats: tuple[str, ...],
    study: Path | None,
    report: Path | None,
    cache: Path | None,
    learn: bool,
    learn_steps: int,
    learn_form: Literal["taps", "custom"],
    learn_size: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Make a bundle of DETECTOR, an ONNX file, that runs on video the way that pays, chosen by measurement.

    The detector on every frame is the truth: no labels are needed. Ways to fill the frames between keyframes are run on
    your clips beside smaller inputs; half of the clips choose one, the other half state what it keeps and costs. An
    interrupted run goes on where it was when it is started again; nothing is written before all is done.

    Where nothing keeps --min-agreement or --budget-ms, the bundle runs the nearest to it and the exit status is 9.
    """
    from lsts_edge.cache import cache_folder
    from lsts_edge.export.detectors.spec import FAMILIES, read_spec_file
    from lsts_edge.publish.wrap.learn.options import LearnOptions
    from lsts_edge.publish.wrap.options import WrapOptions
    from lsts_edge.publish.wrap.report import study_html
    from lsts_edge.publish.wrap.wrap import wrap
    from lsts_edge.runtime.sinks.partial_file import PartialFile

    if family != "auto" and family not in FAMILIES:
        expected = f"auto, {', '.join(FAMILIES)}"
        raise OptionError("--family", got=repr(family), expected=expected, fix="Choose one of these.")
    if not output.name:
        raise OptionError("--output", got=repr(str(output)), expected="the name of a folder to make", fix="Name one.")
    kept = cache or cache_folder("wrap")
    if kept is None:
        expected, fix = "a folder for results", "Give --cache FOLDER, or set XDG_CACHE_HOME."
        raise OptionError("--cache", got="no home folder", expected=expected, fix=fix)
    written = study or output.with_name(f"{output.name}.study.json")
    page = report or output.with_name(f"{output.name}.report.html")
    study_file, page_file = PartialFile(written), PartialFile(page)
    options = WrapOptions(
        family=None if family == "auto" else family,  # type: ignore[arg-type]
        overrides={} if spec is None else read_spec_file(spec),
        size=None if size is None else size_hw(size),
        intervals=_numbers("--intervals", intervals, "2,2.5,5"),
        motions=_numbers("--motions", motions, "0.1,0.2") if motions.strip() else (),
        openvino="openvino" in formats,
        learn=None
        if not learn
        else LearnOptions(steps=learn_steps, form=learn_form, size=None if learn_size is None else size_hw(learn_size)),
        **given,
    )
    done = wrap(
        detector,
        clips,
        output,
        machine=_machine(),
        cache=kept,
        options=options,
        progress=_Told(),
    )
    files = (study_file, page_file)
    try:
        for file, content in zip(files, (done.study.to_json(), study_html(done.study).encode()), strict=True):
            file.create().write_bytes(content)
        for file in files:
            file.publish()
    except BaseException:
        for file in files:
            file.discard()
        raise
    for file in files:
        file.settle()
    if as_json:
        result = {"bundle": str(output), "study": str(written), "report": str(page), **done.study.to_dict()}
        click.echo(json.dumps({**result, "bundle_digest": f"sha256:{done.bundle.digest}"}, indent=2))
    else:
        for line in study_lines(done.study):
            click.echo(line)
        total = sum(info.bytes for info in done.bundle.manifest.files.values())
        click.echo(f"study: {written}, to look at: {page}")
        click.echo(f"wrote {output}: {len(done.bundle.manifest.files)} files, {total / 2**20:.1f} MB")
    if not done.study.met:
        click.echo(f"NOT KEPT: {_asked(done.study)} (exit status {NOT_KEPT}).", err=True)
        sys.exit(NOT_KEPT)


def study_lines(study: Study) -> Iterator[str]:
    """The front and the named rivals, then what to run and why."""
    truth, sample = study.truth, study.sample
    yield ""
    yield f"{study.detector.file}: {study.detector.family}, {len(study.detector.classes)} classes"
    yield f"measured on {sample.words}"
    yield f"true from score {truth.words}; {sample.true_boxes} boxes; times on {study.machine.name}"
    for clip in study.left_out:
        yield f"left out: {clip.name}: {clip.reason}"
    yield ""
    shown = [row for row in study.rows if row.chosen or row.on_front or row.reason]
    shown.sort(key=lambda row: row.time_ms.mean)
    width = max(len(row.label) for row in shown)
    title = f"  {'way':<{width}}  {'engine':<11}  {'prec':<4}  {'ms':>7}  {'p99':>7}  {'faster':>7}  agreement"
    yield f"{title}{' ' * 17}at {truth.lower:g} / {truth.upper:g}"
    for row in shown:
        yield _line(row, width)
    yield "  > chosen, * on the front: nothing as cheap agrees better"
    yield ""
    for note in study.notes:
        yield f"note: {note}"
    yield f"why: {study.chosen.reason}"
    yield f"run: {study.command}"
    yield study.verdict


def _asked(study: Study) -> str:
    """What was asked for in vain, and what runs instead."""
    row = study.chosen
    runs = f"the bundle runs {row.label}, {row.time_ms.mean:.2f} ms a frame"
    if row.choosing_agreement is None:
        return f"agreement is undefined, for the detector finds nothing in these clips; {runs}"
    asked = f"an agreement of {study.min_agreement:g}" if study.budget_ms is None else f"{study.budget_ms:g} ms a frame"
    return f"nothing that was measured keeps {asked}; {runs}, agreement {row.choosing_agreement:.3f}"


def _line(row: StudyRow, width: int) -> str:
    mark = ">" if row.chosen else "*" if row.on_front else " "
    agreed = row.agreement
    between = "" if agreed.low is None else f"[{agreed.low:.3f}, {agreed.high:.3f}]"
    labels = "" if row.ap50 is None or row.ap50.value is None else f"  AP50 {row.ap50.value:.3f}"
    return (
        f"{mark} {row.label:<{width}}  {row.engine:<11}  {row.precision:<4}  {row.time_ms.mean:7.2f}  "
        f"{row.time_ms.p99:7.2f}  {row.speedup:6.2f}x  {_figure(agreed.pooled):<9} {between:<16}"
        f"{_figure(agreed.at_lower)} / {_figure(agreed.at_upper)}{labels}"
    )


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


class _Told:
    """Steps as they begin, counts every few seconds."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._last = 0.0

    def __call__(self, what: str, done: int = 0, total: int = 0, /) -> None:
        now = time.monotonic()
        if total and 0 < done < total and now - self._last < _EVERY_S:
            return
        self._last = now
        echo_progress(f"[{now - self._begin:6.1f} s] {what}", done, total)


def _numbers(option: str, text: str, example: str) -> tuple[float, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"\d{1,4}(\.\d{1,3})?", part) for part in parts):
        raise OptionError(option, got=repr(text), expected=f"numbers, such as {example}", fix="Correct it.")
    return tuple(float(part) if "." in part else int(part) for part in parts)


def _machine() -> MachineUsed:
    from lsts_edge.benchmarks.machine import describe_device, package_versions
    from lsts_edge.publish.wrap.study import MachineUsed

    device = describe_device()
    return MachineUsed(device.name, device.key, package_versions())
