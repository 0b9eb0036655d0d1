"""The outputs of a run as one value: which files, pipes and messages, in segments or whole."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lsts_edge.errors import OptionError
from lsts_edge.redact import redact
from lsts_edge.runtime.sinks.coco_json import CocoSink
from lsts_edge.runtime.sinks.csv_table import CsvSink
from lsts_edge.runtime.sinks.interface import Sink
from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
from lsts_edge.runtime.sinks.mot import MotSink
from lsts_edge.runtime.sinks.mqtt import MqttSink
from lsts_edge.runtime.sinks.segments import SegmentedSink
from lsts_edge.runtime.sinks.socket_address import SocketAddress
from lsts_edge.runtime.sinks.video import VideoSink

__all__ = ["Outputs"]


@dataclass(frozen=True)
class Outputs:
    """What a run writes; paths as ``TextSink`` and ``VideoSink`` take them.

    Attributes:
        video: H.264 with boxes drawn: ``.mp4``, ``.m4v``, ``.mov``, ``.mkv``.
        rows: JSON lines; ``-``, ``tcp://HOST:PORT`` and ``unix:PATH`` too, as for the tables.
        coco: a COCO result file, a JSON list.
        mot: MOT Challenge text.
        csv: a table.
        mqtt: address of a broker and topic.
        segment_s: files of this length, named with their time, each published when complete; None: one of each.
    """

    video: str | None = None
    rows: str | None = None
    coco: str | None = None
    mot: str | None = None
    csv: str | None = None
    mqtt: str | None = None
    segment_s: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Paths and addresses, as given."""
        return tuple(name for name in (self.rows, self.video, self.coco, self.mot, self.csv, self.mqtt) if name)

    @property
    def files(self) -> tuple[Path, ...]:
        """Those that are paths."""
        texts = (self.rows, self.video, self.coco, self.mot, self.csv)
        return tuple(Path(text) for text in texts if text and text != "-" and SocketAddress.parse(text) is None)

    def open(self, classes: Sequence[str], rate_fps: float | None = None) -> list[Sink]:
        """A sink for each, or one for all files in segments.

        Args:
            classes: the model's, by label.
            rate_fps: of the source, where it knows.
        Raises:
            OptionError: if a name says nothing, or segments are asked for and no output is a file.
            FileUnwritable: if something cannot be written to.
        """
        sinks: list[Sink] = []
        try:
            for sink in self._made(classes, rate_fps):
                sinks.append(sink)
        except BaseException:
            for sink in sinks:
                sink.abandon()
            raise
        return sinks

    def _made(self, classes: Sequence[str], rate_fps: float | None) -> Iterator[Sink]:
        makers: dict[str, Callable[..., Sink]] = {
            "rows": JsonLinesSink,
            "video": functools.partial(VideoSink, rate_fps=rate_fps),
            "coco": functools.partial(CocoSink, classes=classes),
            "mot": MotSink,
            "csv": CsvSink,
        }
        in_segments: dict[Path, Callable[[Path], Sink]] = {}
        for kind, make in makers.items():
            text = getattr(self, kind)
            if text is None:
                continue
            address = None if kind == "video" else SocketAddress.parse(text)
            if address is None and "://" in text:
                expected = "a file" if kind == "video" else "a file, -, tcp://HOST:PORT or unix:PATH"
                raise OptionError(f"output of {kind}", got=repr(redact(text)), expected=expected, fix="Choose one.")
            if self.segment_s is None or address is not None or not _is_file(Path(text)):
                yield make(address or Path(text))
            else:
                in_segments[Path(text)] = functools.partial(make, recoverable=True)
        if self.segment_s is not None:
            if not in_segments:
                got, fix = "no output that is a file", "Add --output-video or --output-json."
                raise OptionError("segments", got=got, expected="at least one", fix=fix)
            yield SegmentedSink(in_segments, self.segment_s, rate_fps=rate_fps)
        if self.mqtt is not None:
            yield MqttSink(self.mqtt)


def _is_file(path: Path) -> bool:
    """Whether an output there is a file of ours: no standard output, device, FIFO or link."""
    return str(path) != "-" and not path.is_symlink() and (path.is_file() or not path.exists())
