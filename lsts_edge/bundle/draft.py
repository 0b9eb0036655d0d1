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
    """A bundle whose files are ``contents``; it has no digest yet."""

    contents: Mapping[str, bytes] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, manifest: Manifest, contents: Mapping[str, bytes]) -> DraftBundle:
        """A draft that will be written at ``path``; the manifest lists its files without their digests."""
        infos = {name: FileInfo("0" * 64, len(content)) for name, content in contents.items()}
        return cls(path, dataclasses.replace(manifest, files=infos), "", contents)

    def read(self, name: str) -> bytes:
        """The bytes that will be written."""
        return self.contents[name]
