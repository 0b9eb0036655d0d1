"""Results as JSON lines, one row a frame."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import TextIO

from lsts_edge.runtime.detections import Detections
from lsts_edge.runtime.sinks.interface import Sink
from lsts_edge.runtime.sinks.partial_file import PartialFile
from lsts_edge.runtime.sources.interface import Frame

__all__ = ["JsonLinesSink"]


class JsonLinesSink(Sink):
    """One JSON object a line and frame: see ``Detections.to_row``."""

    def __init__(self, path: Path) -> None:
        """Check the path; the file is opened at the first frame.

        Raises:
            FileUnwritable: if nothing can be written there.
        """
        super().__init__()
        self._target = PartialFile(path)
        self._file: TextIO | None = None

    def write(self, frame: Frame, detections: Detections) -> None:
        """Add the frame's row.

        Raises:
            FileUnwritable: if the disk is full.
        """
        begin = time.perf_counter_ns()
        line = json.dumps(detections.to_row(), allow_nan=False)
        try:
            self._opened().write(line + "\n")
        except OSError as error:
            raise self._target.unwritable(error.strerror or str(error)) from error
        self.stage_ms = {"json": (time.perf_counter_ns() - begin) / 1e6}

    def finish(self) -> None:
        """Close the file and give it its name.

        Raises:
            FileUnwritable: if the disk is full.
        """
        try:
            self._opened().close()
        except OSError as error:
            raise self._target.unwritable(error.strerror or str(error)) from error
        self._target.publish()

    def abandon(self) -> None:
        """Close and remove the temporary file."""
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
        self._target.discard()

    def _opened(self) -> TextIO:
        if self._file is None:
            self._file = open(self._target.partial, "w", encoding="utf-8")  # noqa: SIM115 - lives as long as the sink
        return self._file
