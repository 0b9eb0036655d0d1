"""Cameras: which there are, whether this user may open them, and in which formats, sizes and rates they film."""

from __future__ import annotations

import errno
import grp
import os
import re
import stat
from collections import defaultdict
from pathlib import Path

from lsts_edge.doctor.finding import Finding
from lsts_edge.doctor.v4l2 import Camera, ask_camera

__all__ = ["check_cameras"]

_SIZES_TOLD = 3


def check_cameras(dev: Path = Path("/dev")) -> list[Finding]:
    """Open each ``/dev/video*`` and ask it; nothing is filmed.

    Args:
        dev: where the kernel shows devices.
    """
    nodes = sorted(dev.glob("video[0-9]*"), key=lambda path: int(re.sub(r"\D", "", path.name)))
    found = [finding for path in nodes if (finding := _node(path)) is not None]
    if not found:
        got = "none" if not nodes else f"none among {', '.join(path.name for path in nodes)}"
        fix = "Plug one in; in a container, pass it on: docker run --device /dev/video0."
        found.append(Finding("camera-none", "note", "cameras", got, fix))
    return found


def _node(path: Path) -> Finding | None:
    """What a device node is; None for the other nodes of a camera, which film nothing."""
    facts = {"device": str(path)}
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            group = _group(path)
            fix = f"Join its group and log in again: sudo usermod -aG {group} $USER"
            return Finding("camera-permission", "warning", str(path), f"no permission (group {group})", fix, facts)
        return Finding("camera-unusable", "warning", str(path), _reason(error), "Plug it in again.", facts)
    try:
        camera = ask_camera(descriptor)
    except OSError as error:
        fix = "It is no V4L2 device, or its driver does not answer: plug it in again."
        return Finding("camera-unusable", "warning", str(path), _reason(error), fix, facts)
    finally:
        os.close(descriptor)
    return camera_finding(path, camera)


def camera_finding(path: Path, camera: Camera) -> Finding | None:
    """What a camera told, as a finding; None where it is no camera."""
    if not camera.captures:
        return None
    modes = [
        {"format": m.pixel_format, "width_px": m.width_px, "height_px": m.height_px, "rates_fps": list(m.rates_fps)}
        for m in camera.modes
    ]
    facts = {"device": str(path), "card": camera.card, "driver": camera.driver, "bus": camera.bus, "modes": modes}
    told = f"{camera.card} ({camera.driver}): {_formats(camera) or 'it names no format'}"
    return Finding("camera-ok", "ok", str(path), told, facts=facts)


def _formats(camera: Camera) -> str:
    """``MJPG 1920x1080 at 30, 1280x720 at 60, ...; YUYV 640x480 at 30``."""
    sizes: dict[str, list[str]] = defaultdict(list)
    for mode in sorted(camera.modes, key=lambda mode: -mode.width_px * mode.height_px):
        rate = f" at {mode.rates_fps[0]:g}" if mode.rates_fps else ""
        sizes[mode.pixel_format].append(f"{mode.width_px}x{mode.height_px}{rate}")
    return "; ".join(
        f"{name} {', '.join(told[:_SIZES_TOLD])}{', ...' if len(told) > _SIZES_TOLD else ''}"
        for name, told in sizes.items()
    )


def _group(path: Path) -> str:
    try:
        found = os.stat(path)
        return grp.getgrgid(found.st_gid).gr_name if stat.S_IMODE(found.st_mode) & stat.S_IRGRP else "video"
    except (OSError, KeyError):
        return "video"


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
