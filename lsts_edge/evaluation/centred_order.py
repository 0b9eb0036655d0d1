"""Keyframes in the middle of their intervals: in which order the frames of a sequence are computed."""

from __future__ import annotations

from lsts_edge.errors import OptionError

__all__ = ["centred_order", "check_centred"]


def centred_order(frames: int, interval: int) -> list[int]:
    """Frame numbers, each segment's keyframe first, then the others of the segment, which all build on it.

    A segment's keyframe has as many frames of it before as behind, or one more before. As online, every ``interval``-th
    number is a keyframe's.

    Args:
        frames: of the sequence.
        interval: frames of a segment; the last one may be shorter.
    """
    order = []
    for start in range(0, frames, interval):
        end = min(start + interval, frames)
        centre = (start + end) // 2
        order += [centre, *(frame for frame in range(start, end) if frame != centre)]
    return order


def check_centred(keyframe_interval: float | None) -> None:
    """Refuse the schedule where there are no segments.

    Raises:
        OptionError: if there is no interval, or it is not whole.
    """
    if keyframe_interval is None or keyframe_interval != int(keyframe_interval):
        got = "every frame on its own" if keyframe_interval is None else f"interval {keyframe_interval}"
        fix = "Give --keyframe-interval, or leave it out."
        raise OptionError("schedule centred", got=got, expected="a whole keyframe interval", fix=fix)
