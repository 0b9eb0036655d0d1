"""The committed bundle end to end on every engine that we allow, each in an environment of its own.

    make matrix ARGS="--output benchmarks/results/engine-matrix.json --document docs/dependencies.md"
    make matrix ARGS="--python 3.11 --require"

A leg is one Python with one engine: it verifies the bundle against its recording, and runs it on a clip, in every LSTS
form that the bundle has. A leg whose interpreter or wheel this machine lacks is *not run*, and counted. Environments
are kept in ``.cache``; the op library is that of this tree.
"""

from __future__ import annotations

import argparse
import configparser
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from lsts_edge.benchmarks.encoded_clip import encode_clip
from lsts_edge.benchmarks.engines_result import EnginesData, EnginesResult, EnginesSettings, Leg, LegParity
from lsts_edge.benchmarks.envelope import Origin, bundle_facts
from lsts_edge.benchmarks.readme import replace_between
from lsts_edge.benchmarks.results import write_result
from lsts_edge.bundle import Bundle
from lsts_edge.errors import LstsEdgeError
from lsts_edge.tables import markdown_table

__all__ = ["ENGINES", "ENGINES_BEGIN", "ENGINES_END", "engines_block", "find_interpreters", "main", "run_leg"]

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "examples" / "bundles" / "lsts-lite-int8"
ENGINES_BEGIN, ENGINES_END = "<!-- engines:begin -->", "<!-- engines:end -->"

ENGINES: Mapping[str, tuple[str, ...]] = {
    "onnxruntime": ("1.20.0", "1.23.2", "1.27.0", "1.32.0"),
    "openvino": ("2025.4.0", "2026.0.0", "2026.2.1", "2026.4.1"),
}
"""Oldest allowed (the ranges of setup.cfg), two in between, newest."""

PYTHONS = ("3.10", "3.11", "newest")
_NEWEST = ("3.14", "3.13", "3.12")
_LOWEST_PYTHONS = ("3.10", "3.11")  # there the oldest engines run beside the oldest packages of setup.cfg
_FRAMES = 12
_TIMEOUT_S = 600


def find_interpreters() -> dict[str, Path]:
    """The interpreters of this machine by name in ``PYTHONS``: on the path, or pyenv's."""
    found = {}
    for name in PYTHONS:
        for version in _NEWEST if name == "newest" else (name,):
            path = _interpreter(version)
            if path is not None:
                found[name] = path
                break
    return found


def _interpreter(version: str) -> Path | None:
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    paths = [shutil.which(f"python{version}"), *sorted(glob.glob(f"{pyenv}/versions/{version}.*/bin/python"))]
    for path in paths:
        if path is None:
            continue
        words = [path, "-c", "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(words, capture_output=True, text=True, cwd="/")
        if done.returncode == 0 and done.stdout.strip() == version:
            return Path(path)
    return None


def run_leg(python: str, interpreter: Path | None, engine: str, version: str, *, clip: Path, folder: Path) -> Leg:
    """Install an engine into the Python's environment and run the committed bundle there.

    Args:
        python: name of the Python.
        interpreter: its program; None where there is none.
        engine: ``onnxruntime`` or ``openvino``.
        version: of the engine.
        clip: a video.
        folder: holds the environments.
    """
    if interpreter is None:
        return Leg(python, engine, version, "not run", "no such interpreter on this machine")
    lowest = version == ENGINES[engine][0] and python in _LOWEST_PYTHONS
    own = folder / f"{python}{'-lowest' if lowest else ''}" / "bin" / "python"
    reason = _install(interpreter, own, lowest, f"{engine}=={version}")
    if reason:
        return Leg(python, engine, version, "not run", reason)
    forms = Bundle.open(BUNDLE).manifest.lsts
    assert forms is not None
    versions = json.loads(_python(own, "-c", _VERSIONS % repr(engine)).stdout)
    words = [word for form in forms.forms for word in ("--lsts-form", form)]
    done = _python(own, "-m", "lsts_edge", "verify", str(BUNDLE), "--recorded", "--backend", engine, *words, "--json")
    if done.returncode:
        return Leg(python, engine, version, "failed", f"verify: {_how(done)}", versions)
    report = json.loads(done.stdout)
    kept = ("form", "joined", "frames", "boxes", "unmatched", "max_tensor_error")
    programs = tuple(LegParity(**{name: row[name] for name in kept}) for row in report["programs"])
    frames: dict[str, int] = {}
    for form in forms.forms:
        words = ["--lsts-form", form, "--max-frames", str(_FRAMES), "--json"]
        done = _python(own, "-m", "lsts_edge", "run", str(BUNDLE), str(clip), "--backend", engine, *words)
        if done.returncode:
            return Leg(python, engine, version, "failed", f"run {form}: {_how(done)}", versions, programs, frames)
        frames[form] = int(json.loads(done.stdout)["frames"])
    whole = set(frames.values()) == {_FRAMES} and len(programs) == 2 * len(forms.forms)
    reason = "" if whole else "frames or programs are missing"
    return Leg(python, engine, version, "ran" if whole else "failed", reason, versions, programs, frames)


_VERSIONS = """
import importlib.metadata, json, platform
names = ("numpy", "opencv-python", "av", "click", %s)
print(json.dumps({"python": platform.python_version(), **{n: importlib.metadata.version(n) for n in names}}))
"""


def _install(interpreter: Path, own: Path, lowest: bool, engine: str) -> str:
    """Make the environment if it is not there, and put the engine into it; the reason if that cannot be done."""
    if not own.exists():
        subprocess.run([interpreter, "-m", "venv", "--clear", own.parents[1]], check=True, capture_output=True)
    base = _base_packages(lowest)
    # Of the oldest packages opencv-python asks for a newer numpy than the oldest that we allow, and runs with it.
    steps = ([*base, "--no-deps"], [engine]) if lowest else ([*base, engine],)
    for words in steps:
        pip = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "--only-binary", ":all:", *words]
        done = _python(own, *pip)
        if done.returncode:
            return "no wheel for this Python" if "No matching distribution" in done.stderr else _how(done)
    return ""


