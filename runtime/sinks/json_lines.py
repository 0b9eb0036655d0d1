"""Results as JSON lines, one row a frame."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from pathlib import Path
from typing import TextIO

from lsts_edge.errors import FileUnwritable
from lsts_edge.kinds import check_kind
from lsts_edge.runtime.detections import Detections
from lsts_edge.runtime.sinks.interface import Sink
from lsts_edge.runtime.sinks.partial_file import PartialFile
from lsts_edge.runtime.sinks.patient_writer import PatientWriter
from lsts_edge.runtime.sources.interface import Frame

__all__ = ["JsonLinesSink"]

logger = logging.getLogger(__name__)


class JsonLinesSink(Sink):
    """One JSON object a line and frame: see ``Detections.to_row``."""

    def __init__(self, path: Path | str) -> None:
        """Check the path; the file is opened at the first frame.

        Args:
            path: a file, which is there when it is complete; ``-`` for standard output, a device, a FIFO or a link
                get each row as it comes.
        Raises:
            FileUnwritable: if nothing can be written there.
        """
        super().__init__()
        check_kind("rows", path, str | Path)
        self._target = None if str(path) == "-" else PartialFile(Path(path))
        self._direct = self._target is None or self._target.direct
        self._file: TextIO | PatientWriter | None = None
        self._left_out = 0

    def write(self, frame: Frame, detections: Detections) -> None:
        """Add the frame's row. A pipe whose reader stands still is waited for, unless the run is to end.

        Raises:
            FileUnwritable: if the disk is full, or the reader is gone.
        """
        begin = time.perf_counter_ns()
        line = json.dumps(detections.to_row(), allow_nan=False)
        try:
            if not self._opened().write(line + "\n"):
                self._left_out += 1
        except OSError as error:
            raise self._unwritable(error) from error
        self.stage_ms = {"json": (time.perf_counter_ns() - begin) / 1e6}

    def finish(self) -> None:
        """Write what is left and close the file.

        Raises:
            FileUnwritable: if the disk is full.
        """
        if self._left_out:
            logger.warning("%s: nobody read on; rows left out: %d", self._name(), self._left_out)
        try:
            if self._target is None:
                self._opened()
            else:
                self._opened().close()
        except OSError as error:
            raise self._unwritable(error) from error

    def publish(self) -> None:
        """Give the file its name.

        Raises:
            FileUnwritable: if that fails.
        """
        if self._target is not None:
            self._target.publish()

    def settle(self) -> None:
        """Let an older file go."""
        if self._target is not None:
            self._target.settle()

    def abandon(self) -> None:
        """Close and remove the file; an older one stays."""
        if self._target is None:
            return
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
        self._target.discard()

    def _opened(self) -> TextIO | PatientWriter:
        if self._file is None:
            if self._target is not None and not self._direct:
                self._file = open(self._target.create(), "w", encoding="utf-8")  # noqa: SIM115 - lives as the sink does
            else:
                self._file = PatientWriter(sys.stdout if self._target is None else self._target.path, self.stopping)
        return self._file

    def _name(self) -> str:
        return "standard output" if self._target is None else str(self._target.path)

    def _unwritable(self, error: OSError) -> FileUnwritable:
        reason = error.strerror or str(error)
        if self._target is not None:
            return self._target.unwritable(reason)
        expected, fix = "somebody who reads it", "Let it run on."
        return FileUnwritable(f"cannot write to {self._name()}", got=reason, expected=expected, fix=fix)
