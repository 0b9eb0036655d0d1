"""Asks a V4L2 camera what it is and which formats, sizes and rates it has, by the kernel's own calls."""

from __future__ import annotations

import fcntl
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Camera", "Mode", "ask_camera"]

# Linux include/uapi/linux/videodev2.h: numbers and layouts are part of the kernel's interface and do not change.
CAPABILITY = struct.Struct("=16s32s32sIII12x")
FORMAT = struct.Struct("=III32sI16x")
FRAME_SIZE = struct.Struct("=III6I8x")
FRAME_INTERVAL = struct.Struct("=IIIII6I8x")
_READ, _WRITE = 2, 1


def _number(direction: int, number: int, layout: struct.Struct) -> int:
    return direction << 30 | layout.size << 16 | ord("V") << 8 | number


QUERYCAP = _number(_READ, 0, CAPABILITY)
ENUM_FMT = _number(_READ | _WRITE, 2, FORMAT)
ENUM_FRAMESIZES = _number(_READ | _WRITE, 74, FRAME_SIZE)
ENUM_FRAMEINTERVALS = _number(_READ | _WRITE, 75, FRAME_INTERVAL)
_DEVICE_CAPS, _CAPTURE, _CAPTURE_PLANES = 0x80000000, 0x1, 0x1000
_BUFFER = {_CAPTURE: 1, _CAPTURE_PLANES: 9}
_DISCRETE = 1
_MOST = 64  # a driver that never ends a list

Ioctl = Callable[[int, int, bytearray], int]


@dataclass(frozen=True)
class Mode:
    """A pixel format at a size; ``rates_fps`` the fastest first, empty where the driver does not tell."""

    pixel_format: str
    width_px: int
    height_px: int
    rates_fps: tuple[float, ...]


@dataclass(frozen=True)
class Camera:
    """What a device says of itself; no mode where it is no camera but another node of one."""

    driver: str
    card: str
    bus: str
    captures: bool
    modes: tuple[Mode, ...]


def ask_camera(descriptor: int, ioctl: Ioctl = fcntl.ioctl) -> Camera:
    """Everything that an open V4L2 device tells.

    Args:
        descriptor: of the device.
        ioctl: the system's call.
    Raises:
        OSError: if it is no V4L2 device, or is gone.
    """
    answer = bytearray(CAPABILITY.size)
    ioctl(descriptor, QUERYCAP, answer)
    driver, card, bus, _, capabilities, of_node = CAPABILITY.unpack(answer)
    able = of_node if capabilities & _DEVICE_CAPS else capabilities
    kind = next((kind for flag, kind in _BUFFER.items() if able & flag), None)
    modes = () if kind is None else tuple(_modes(descriptor, kind, ioctl))
    return Camera(_text(driver), _text(card), _text(bus), kind is not None, modes)


def _modes(descriptor: int, kind: int, ioctl: Ioctl) -> Iterator[Mode]:
    for _, _, _, _, pixels in _listed(descriptor, ENUM_FMT, FORMAT, (kind, 0, b"", 0), ioctl):
        name = struct.pack("=I", pixels & 0x7FFFFFFF).decode("ascii", "replace").strip()
        for size in _listed(descriptor, ENUM_FRAMESIZES, FRAME_SIZE, (pixels, 0, *[0] * 6), ioctl):
            # Of a range of sizes (smallest width, largest width, step, and the same of heights) the largest is told.
            width, height = (size[3], size[4]) if size[2] == _DISCRETE else (size[4], size[7])
            yield Mode(name, width, height, tuple(_rates(descriptor, pixels, width, height, ioctl)))
            if size[2] != _DISCRETE:
                break


def _rates(descriptor: int, pixels: int, width: int, height: int, ioctl: Ioctl) -> list[float]:
    asked = (pixels, width, height, 0, *[0] * 6)
    found = [
        round(interval[6] / interval[5], 2)  # of a range the shortest interval comes first
        for interval in _listed(descriptor, ENUM_FRAMEINTERVALS, FRAME_INTERVAL, asked, ioctl)
        if interval[5]
    ]
    return sorted(set(found), reverse=True)


def _listed(
    descriptor: int, number: int, layout: struct.Struct, asked: tuple[object, ...], ioctl: Ioctl
) -> Iterator[tuple[int, ...]]:
    """Entries 0, 1, ... until the driver says that there is none."""
    for index in range(_MOST):
        buffer = bytearray(layout.pack(index, *asked))
        try:
            ioctl(descriptor, number, buffer)
        except OSError:
            return
        yield layout.unpack(buffer)


def _text(name: bytes) -> str:
    text = name.split(b"\0")[0].decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "?" for letter in text)
