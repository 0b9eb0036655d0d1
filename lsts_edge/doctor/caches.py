"""The cache: whether its folder can be written, by writing to it; without it each start measures again."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from lsts_edge.cache import cache_folder
from lsts_edge.doctor.finding import Finding

__all__ = ["check_caches"]

_LEAST_FREE_BYTES = 64 << 20


def check_caches(folder: Path | None = None) -> list[Finding]:
    """Write a file of a block into the cache's folder, which is made where it is not there, and remove it.

    Args:
        folder: None takes the user's.
    """
    path = cache_folder() if folder is None else folder
    if path is None:
        got = "this user has no home, and XDG_CACHE_HOME is not set"
        return [Finding("cache-homeless", "warning", "cache", got, "Set XDG_CACHE_HOME to a writable folder.")]
    facts = {"folder": str(path)}
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path, prefix=".doctor.") as file:
            file.write(bytes(4096))
            file.flush()
        free_bytes = shutil.disk_usage(path).free
    except OSError as error:
        got = f"{path} cannot be written: {error.strerror or error}"
        fix = "Make it writable, or set XDG_CACHE_HOME to a folder that is. Until then each start measures again."
        return [Finding("cache-unwritable", "warning", "cache", got, fix, facts)]
    told = f"{path}, {free_bytes / 1e9:.1f} GB free"
    facts = {**facts, "free_bytes": free_bytes}  # type: ignore[dict-item]
    if free_bytes < _LEAST_FREE_BYTES:
        return [Finding("cache-full", "warning", "cache", told, "Free some space on its disk.", facts)]
    return [Finding("cache-ok", "ok", "cache", told, facts=facts)]
