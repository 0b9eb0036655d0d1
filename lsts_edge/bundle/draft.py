"""A bundle in memory: it can be run and compared while nothing of it is on disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lsts_edge.bundle.directory import Bundle
from lsts_edge.bundle.manifest import FileInfo, Manifest

__all__ = ["DraftBundle"]


@dataclass(frozen=True)
class DraftBundle(Bundle):
    """A bundle whose files are ``files``, name to bytes; it has no digest yet, and its name for a path."""

    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, manifest: Manifest, files: Mapping[str, bytes]) -> DraftBundle:
        """A draft of these files; the manifest lists them without their digests.

        Raises:
            ManifestError: if the files are not those that the manifest's graphs need.
        """
        infos = {name: FileInfo("0" * 64, len(content)) for name, content in files.items()}
        return cls(Path(manifest.name), dataclasses.replace(manifest, files=infos), "", files=files)

    def read(self, name: str) -> bytes:
        """The bytes that will be written."""
        return self.files[name]
