"""Load a bundle and run its first frames in a child under limits: what it asks for is known before it gets it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lsts_edge.bundle import Bundle
from lsts_edge.errors import BundleResources, LstsEdgeError
from lsts_edge.runtime.child import ChildLimits, refuse, run_child
from lsts_edge.runtime.detector import Detector
from lsts_edge.runtime.engines.options import EngineOptions

__all__ = ["DEFAULT_LIMITS", "Usage", "main", "try_bundle"]

DEFAULT_LIMITS = ChildLimits(time_s=120.0, memory_bytes=4 << 30)
"""Ten times what our largest network needs on a slow device."""

_FRAMES = 3  # at interval 2: one of each kind


@dataclass(frozen=True)
class Usage:
    """What loading a bundle and its first frames took: seconds after the imports, and peak memory of the process."""

    load_s: float
    frames_s: float
    peak_memory_bytes: int


def try_bundle(bundle: Bundle, engine: EngineOptions, limits: ChildLimits = DEFAULT_LIMITS) -> Usage | None:
    """Load every graph and run one frame of each kind in a child process; None where no process can be started.

    Args:
        bundle: an open bundle, on disk.
        engine: what runs it; a name, not an engine that is open.
        limits: of the child, its interpreter and engine included.

    Raises:
        BundleResources: if it does not do so within the limits.
    """
    asked = [str(bundle.path), bundle.digest, json.dumps(engine.to_dict())]
    ending = run_child(__name__, asked, limits, engine.name)
    if ending is None:
        return None
    if ending.refused:
        memory = "" if limits.memory_bytes is None else f" and {limits.memory_bytes / 1e9:g} GB"
        raise BundleResources(
            f"bundle {bundle.path} does not load and run its first frames within its limits",
            got=ending.refused,
            expected=f"both within {limits.time_s:g} s{memory}",
            fix="If you trust its maker, raise --limit-memory or --limit-time; else do not run it.",
        )
    return Usage(**json.loads(ending.output))


def main(arguments: list[str]) -> None:
    """The child: its arguments are those of ``try_bundle``; prints a ``Usage`` as JSON."""
    path, digest, asked = arguments
    try:
        start_s = time.monotonic()
        detector = Detector(path, EngineOptions(**json.loads(asked)), keyframe_interval=2, expect_digest=digest)
        loaded_s = time.monotonic()
        image = detector.manifest.input
        frame = np.full((image.height_px, image.width_px, 3), 114, np.uint8)
        for index in range(_FRAMES):
            detector.push(frame, time_s=index / 25)
        ended_s = time.monotonic()
    except MemoryError:
        refuse("it ran out of memory")
    except LstsEdgeError as error:
        refuse(str(error))
    print(json.dumps(asdict(Usage(loaded_s - start_s, ended_s - loaded_s, _peak_bytes()))))


def _peak_bytes() -> int:
    """Of this program: what getrusage tells is inherited from the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) * 1024