def _base_packages(lowest: bool) -> list[str]:
    """The base packages of setup.cfg as it states them, or each at its lower bound."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    stated = config["options"]["install_requires"].split()
    return [re.sub(r">=([\d.]+).*", r"==\1.*", word) if lowest else word for word in stated]


def _python(program: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [str(program), *words]
    return subprocess.run(
        command, cwd=program.parents[1], env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S
    )


def _how(done: subprocess.CompletedProcess[str]) -> str:
    """How a process ended: its signal, or the last line it wrote."""
    if done.returncode < 0:
        return f"ended by {signal.Signals(-done.returncode).name}"
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:300]


def engines_block(result: EnginesResult) -> str:
    """The table of a result, in Markdown: one line an engine, one column a Python."""
    legs = result.data.legs
    pythons = list(dict.fromkeys(leg.python for leg in legs))
    header = ["engine", *(_python_title(name, legs) for name in pythons)]
    rows = []
    for engine, version in dict.fromkeys((leg.engine, leg.version) for leg in legs):
        cells = {leg.python: _cell(leg) for leg in legs if (leg.engine, leg.version) == (engine, version)}
        rows.append([f"{engine} {version}", *(cells.get(name, "-") for name in pythons)])
    counts = {status: sum(leg.status == status for leg in legs) for status in ("ran", "failed", "not run")}
    facts = result.bundle
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    lowest = next((leg.versions for leg in legs if leg.python in _LOWEST_PYTHONS and _is_lowest(leg)), {})
    packages = ", ".join(f"{name} {lowest[name]}" for name in ("numpy", "opencv-python", "av", "click") if lowest)
    forms, oldest = " and ".join(facts.lsts.forms if facts.lsts else ()), " and ".join(_LOWEST_PYTHONS)
    return (
        f"{len(legs)} legs: {told}. `examples/bundles/lsts-lite-int8` (`{facts.digest[:8]}...`), forms "
        f"{forms}, split and joined graphs: the largest tensor error against the recording, and boxes without a "
        f"partner (allowed: 0.25, on OpenVINO 1, and 20 %). The first line of each engine is beside the oldest "
        f"packages on Python {oldest} ({packages}).\n\n{markdown_table(header, rows)}\n"
    )


def _is_lowest(leg: Leg) -> bool:
    return leg.status != "not run" and leg.version == ENGINES[leg.engine][0]


def _python_title(name: str, legs: Sequence[Leg]) -> str:
    versions = {leg.versions["python"] for leg in legs if leg.python == name and leg.versions}
    return f"Python {', '.join(sorted(versions)) or name}"


def _cell(leg: Leg) -> str:
    if leg.status != "ran":
        return f"*{leg.status}*: {leg.reason}"
    error = max(row.max_tensor_error for row in leg.programs)
    unmatched = max(row.unmatched for row in leg.programs)
    return f"{error:.2g}, {unmatched} of {max(row.boxes for row in leg.programs)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the legs; 1 if one failed or, with ``--require``, did not run."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--python", action="append", choices=PYTHONS, help="only this one; may be repeated")
    parser.add_argument("--engine", action="append", choices=tuple(ENGINES), help="only this one; may be repeated")
    parser.add_argument("--require", action="store_true", help="a leg that does not run is a failure")
    parser.add_argument("--output", type=Path, help="write the result as JSON")
    parser.add_argument("--document", type=Path, help="put the table between this file's marks")
    chosen = parser.parse_args(arguments)
    try:
        return _run(chosen)
    except LstsEdgeError as error:
        print(f"error[{error.code}]: {error}", file=sys.stderr)
        return error.exit_status


def _run(chosen: argparse.Namespace) -> int:
    interpreters = find_interpreters()
    legs = []
    with tempfile.TemporaryDirectory() as folder:
        clip = encode_clip(Path(folder), 360, 640)
        for python in chosen.python or PYTHONS:
            for engine in chosen.engine or ENGINES:
                for version in ENGINES[engine]:
                    kept = ROOT / ".cache" / "engines"
                    leg = run_leg(python, interpreters.get(python), engine, version, clip=clip, folder=kept)
                    words = f" ({leg.reason})" if leg.reason else f": {_cell(leg)}"
                    print(f"Python {python}, {engine} {version}: {leg.status}{words}", flush=True)
                    legs.append(leg)
    settings = EnginesSettings(_FRAMES, tuple(chosen.python or PYTHONS), tuple(chosen.engine or ENGINES))
    facts = bundle_facts(Bundle.open(BUNDLE))
    result = EnginesResult(origin=Origin.here(), bundle=facts, settings=settings, data=EnginesData(tuple(legs)))
    if chosen.output is not None:
        write_result(chosen.output, result)
    if chosen.document is not None:
        replace_between(chosen.document, ENGINES_BEGIN, ENGINES_END, engines_block(result))
    count = {status: sum(leg.status == status for leg in legs) for status in ("ran", "failed", "not run")}
    print(f"{len(legs)} legs: {', '.join(f'{number} {status}' for status, number in count.items())}")
    return 1 if count["failed"] or (chosen.require and count["not run"]) else 0


if __name__ == "__main__":
    sys.exit(main())
