"""Where frames come from: files, folders, cameras, streams, arrays; ``open_source`` chooses by path or URL."""

from __future__ import annotations

from lsts_edge.runtime.sources.arrays import ArraySource
from lsts_edge.runtime.sources.interface import Frame, Source
from lsts_edge.runtime.sources.open import open_source
from lsts_edge.runtime.sources.options import SourceOptions

__all__ = ["ArraySource", "Frame", "Source", "SourceOptions", "open_source"]
