"""The options of a command that say where results go, as one value."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from lsts_edge.runtime.sinks.interface import Sink
    from lsts_edge.runtime.sinks.outputs import Outputs

__all__ = ["output_options", "written_paths"]

_TEXT = "- is standard output; tcp://HOST:PORT, unix:PATH a socket."
_OPTIONS = (
    click.option("--output-video", "video", metavar="FILE", help="H.264 (libx264) with boxes: .mp4, .mov, .mkv."),
    click.option("--output-json", "rows", metavar="FILE", help=f"JSON lines, one row a frame; {_TEXT}"),
    click.option("--output-csv", "csv", metavar="FILE", help="A table, one row a box."),
    click.option("--output-coco", "coco", metavar="FILE", help="COCO result file: a JSON list of boxes."),
    click.option("--output-mot", "mot", metavar="FILE", help="MOT Challenge text."),
    click.option("--output-mqtt", "mqtt", metavar="URL", help="mqtt://HOST/TOPIC: a message a frame (extra [mqtt])."),
    click.option("--segment", metavar="TIME", help="Files of this length, named with their time: 10m, 90s, 1h."),
)
_LENGTH = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command; it is handed their values as ``outputs``."""

    @functools.wraps(command)
    def with_outputs(*words: Any, segment: str | None, **options: Any) -> Any:
        from lsts_edge.runtime.sinks.outputs import Outputs

        given = {name: options.pop(name) for name in ("video", "rows", "csv", "coco", "mot", "mqtt")}
        return command(*words, outputs=Outputs(**given, segment_s=_seconds(segment)), **options)

    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(_OPTIONS), with_outputs)


def written_paths(sinks: Sequence[Sink], outputs: Outputs) -> list[str]:
    """What a run has written: the files of its segments, else its outputs as they were named."""
    from lsts_edge.redact import redact
    from lsts_edge.runtime.sinks.segments import SegmentedSink

    segments = [sink for sink in sinks if isinstance(sink, SegmentedSink)]
    in_segments = {str(path) for sink in segments for path in sink.outputs}
    whole = [redact(name) for name in outputs.names if str(Path(name)) not in in_segments]
    return [*whole, *(str(path) for sink in segments for path in sink.published)]


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    match = _LENGTH.fullmatch(text.strip().lower())
    if match is None:
        raise click.BadParameter(f"{text!r} is no length such as 10m, 90s or 1h.", param_hint="'--segment'")
    return float(match[1]) * _SECONDS[match[2]]
