"""Results of a long measurement, kept one by one, so that an interrupted one goes on where it was."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lsts_edge.bundle.strict_json import canonical_json, parse_json
from lsts_edge.errors import FileUnwritable, ManifestError

__all__ = ["Cache"]

Arrays = Mapping[str, npt.NDArray[Any]]
_LAYOUT = 1  # of what is kept; a change makes older results strangers
_MAX_JSON_BYTES = 64 << 20


class Cache:
    """A folder of results, each under a key of everything that it follows from.

    A result is there whole or not at all. One that cannot be read any more is as good as none: it is measured again.

    Args:
        folder: made when the first result is kept.
        fresh: what was there before does not count.
    """

    def __init__(self, folder: Path, *, fresh: bool = False) -> None:
        self.folder = folder
        self._fresh = fresh
        self._kept: set[Path] = set()

    def arrays(self, key: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]] | None:
        """The arrays kept under a key."""
        raw = self.content(key)
        if raw is None:
            return None
        try:
            with np.load(io.BytesIO(raw), allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile):
            return None

    def keep_arrays(self, key: Mapping[str, Any], arrays: Arrays) -> None:
        """Keep arrays of numbers."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        self.keep_content(key, buffer.getvalue())

    def plain(self, key: Mapping[str, Any]) -> Any:
        """The JSON value kept under a key; None where there is none."""
        raw = self.content(key)
        try:
            return None if raw is None else parse_json(raw, max_bytes=_MAX_JSON_BYTES)
        except ManifestError:
            return None

    def keep_plain(self, key: Mapping[str, Any], value: Any) -> None:
        """Keep a JSON value other than None."""
        self.keep_content(key, canonical_json(value))

    def content(self, key: Mapping[str, Any]) -> bytes | None:
        """The bytes kept under a key."""
        path = self.path(key)
        if self._fresh and path not in self._kept:
            return None
        try:
            return path.read_bytes()
        except OSError:
            return None

    def keep_content(self, key: Mapping[str, Any], content: bytes) -> None:
        """Keep bytes.

        Raises:
            FileUnwritable: if the folder cannot be written.
        """
        path = self.path(key)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, partial = tempfile.mkstemp(prefix=".partial-", dir=self.folder)
            try:
                with open(handle, "wb") as file:
                    file.write(content)
                os.replace(partial, path)
                self._kept.add(path)
            except BaseException:
                Path(partial).unlink(missing_ok=True)
                raise
        except OSError as error:
            got = error.strerror or str(error)
            fix = "Give another folder with --cache, or free some space."
            expected = "a folder that can be written"
            raise FileUnwritable(f"results in {self.folder}", got=got, expected=expected, fix=fix) from error

    def has(self, key: Mapping[str, Any]) -> bool:
        """Whether something is kept under a key that counts."""
        path = self.path(key)
        return path.is_file() and (not self._fresh or path in self._kept)

    def path(self, key: Mapping[str, Any]) -> Path:
        """Where what is kept under a key lies, once it is there."""
        return self.folder / hashlib.sha256(canonical_json({**key, "layout": _LAYOUT})).hexdigest()[:32]
