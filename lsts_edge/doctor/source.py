"""A source, opened and watched for a moment: what it is, whether it is live, its rate, size, codec and frames' age."""

from __future__ import annotations

import dataclasses
import math
import os
import statistics
import threading
import time
from pathlib import Path
from typing import Any

from lsts_edge.doctor.finding import Finding
from lsts_edge.errors import LstsEdgeError
from lsts_edge.redact import redact, redact_text
from lsts_edge.runtime.sources.address import Address, find_address
from lsts_edge.runtime.sources.interface import Frame, Source
from lsts_edge.runtime.sources.open import open_source
from lsts_edge.runtime.sources.options import SourceOptions

__all__ = ["check_source"]

_FRAMES = 50
_WATCH_S = 4.0  # of a live source
_LIMIT_S = 40.0  # FFmpeg's own limits for opening and reading come first
_OLD_S = 3.0  # opening a stream takes FFmpeg a second or so of watching it, and those frames come at once


def check_source(
    source: str, options: SourceOptions | None = None, *, frames: int | None = None, limit_s: float = _LIMIT_S
) -> list[Finding]:
    """Open a source as ``run`` would, read some frames and tell what they are. Nothing it says holds a password.

    Args:
        source: as for ``open_source``.
        options: of the source; unless they say so, a source that is lost is not looked for.
        frames: how many to read; None takes 50, of a live source those of four seconds.
        limit_s: without an answer for so long, the source is silent.
    """
    name = redact(source)
    options = options or SourceOptions()
    watch = _Watch(source, options, frames)
    watch.thread.start()
    watch.thread.join(limit_s)
    if watch.thread.is_alive():
        watch.stop()
        got = f"it gave {len(watch.frames)} frames within {limit_s:g} s and went silent"
        fix = "Check that the camera, server or writer of the pipe is on and sends."
        return [Finding("source-silent", "error", name, got, fix, watch.facts())]
    if watch.error is not None:
        error = watch.error
        if not isinstance(error, LstsEdgeError):
            raise error
        told, fix = redact_text(f"{error.problem}: {error.got}", [source]), redact_text(error.fix, [source])
        return [Finding(error.code, "error", name, told, fix, watch.facts())]
    return _judged(name, watch)


class _Watch:
    """Reads a source in a thread of its own, which is left behind where a driver or pipe never answers."""

    def __init__(self, source: str, options: SourceOptions, frames: int | None) -> None:
        self.frames: list[_Seen] = []
        self.error: BaseException | None = None
        self.address: Address | None = None
        self._source, self._options, self._count = source, options, frames
        self._opened: Source | None = None
        self._transport = ""
        self.thread = threading.Thread(target=self._run, name="watch of a source", daemon=True)

    def stop(self) -> None:
        if self._opened is not None:
            self._opened.stop()

    def _run(self) -> None:
        try:
            self.address = find_address(self._source, self._options)
            options = self._options
            if self.address.live and options.reconnect is None:
                options = dataclasses.replace(options, reconnect="never")
            with open_source(self._source, options) as opened:
                self._opened = opened
                enough = self._count or (math.inf if opened.live else _FRAMES)
                for frame in opened:
                    self.frames.append(_Seen.of(frame))
                    first, last = self.frames[0], self.frames[-1]
                    if first is last:
                        self._transport = _transport(self._source, self.address)
                    if len(self.frames) >= enough or (opened.live and last.at_s - first.at_s > _WATCH_S):
                        break
        except BaseException as error:  # handed to the thread that asks
            self.error = error

    def facts(self) -> dict[str, Any]:
        """What is known by now."""
        told: dict[str, Any] = {"kind": None, "live": None}
        if self.address is not None:
            told = {"kind": self.address.kind, "live": self.address.live}
        if self._opened is not None:
            opened = self._opened
            told |= {"nominal_rate_fps": opened.rate_fps, "frame_count": opened.frame_count, **opened.facts}
            told |= {
                "lost": opened.lost,
                "dropped": opened.dropped,
                "skipped": opened.skipped,
                "transport": self._transport or None,
            }
        if self.frames:
            told |= _measured(self.frames)
        return told


