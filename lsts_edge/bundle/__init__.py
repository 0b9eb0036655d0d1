"""The bundle format: a directory whose manifest names every file, digest, graph and state. No third party but numpy."""

from __future__ import annotations

from lsts_edge.bundle.directory import Bundle, Model, OpenVinoIr
from lsts_edge.bundle.draft import DraftBundle
from lsts_edge.bundle.manifest import Manifest
from lsts_edge.bundle.trust import Trust
from lsts_edge.bundle.write import write_bundle

__all__ = ["Bundle", "DraftBundle", "Manifest", "Model", "OpenVinoIr", "Trust", "write_bundle"]
