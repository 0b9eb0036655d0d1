"""What sinks of text share: one file, pipe or device, whole at its path or written into as rows come."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, TextIO

from lsts_edge.errors import FileUnwritable
from lsts_edge.kinds import check_kind
from lsts_edge.runtime.detections import Detections
from lsts_edge.runtime.sinks.interface import Sink
from lsts_edge.runtime.sinks.partial_file import PartialFile
from lsts_edge.runtime.sinks.patient_writer import PatientWriter
from lsts_edge.runtime.sinks.socket_address import SocketAddress
from lsts_edge.runtime.sources.interface import Frame

__all__ = ["TextSink"]

logger = logging.getLogger(__name__)


class TextSink(Sink):
    """Writes ``beginning``, the ``text`` of each frame and ``ending``.

    Attributes:
        stage: name of the stage that its time is counted under.
    """

    stage: ClassVar[str] = "text"

    def __init__(self, path: Path | str | SocketAddress, *, recoverable: bool = False) -> None:
        """Check the path; a file is opened at the first frame, a socket here.

        Args:
            path: a file, which is there when it is complete; ``-`` for standard output, a device, a FIFO, a link or
                a socket (``tcp://HOST:PORT``, ``unix:PATH``) get each row as it comes.
            recoverable: after a kill, the next run in the folder publishes the rows that are whole.
        Raises:
            FileUnwritable: if nothing can be written there, or nobody listens.
        """
        super().__init__()
        check_kind("output", path, str | Path | SocketAddress)
        if isinstance(path, str):
            path = SocketAddress.parse(path) or path
        self._target: PartialFile | None = None
        self._direct: SocketAddress | Path | TextIO | None = None
        self._is_stdout = str(path) == "-"
        if self._is_stdout:
            self._direct = sys.stdout
        elif isinstance(path, SocketAddress):
            self._direct = path
        else:
            self._target = PartialFile(Path(path), recoverable=recoverable)
            self._direct = self._target.path if self._target.direct else None
        self._row_by_row = recoverable
        self._file: TextIO | PatientWriter | None = None
        self._begun = False
        self._left_out = 0
        if isinstance(self._direct, SocketAddress):
            try:
                self._file = PatientWriter(self._direct, lambda: self.stopping())
            except OSError as error:
                raise self._unwritable(error) from error

    def beginning(self) -> str:
        """What comes before the first frame."""
        return ""

    @abstractmethod
    def text(self, frame: Frame, detections: Detections) -> str:
        """What is written of one frame."""

    def ending(self) -> str:
        """What comes after the last one."""
        return ""

    def write(self, frame: Frame, detections: Detections) -> None:
        """Add the frame. A pipe whose reader stands still is waited for, unless the run is to end.

        Raises:
            FileUnwritable: if the disk is full, or the reader is gone.
        """
        begin = time.perf_counter_ns()
        self._put(self.text(frame, detections))
        self.stage_ms = {self.stage: (time.perf_counter_ns() - begin) / 1e6}

    def finish(self) -> None:
        """Write what is left and close the file.

        Raises:
            FileUnwritable: if the disk is full.
        """
        self._put(self.ending())
        if self._left_out:
            logger.warning("%s: nobody read on; rows left out: %d", self._name(), self._left_out)
        try:
            if not self._is_stdout:
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
        with contextlib.suppress(OSError):
            if self._file is not None and not self._is_stdout:
                self._file.close()
        if self._target is not None:
            self._target.discard()

    def _put(self, text: str) -> None:
        try:
            file = self._opened()
            if text and not file.write(text):
                self._left_out += 1
            if self._row_by_row and not isinstance(file, PatientWriter):
                file.flush()
        except FileUnwritable:  # of the beginning, which is put here too
            raise
        except OSError as error:
            raise self._unwritable(error) from error

    def _opened(self) -> TextIO | PatientWriter:
        if self._file is None:
            if self._direct is not None:
                self._file = PatientWriter(self._direct, self.stopping)
            elif self._target is not None:
                partial = self._target.create()
                self._file = open(partial, "w", encoding="utf-8", newline="")  # noqa: SIM115 - lives as the sink does
            assert self._file is not None
        if not self._begun:
            self._begun = True
            self._put(self.beginning())
        return self._file

    def _name(self) -> str:
        if self._target is not None:
            return str(self._target.path)
        return "standard output" if self._is_stdout else str(self._direct)

    def _unwritable(self, error: OSError) -> FileUnwritable:
        reason = error.strerror or str(error)
        if self._target is not None:
            return self._target.unwritable(reason)
        expected, fix = "somebody who reads it", "Start the reader first, and let it run on."
        return FileUnwritable(f"cannot write to {self._name()}", got=reason, expected=expected, fix=fix)
