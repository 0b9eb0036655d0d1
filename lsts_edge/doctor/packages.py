"""Versions of Python, of us and of the libraries that we stand on, against the floors of our own metadata."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
from collections.abc import Iterator, Mapping

from lsts_edge import __version__
from lsts_edge.doctor.finding import Finding
from lsts_edge.runtime.engines.installed import opencv_packages

__all__ = ["check_packages"]

_OLDEST_PYTHON = (3, 10)
_ENGINES = ("onnxruntime", "onnxruntime-gpu", "openvino")
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*([^;]*?)\s*(?:;(.*))?$")
_BOUND = re.compile(r"(>=|<)\s*([0-9][0-9.]*)")


def check_packages() -> list[Finding]:
    """What is installed, held to what this version of lsts-edge asks for: the base packages and the engines."""
    found = [_python()]
    try:
        requirements = importlib.metadata.requires("lsts-edge") or []
    except importlib.metadata.PackageNotFoundError:
        got = f"lsts-edge {__version__} that is not installed as a package, so its floors are not known"
        return [*found, Finding("packages-unknown", "note", "packages", got, "Install it: pip install .")]
    found += _version_of_ours()
    versions: dict[str, str] = {}
    for name, bounds, base in _wanted(requirements):
        found += _judged(name, bounds, base, versions)
    if not any(one.code in ("package-old", "package-missing") for one in found):
        told = ", ".join(f"{name} {version}" for name, version in versions.items())
        found.append(Finding("packages-ok", "ok", "packages", told, facts={"versions": versions}))
    return found


def _python() -> Finding:
    version = platform.python_version()
    facts = {"version": version, "lsts_edge": __version__}
    if sys.version_info < _OLDEST_PYTHON:
        return Finding("python-old", "error", "Python", version, "Use Python 3.10 or newer.", facts)
    return Finding("python-ok", "ok", "Python", f"{version}, lsts-edge {__version__}", facts=facts)


def _version_of_ours() -> Iterator[Finding]:
    installed = importlib.metadata.version("lsts-edge")
    if installed != __version__:
        got = f"the code is {__version__}, its installed metadata says {installed}"
        yield Finding("package-two-installs", "warning", "lsts-edge", got, "Uninstall one: pip uninstall lsts-edge.")


def _wanted(requirements: list[str]) -> Iterator[tuple[str, Mapping[str, str], bool]]:
    """Name, bounds and whether it is of the base install, of what a device needs."""
    for line in requirements:
        match = _REQUIREMENT.match(line)
        if match is None:
            continue
        name, bounds, marker = match[1], dict(_BOUND.findall(match[2])), match[3] or ""
        if "extra" not in marker or (name in _ENGINES and "dev" not in marker):
            yield name, bounds, "extra" not in marker


def _judged(name: str, bounds: Mapping[str, str], base: bool, versions: dict[str, str]) -> Iterator[Finding]:
    try:
        installed, version = name, importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        other = next(iter(opencv_packages()), "") if name == "opencv-python" else ""  # any of them brings cv2
        if not other:
            if base:
                fix = f'Run: pip install "{name}{_spelled(bounds)}"'
                yield Finding("package-missing", "error", name, "not installed", fix)
            return
        installed, version = other, importlib.metadata.version(other)
    versions[installed] = version
    facts = {"package": installed, "version": version, "bounds": dict(bounds)}
    if ">=" in bounds and _numbers(version) < _numbers(bounds[">="]):
        fix = f'Run: pip install --upgrade "{installed}{_spelled(bounds)}"'
        yield Finding("package-old", "error", installed, f"{version}, older than {bounds['>=']}", fix, facts)
    elif "<" in bounds and _numbers(version) >= _numbers(bounds["<"]):
        fix = f'It has not been tried; if something fails: pip install "{installed}{_spelled(bounds)}"'
        yield Finding("package-new", "warning", installed, f"{version}, from {bounds['<']} on untried", fix, facts)


def _spelled(bounds: Mapping[str, str]) -> str:
    return ",".join(sign + version for sign, version in bounds.items())


def _numbers(version: str) -> tuple[int, ...]:
    """The release as numbers without trailing zeros: ``1.20.0rc1`` -> ``(1, 20)``."""
    numbers = [int(part) for part in re.findall(r"\d+", (re.match(r"[\d.]*", version) or [""])[0])]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
