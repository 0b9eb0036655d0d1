"""Builds the custom-op library with CMake during installation; all metadata is in setup.cfg.

``LSTS_EDGE_BUILD_OPS``: ``auto`` (default) builds it where a compiler is found and installs without it where not,
``0`` never builds it, ``1`` fails where it cannot be built. ``CMAKE_ARGS`` is handed to CMake.
What happened is written to ``lsts_edge/custom_ops/_lib/_build_info.json`` for the library's finder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
SOURCES = ROOT / "lsts_edge" / "custom_ops"
LIBRARY = "liblsts_ops.so"
BUILD_INFO = "_build_info.json"
MODE = os.environ.get("LSTS_EDGE_BUILD_OPS", "auto")
if MODE not in ("auto", "0", "1"):
    raise SystemExit(f"LSTS_EDGE_BUILD_OPS: got {MODE!r}, expected auto, 0 or 1")


class BuildOpLibrary(build_ext):
    """Runs CMake on custom_ops/ and leaves the library and a note about the build in ``_lib``."""

    def get_ext_filename(self, fullname: str) -> str:
        return os.path.join(*fullname.split(".")[:-1], LIBRARY)

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return []

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        if MODE == "0":
            info = {"status": "skipped", "reason": "LSTS_EDGE_BUILD_OPS=0", "sha256": None}
        else:
            try:
                self._build(target)
                digest = hashlib.sha256(target.read_bytes()).hexdigest()
                info = {"status": "built", "reason": "", "sha256": digest}
            except (OSError, subprocess.CalledProcessError) as error:
                output = error.stdout if isinstance(error, subprocess.CalledProcessError) else None
                reason = (output or str(error)).strip()[-2000:]
                if MODE == "1":
                    raise SystemExit(
                        f"LSTS_EDGE_BUILD_OPS=1 and the custom-op library did not build:\n{reason}"
                    ) from error
                self.warn(f"the custom-op library was not built, lsts_edge works without it:\n{reason}")
                info = {"status": "failed", "reason": reason, "sha256": None}
        (target.parent / BUILD_INFO).write_text(json.dumps(info, indent=1, sort_keys=True) + "\n")

    def _build(self, target: Path) -> None:
        cmake = shutil.which("cmake")
        if cmake is None:
            raise FileNotFoundError("cmake was not found")
        work = Path(self.build_temp).resolve() / "lsts_ops"
        installed = work / "install"
        configure = ["-S", str(SOURCES.resolve()), "-B", str(work), "-DCMAKE_BUILD_TYPE=Release"]
        if shutil.which("make") is None and shutil.which("ninja"):
            configure += ["-G", "Ninja"]
        jobs = str(self.parallel or os.cpu_count() or 1)
        for arguments in (
            [*configure, *shlex.split(os.environ.get("CMAKE_ARGS", ""))],
            ["--build", str(work), "--config", "Release", "--parallel", jobs],
            ["--install", str(work), "--config", "Release", "--prefix", str(installed)],
        ):
            subprocess.run([cmake, *arguments], check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        found = sorted(installed.rglob(LIBRARY))
        if not found:
            raise FileNotFoundError(f"the CMake build installed no {LIBRARY}")
        shutil.copyfile(found[0], target)

    def copy_extensions_to_source(self) -> None:
        """Editable installs: put what was built beside the sources."""
        for ext in self.extensions:
            folder = Path(self.get_ext_filename(ext.name)).parent
            (ROOT / folder).mkdir(parents=True, exist_ok=True)
            for name in (LIBRARY, BUILD_INFO):
                (ROOT / folder / name).unlink(missing_ok=True)
                if (Path(self.build_lib) / folder / name).exists():
                    shutil.copyfile(Path(self.build_lib) / folder / name, ROOT / folder / name)

    def get_outputs(self) -> list[str]:
        folders = [Path(self.build_lib) / Path(self.get_ext_filename(ext.name)).parent for ext in self.extensions]
        return [str(folder / name) for folder in folders for name in (LIBRARY, BUILD_INFO) if (folder / name).exists()]

    def get_output_mapping(self) -> dict[str, str]:
        return {}


class PlatformWheel(bdist_wheel):
    """Tags the wheel by what is inside: the library is plain C, tied to a platform but to no Python version."""

    def get_tag(self) -> tuple[str, str, str]:
        built = any(name.endswith(LIBRARY) for name in self.get_finalized_command("build_ext").get_outputs())
        return ("py3", "none", super().get_tag()[2] if built else "any")


def build_tools() -> list[str]:
    """CMake and Ninja from the package registry, where the machine has none of its own."""
    if MODE == "0":
        return []
    tools = [] if shutil.which("cmake") else ["cmake>=3.22"]
    return tools if shutil.which("make") or shutil.which("ninja") else [*tools, "ninja"]


setup(
    ext_modules=[Extension("lsts_edge.custom_ops._lib.lsts_ops", sources=[])],
    cmdclass={"build_ext": BuildOpLibrary, "bdist_wheel": PlatformWheel},
    setup_requires=build_tools(),
)
