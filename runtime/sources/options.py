"""Options of a source: which frames count, what happens when a camera goes away, and how it is opened."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from lsts_edge.errors import OptionError
from lsts_edge.kinds import check_fields

__all__ = ["SourceOptions"]


@dataclass(frozen=True)
class SourceOptions:
    """How a source is opened and read; what does not concern the kind of source at hand is refused, not ignored.

    Attributes:
        policy: ``every`` frame, or the ``latest`` one, older ones dropped and counted; None takes ``latest`` for live
            sources and ``every`` for all others.
        every: take every n-th frame, 1 to 1000000.
        reconnect: seconds to try after a live source was lost, ``never`` or ``forever``; None is ``forever`` once the
            source has been there. Seconds and ``forever`` also wait for a source that is not there at the start.
        stall_s: a live source without a frame for so long is lost, above 0.
        rtsp_transport: ``tcp``, ``udp``, or ``auto``: TCP, and UDP where the camera refuses it.
        camera_format: of a V4L2 camera, such as ``mjpeg`` or ``yuyv422``.
        camera_size: of a camera, such as ``1280x720``.
        camera_rate: of a camera, frames a second.
        stream: number of the video stream, from 0; None takes the best.
        check_certificates: whether an encrypted connection needs a certificate that this machine trusts.
        ca_file: certificates to trust, a PEM file; None takes the system's.
        decoder_threads: of the video decoder; None leaves it to FFmpeg.
        read_ahead: frames that may wait, decoded while one before them is detected on, 0 to 1000; None: in turn. A
            live source, and the policy ``latest``, have a thread of their own and take 0 only.
    """

    policy: Literal["every", "latest"] | None = None
    every: int = 1
    reconnect: float | Literal["never", "forever"] | None = None
    stall_s: float = 4.0
    rtsp_transport: Literal["tcp", "udp", "auto"] = "auto"
    camera_format: str | None = None
    camera_size: str | None = None
    camera_rate: float | None = None
    stream: int | None = None
    check_certificates: bool = True
    ca_file: str | None = None
    decoder_threads: int | None = None
    read_ahead: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        reconnect_ok = self.reconnect in (None, "never", "forever") or _positive(self.reconnect)
        for name, ok, expected in (
            ("policy", self.policy in (None, "every", "latest"), "every or latest"),
            ("every", 1 <= self.every <= 1_000_000, "a whole number, 1 to 1000000"),
            ("reconnect", reconnect_ok, "seconds above 0, never or forever"),
            ("stall_s", _positive(self.stall_s), "seconds above 0"),
            ("rtsp_transport", self.rtsp_transport in ("tcp", "udp", "auto"), "tcp, udp or auto"),
            ("camera_size", re.fullmatch(r"[1-9]\d*x[1-9]\d*", self.camera_size or "1x1"), "such as 1280x720"),
            ("camera_rate", self.camera_rate is None or _positive(self.camera_rate), "frames a second, above 0"),
            ("stream", self.stream is None or self.stream >= 0, "a number from 0"),
            ("decoder_threads", self.decoder_threads is None or self.decoder_threads >= 1, "a number from 1"),
            ("read_ahead", self.read_ahead is None or 0 <= self.read_ahead <= 1000, "a whole number, 0 to 1000"),
        ):
            if not ok:
                got = getattr(self, name)
                raise OptionError(f"source option {name}", got=got, expected=expected, fix="Correct it.")

    def with_pairs(self, pairs: Iterable[str]) -> SourceOptions:
        """These options changed by ``key=value`` texts, as the command line has them.

        Raises:
            OptionError: if a key is unknown, a value is of another type or out of its range.
        """
        kinds = {field.name: str(field.type) for field in dataclasses.fields(self)}
        values: dict[str, Any] = {}
        for pair in pairs:
            key, equals, value = pair.partition("=")
            if not equals or key not in kinds:
                got = pair if not equals else key  # never the value: it may be a secret under a key we do not know
                known = ", ".join(f"{name}=..." for name in kinds)
                raise OptionError("source option", got=got, expected=f"one of {known}", fix="Correct the name.")
            values[key] = _parsed(key, value, kinds[key])
        return dataclasses.replace(self, **values)

    def changed(self) -> frozenset[str]:
        """Names of the options that are not as they are by default."""
        default = SourceOptions()
        names = [field.name for field in dataclasses.fields(self)]
        return frozenset(name for name in names if getattr(self, name) != getattr(default, name))


def _positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


def _parsed(key: str, value: str, kind: str) -> object:
    """A text as the option's type; a text that names no number stays one, and is refused by its range."""
    try:
        if kind.startswith("bool"):
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[value.lower()]
        if kind.startswith("int"):
            return int(value)
        if kind.startswith("float"):
            return value if value in ("never", "forever") and key == "reconnect" else float(value)
    except (KeyError, ValueError) as error:
        expected = {"b": "true or false", "i": "a whole number", "f": "a number"}[kind[0]]
        raise OptionError(f"source option {key}", got=value, expected=expected, fix="Correct it.") from error
    return value
