"""The main tables, measured again on this machine: each an ``lsts-edge`` command in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lsts_edge.benchmarks.encoded_clip import clip_name, encode_clip
from lsts_edge.errors import CheckFailed, FileUnwritable
from lsts_edge.kinds import check_fields
from lsts_edge.progress import Progress, silent
from lsts_edge.runtime.engines.installed import installed_engines

__all__ = ["SuiteCommand", "SuiteOptions", "run_suite", "suite_commands"]

_EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
LITE_CHECKPOINT = _EXAMPLES / "weights" / "lsts-lite.safetensors"
LITE_INT8_BUNDLE = _EXAMPLES / "bundles" / "lsts-lite-int8"
R101_LOWERED = "heavy,light"
"""Graphs of ``lsts-r101`` in int8: its weights are random, so no gate can choose; only times are told of it."""


@dataclass(frozen=True)
class SuiteOptions:
    """Where results go and what is at hand. ``quick`` runs few frames: to see that everything works, not to quote.

    ``source`` is a clip for ``lsts-lite`` (the procedural one unless given); ``yolox``, ``nanodet`` and
    ``annotations`` are the peers' files and the annotated video that accuracy is measured on. The int8 ``lsts-lite``
    is the committed bundle; with ``calibration`` it is made here, from other annotations: sequences that the
    checkpoint held out of training are its gate, others give ranges.
    """

    output: Path
    quick: bool = False
    paper_size: bool = True
    source: Path | None = None
    yolox: Path | None = None
    nanodet: Path | None = None
    annotations: Path | None = None
    calibration: Path | None = None

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class SuiteCommand:
    """One ``lsts-edge`` command of the suite; ``result`` is the file it writes."""

    name: str
    words: tuple[str, ...]
    result: Path | None = None


def suite_commands(options: SuiteOptions, bundles: Path) -> list[SuiteCommand]:
    """The commands in order: bundles, latency, comparisons, accuracy, intervals, the op, the paper's size, report.

    Where OpenVINO is not installed, its measurements are left out.

    Args:
        options: what is measured.
        bundles: an empty folder for the bundles and the clip that are made on the way.
    """
    return list(_commands(options, bundles))


def _commands(options: SuiteOptions, bundles: Path) -> Iterator[SuiteCommand]:
    folder = options.output
    backends = installed_engines()
    source = (str(options.source),) if options.source else ()
    checkpoint = str(LITE_CHECKPOINT) if LITE_CHECKPOINT.is_file() else "random"
    forms = ("--lsts-form", "all", "--overwrite")
    lite, lite_int8, r101, r101_int8, r101_half = (
        str(bundles / name)
        for name in ("lsts-lite", "lsts-lite-int8", "lsts-r101", "lsts-r101-int8", "lsts-r101-int8-half")
    )
    results: list[Path] = []

    def kept(name: str, *words: str) -> SuiteCommand:
        results.append(folder / f"{name}.json")
        return SuiteCommand(name, (*words, "--output", str(results[-1])), results[-1])

    def timed(name: str, *words: str) -> SuiteCommand:
        return kept(name, "bench", *words)

    on_clip = ("--precision", "int8", "--calibrate", str(options.source or bundles / clip_name(360, 640)))
    gated = ("--precision", "auto", "--calibrate", str(options.calibration)) if options.calibration else on_clip
    export = ("export", "--checkpoint", checkpoint, "--preset", "lsts-lite", *forms)
    yield SuiteCommand("export lsts-lite", (*export, "--output", lite))
    if options.calibration is None and LITE_INT8_BUNDLE.is_dir():
        lite_int8 = str(LITE_INT8_BUNDLE)
    else:
        yield SuiteCommand("export lsts-lite, int8", (*export, "--output", lite_int8, *gated))
    few = ("--frames", "30", "--cold-starts", "1") if options.quick else ()
    yield timed("latency-lite", "latency", lite, *source, *few)
    if "openvino" in backends:
        yield timed("latency-lite-openvino", "latency", lite, *source, "--backend", "openvino", *few)
    yield timed("latency-lite-30fps", "latency", lite, *source, "--pace", "30", "--cold-starts", "0", *few[:2])
    yield timed("latency-lite-video", "latency", lite, *source, "--write-video", "--cold-starts", "0", *few[:2])
    for backend in backends:
        for size, written in (("640x360", ()), ("640x360", ("--write-video",)), ("1280x720", ())):
            name = f"latency-lite-int8-{backend}-{size}" + ("-video" if written else "")
            words = ("--backend", backend, "--lsts-form", "auto", "--clip-size", size, *written)
            starts = ("--cold-starts", "0") if written or size != "640x360" else ()
            yield timed(name, "latency", lite_int8, *words, *(few[:2] if starts else few), *starts)
    peers = [("--yolox", options.yolox), ("--nanodet", options.nanodet), ("--annotations", options.annotations)]
    given = [word for name, path in peers if path is not None for word in (name, str(path))]
    accurate = ("--annotations", str(options.annotations)) if options.annotations else ()
    engines = tuple(word for engine in _engines(backends) for word in ("--engine", engine))
    segments = ("--segments", "2" if options.quick else "12")
    both = ("compare", lite, *source, "--also", lite_int8)
    best = ("--method", "lsts", "--method", "per-frame", "--form", "custom")
    yield timed("compare-lite", *both, *best, "--no-joined", *engines, *segments, *given)
    # The peers see every frame: against them, keyframes as often as takes about the same time.
    often = ("--keyframe-interval", "3", "--segments", "3" if options.quick else "24")
    yield timed("compare-lite-interval-3", *both, *best, *engines, *often, *given)
    # What anybody can do without us: the network's boxes held, or moved by optical flow.
    rivals = (*best[:4], "--method", "hold", "--method", "flow-boxes", "--form", "custom")
    yield timed("compare-lite-rivals", "compare", lite_int8, *source, *rivals, *engines, *often, *given)
    in_one_engine = ("--engine", "onnxruntime", "--no-joined")
    yield timed("compare-lite-methods", "compare", lite, *source, *in_one_engine, *segments, *accurate)
    rounds = ("--rounds", "1" if options.quick else "6")
    if options.annotations is not None:
        schedules = ("--per-frame", "--keyframe-interval", "10")
        yield kept("accuracy-lite", "evaluate", lite, str(options.annotations), *schedules)
    yield timed("sweep-lite", "sweep", lite, *source, *rounds, *accurate)
    yield timed("sweep-lite-int8", "sweep", lite_int8, *source, *rounds, *accurate)
    yield timed("op", "op", *(("--runs", "3", "--slow-runs", "1") if options.quick else ()))
    if options.paper_size:
        two_forms = ("--lsts-form", "custom", "--lsts-form", "taps", "--overwrite", "--verify-frames", "12")
        random = ("export", "--checkpoint", "random", "--seed", "0", "--preset", "lsts-r101", *two_forms)
        yield SuiteCommand("export lsts-r101", (*random, "--output", r101))
        lowered = (*on_clip, "--lower", R101_LOWERED)
        yield SuiteCommand("export lsts-r101, int8", (*random, "--output", r101_int8, *lowered))
        half = ("--light-scale", "0.5", "--output", r101_half)
        yield SuiteCommand("export lsts-r101, int8, light path at half size", (*random, *half, *lowered))
        frames = ("--frames", "10" if options.quick else "60", "--warmup-frames", "10", "--cold-starts", "1")
        yield timed("latency-r101", "latency", r101, *frames)
        segments = ("--segments", "1" if options.quick else "6")
        yield timed("compare-r101", "compare", r101, "--also", r101_int8, *best, *engines, *segments)
        yield timed("compare-r101-half", "compare", r101_int8, "--also", r101_half, *best, *in_one_engine, *segments)
        fewer = ("--segments", "1" if options.quick else "3")
        yield timed("compare-r101-methods", "compare", r101, *in_one_engine, *fewer)
    page, markdown = folder / "report.html", folder / "report.md"
    files = map(str, results)
    yield SuiteCommand("report", ("bench", "report", *files, "--output", str(page), "--markdown", str(markdown)), page)


def _engines(backends: Sequence[str]) -> Sequence[str]:
    """What is installed, in float32, and OpenVINO in bf16 where the processor has it."""
    if "openvino" not in backends:
        return backends
    import openvino

    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return [*backends, *(["openvino:cpu:bf16"] if "BF16" in able else [])]


def run_suite(options: SuiteOptions, progress: Progress = silent) -> Path:
    """Run every command and return the report's path; what they print goes to ``suite.log`` beside the results.

    Args:
        options: what to run.
        progress: told of each command when it starts and ends.

    Raises:
        CheckFailed: if a command fails; those before it have left their results.
        FileUnwritable: if the folder cannot be made.
    """
    log = options.output / "suite.log"
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        log.write_text("", encoding="utf-8")
        bundles = tempfile.TemporaryDirectory(prefix=".suite-", dir=options.output)
    except OSError as error:
        raise FileUnwritable(
            f"results folder {options.output}", got=error.strerror, expected="a writable folder", fix="Choose another."
        ) from error
    # The output folder is the user's, with whatever is in it: only what was made here is removed.
    with bundles as folder:
        if options.source is None:
            encode_clip(Path(folder), 360, 640)
        commands = suite_commands(options, Path(folder))
        if "openvino" not in installed_engines():
            progress("openvino is not installed: its measurements are left out")
        for number, command in enumerate(commands, 1):
            progress(command.name, number, len(commands))
            begin = time.perf_counter()
            _run(command, log)
            progress(f"      done in {time.perf_counter() - begin:.0f} s")
    page = commands[-1].result
    assert page is not None
    return page


def _run(command: SuiteCommand, log: Path) -> None:
    with log.open("a", encoding="utf-8") as out:
        out.write(f"$ lsts-edge {' '.join(command.words)}\n")
        out.flush()
        words = [sys.executable, "-m", "lsts_edge", *command.words]
        done = subprocess.run(words, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
        out.write(done.stderr)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise CheckFailed(
            f"step {command.name} of the suite", got=last[:300], expected="exit status 0", fix=f"See {log}."
        )
