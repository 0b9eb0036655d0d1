"""What a rendered set is made of: how many videos, and what is held fixed in all of them."""

from __future__ import annotations

from dataclasses import dataclass

from lsts_edge.errors import OptionError
from lsts_edge.kinds import check_fields

__all__ = ["RenderOptions"]

_RANGES = {
    "videos": (1, 100_000),
    "frames": (1, 100_000),
    "seed": (0, 2**31 - 1),
    "width_px": (32, 2048),
    "height_px": (32, 2048),
    "speed": (0, 1),
    "blur": (0, 1),
    "occlusion": (0, 12),
    "camera": (0, 1),
}


@dataclass(frozen=True)
class RenderOptions:
    """A rendered set; what is None is drawn for each video, and fixing one thing changes no other.

    Attributes:
        videos: how many.
        frames: of each.
        seed: the same one gives the same set; a video depends on it and on its own number alone.
        width_px: of the pictures.
        height_px: of the pictures.
        speed: lengths of its own that a figure moves in a frame.
        blur: share of a frame's time that the shutter is open.
        occlusion: poles, walls and bushes in front of the figures.
        camera: how much it pans, shakes and travels, 0 to 1.
    """

    videos: int = 20
    frames: int = 60
    seed: int = 0
    width_px: int = 448
    height_px: int = 256
    speed: float | None = None
    blur: float | None = None
    occlusion: int | None = None
    camera: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise OptionError(f"rendering {name}", got=value, expected=f"{low} to {high}", fix="Correct it.")
