"""Writers that are killed or run out of disk, in a process of their own: what is left at the bundle's path?"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hand_made import field, hand_made_files, hand_made_manifest, head_model, tensor
from lsts_edge.bundle import Bundle, write_bundle
from lsts_edge.errors import LstsEdgeError

LARGE_BYTES = 1 << 20
NOBODY = 65_534


def contents(marker: float) -> dict[str, bytes]:
    """Files of a bundle of a few megabytes; ``marker`` makes one differ from another."""
    large = tensor("extra", np.full(LARGE_BYTES // 4, marker, np.float32))
    return hand_made_files() | {"head.onnx": head_model(extra_graph=field(5, large))}


def write_well(path: Path, marker: float) -> None:
    """The real writer."""
    write_bundle(path, hand_made_manifest(), contents(marker), overwrite=True)


def write_plainly(path: Path, marker: float) -> None:
    """The planted fault: files written in place, one after the other."""
    source = path.parent / f"source-{marker}"
    for file in sorted(source.rglob("*")):
        if file.is_file():
            target = path / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())


def kill_at_system_calls(folder: Path, write: Callable[[Path, float], None], count: int) -> Counter[str]:
    """Kill ``count`` writers, half of them overwriting a bundle; tell what stands at the path afterwards.

    Each is killed before another of the calls that it makes to the system, first to last evenly spread, and the last
    after all of them: drawn from a clock, the moments would gather wherever the machine is slow.
    """
    digests = {}
    for marker in (1.0, 2.0):
        digests[write_bundle(folder / f"source-{marker}", hand_made_manifest(), contents(marker)).digest] = str(marker)
    found: Counter[str] = Counter()
    for overwriting in (False, True):
        path = folder / f"bundle-{overwriting}"
        for index in range(count // 2):
            write(path, 1.0)  # works again, and takes away what the killed one left
            if not overwriting:
                shutil.rmtree(path)
            if index == 0:
                calls = _write_and_die(folder / "counted", write, None)  # the second time it overwrites
            _write_and_die(path, write, 1 + index * calls // (count // 2 - 1))
            found["overwrite " * overwriting + _state(path, digests)] += 1
        write(path, 1.0)
    return found


def _write_and_die(path: Path, write: Callable[[Path, float], None], fatal: int | None) -> int:
    """Write in a process of its own that is killed before system call ``fatal``; returns how many calls it made."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        made = 0

        def count(frame: object, event: str, function: object) -> None:
            nonlocal made
            if event != "c_call":
                return
            module = getattr(function, "__module__", None) or type(getattr(function, "__self__", None)).__module__
            if module in ("posix", "_io") and getattr(function, "__name__", "") not in ("fspath", "_path_normpath"):
                made += 1
                if made == fatal:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(count)
        write(path, 2.0)
        sys.setprofile(None)
        os.write(writer, str(made).encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return int(told or 0)


def fill_up(folder: Path, limits: list[int]) -> list[dict[str, object]]:
    """Write once under each limit on the size of a file; tell code, text and what was left."""
    outcomes = []
    for limit in limits:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            code, text = "accepted", ""
            try:
                write_well(folder / "bundle", 1.0)
            except LstsEdgeError as error:
                code, text = error.code, str(error)
            os.write(writer, json.dumps({"code": code, "text": text}).encode())
            os._exit(0)
        os.close(writer)
        with open(reader) as answer:
            outcome = json.loads(answer.read())
        os.waitpid(child, 0)
        outcomes.append({"limit": limit, **outcome, "left": sorted(os.listdir(folder))})
        shutil.rmtree(folder / "bundle", ignore_errors=True)
    return outcomes


def forbidden() -> dict[str, object]:
    """Write as a user who may read the folder but not write it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        code, text = "accepted", ""
        if os.geteuid() == 0:
            os.seteuid(NOBODY)
        try:
            write_well(folder / "bundle", 1.0)
        except LstsEdgeError as error:
            code, text = error.code, str(error)
        finally:
            os.seteuid(os.getuid())
        return {"code": code, "text": text, "left": os.listdir(folder)}


def unreadable() -> dict[str, object]:
    """Open a bundle as a user who may not read its folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        write_well(folder / "bundle", 1.0)
        (folder / "bundle").chmod(0)
        code, text = "accepted", ""
        if os.geteuid() == 0:
            os.seteuid(NOBODY)
        try:
            Bundle.open(folder / "bundle")
        except LstsEdgeError as error:
            code, text = error.code, str(error)
        finally:
            os.seteuid(os.getuid())
            (folder / "bundle").chmod(0o755)
        return {"code": code, "text": text}


def _state(path: Path, digests: dict[str, str]) -> str:
    if not path.exists():
        return "nothing"
    try:
        return digests[Bundle.open(path).digest]
    except LstsEdgeError:
        return "half"


if __name__ == "__main__":
    mode = sys.argv[1]
    if mode in ("forbidden", "unreadable"):
        print(json.dumps(forbidden() if mode == "forbidden" else unreadable()))
        sys.exit()
    where, number = Path(sys.argv[2]), int(sys.argv[3])
    if mode == "full":
        sizes = [step * (LARGE_BYTES + 4096) // number for step in range(number + 1)]
        print(json.dumps(fill_up(where, sizes)))
    else:
        writers = {"well": write_well, "plainly": write_plainly}
        print(json.dumps(kill_at_system_calls(where, writers[mode], number)))