@dataclasses.dataclass(frozen=True)
class _Seen:
    """What is kept of a frame: its picture is not."""

    at_s: float
    height_px: int
    width_px: int
    time_s: float | None
    arrived_s: float | None
    damaged: bool
    decode_ms: float

    @classmethod
    def of(cls, frame: Frame) -> _Seen:
        height, width = frame.image.shape[:2]
        now_s = time.monotonic()
        return cls(now_s, height, width, frame.time_s, frame.arrived_s, frame.damaged, frame.decode_ms)


def _measured(frames: list[_Seen]) -> dict[str, Any]:
    first, last = frames[0], frames[-1]
    told: dict[str, Any] = {
        "frames": len(frames),
        "size_px": [last.width_px, last.height_px],
        "damaged": sum(frame.damaged for frame in frames),
        "decode_p50_ms": round(statistics.median(frame.decode_ms for frame in frames), 2),
    }
    half = frames[len(frames) // 2 :]  # the first ones of a stream come at once
    if len(half) > 1 and half[-1].at_s > half[0].at_s:
        told["read_rate_fps"] = round((len(half) - 1) / (half[-1].at_s - half[0].at_s), 2)
    ages = [frame.at_s - frame.arrived_s for frame in frames if frame.arrived_s is not None]
    if ages:
        told["age_max_ms"] = round(1000 * max(ages), 1)
    if first.time_s is not None and last.time_s is not None and len(frames) > 1:
        # Frames that come faster than their stamps pass were waiting somewhere: the first was so old at least.
        told["backlog_s"] = round(max(0.0, (last.time_s - first.time_s) - (last.at_s - first.at_s)), 2)
    return told


def _judged(name: str, watch: _Watch) -> list[Finding]:
    facts = watch.facts()
    if not watch.frames:
        return [Finding("source-silent", "error", name, "it ended without a frame", "Check what it sends.", facts)]
    found = [Finding("source-ok", "ok", name, _told(facts), facts=facts)]
    count = facts["frames"]
    if facts["damaged"] or facts["lost"]:
        got = f"{facts['damaged']} of {count} frames damaged, {facts['lost']} packets lost"
        fix = "Try --source-option rtsp_transport=tcp, a lower bit rate or a better cable; of a file, make it again."
        found.append(Finding("source-damaged", "warning", name, got, fix))
    if facts["live"] and facts.get("backlog_s", 0.0) > _OLD_S:
        got = f"its first frames were at least {facts['backlog_s']:g} s old"
        fix = "Its server buffers: lower that at the camera (GOP, buffer), or ask for another of its streams."
        found.append(Finding("source-late", "warning", name, got, fix))
    return found


def _told(facts: dict[str, Any]) -> str:
    width, height = facts["size_px"]
    parts = [f"{'live' if facts['live'] else 'not live'} ({facts['kind']})", f"{width}x{height}"]
    if facts.get("codec"):
        turned = "" if facts["orientation"] == "upright" else f", {facts['orientation']}"
        parts.append(f"{facts['codec']} in {facts['container']}{turned}")
    if facts["skipped"]:
        parts.append(f"{facts['skipped']} files that are no pictures left out")
    if facts["nominal_rate_fps"]:
        parts.append(f"{facts['nominal_rate_fps']:g} frames a second by its own word")
    if facts["live"] and "read_rate_fps" in facts:
        parts.append(f"{facts['read_rate_fps']:g} came")
    if facts["live"] and "age_max_ms" in facts:
        parts.append(f"at most {facts['age_max_ms']:g} ms from arrival to here")
    if facts["transport"]:
        parts.append(f"over {facts['transport']}")
    return ", ".join(parts)


def _transport(source: str, address: Address) -> str:
    """What the frames come over; of RTSP, what was agreed on, seen by this process's UDP sockets."""
    scheme = source.partition("://")[0].lower()
    if not scheme.startswith("rtsp"):
        return scheme if address.kind in ("network", "http") else ""
    return "udp" if _holds_udp_socket() else "tcp"


def _holds_udp_socket(proc: Path = Path("/proc/self")) -> bool:
    """Whether this process has an open UDP socket of IPv4 or IPv6."""
    inodes = set()
    for path in (proc / "fd").iterdir():
        try:
            target = os.readlink(path)
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    for table in ("udp", "udp6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        if any(words[9] in inodes for line in lines if len(words := line.split()) > 9):
            return True
    return False
