"""A stream's bookkeeping alone: losses, damage, gaps, ages and the reasons that results state."""

from __future__ import annotations

import numpy as np

from lsts_edge.runtime.sources.interface import Frame
from lsts_edge.runtime.stream import Stream

PICTURE = np.zeros((4, 6, 3), np.uint8)


def frame(**what: object) -> Frame:
    return Frame(**{"image": PICTURE, "index": 0, **what})  # type: ignore[arg-type]


def run(stream: Stream, *frames: Frame) -> list[tuple[str | None, str | None]]:
    """As an executor does, with propagated frames wherever there is a memory: (why dropped, what the result states)."""
    told = []
    for one in frames:
        reason = stream.arrive(one)
        if reason is not None:
            stream.drop(reason)
        told.append((reason, stream.settle(one, "propagated" if stream.has_memory else "first", finite=True)))
    return told


def test_frames_ages_and_memory() -> None:
    stream = Stream()
    assert (stream.frame, stream.feature_age, stream.has_memory) == (0, 0, False)
    assert run(stream, frame(), frame(), frame()) == [(None, None)] * 3
    assert (stream.frame, stream.feature_age, stream.has_memory) == (3, 2, True)
    stream.settle(frame(), "keyframe", finite=True)
    assert (stream.frame, stream.feature_age) == (4, 0)


def test_lost_packets_are_a_reset_at_the_frame_that_follows() -> None:
    told = run(Stream(), frame(), frame(lost_before=2), frame())
    assert told == [(None, None), ("decode-error", "decode-error"), (None, None)]


def test_damage_is_a_reset_at_the_next_good_frame_however_much_was_lost() -> None:
    stream = Stream()
    told = run(stream, frame(), frame(damaged=True, lost_before=1), frame(damaged=True), frame(), frame())
    assert [reason for reason, _ in told] == [None, None, None, "decode-error", None]
    assert [stated for _, stated in told] == [None, None, None, "decode-error", None]


def test_a_stream_that_begins_damaged_has_no_memory_until_a_good_frame() -> None:
    stream = Stream()
    assert run(stream, frame(damaged=True)) == [(None, None)]
    assert not stream.has_memory
    assert run(stream, frame()) == [("decode-error", "decode-error")]
    assert stream.has_memory


def test_a_reconnect_is_told_as_such_whatever_else_it_brings() -> None:
    other = np.zeros((8, 6, 3), np.uint8)
    told = run(Stream(), frame(time_s=5.0), frame(time_s=0.0, image=other, lost_before=3, reconnects=1))
    assert told[1] == ("reconnect", "reconnect")


def test_another_coding_is_told_once_and_not_by_a_damaged_frame() -> None:
    before, after = frame(coding="yuv422p"), frame(coding="yuv420p")
    told = run(Stream(), before, before, after, after, frame(), after)
    assert [reason for reason, _ in told] == [None, None, "format-change", None, None, None]
    odd = frame(coding="gray", damaged=True)
    assert [reason for reason, _ in run(Stream(), before, odd, before, before)] == [None, None, "decode-error", None]
    both = frame(coding="yuv420p", image=np.zeros((8, 6, 3), np.uint8))
    assert run(Stream(), before, both)[1] == ("size-change", "size-change"), "one event"


def test_a_drop_before_the_first_frame_is_no_event() -> None:
    stream = Stream()
    assert not stream.drop("requested")
    assert run(stream, frame()) == [(None, None)]
    assert stream.drop("requested")
    assert not stream.drop("size-change"), "there is nothing left to drop"
    assert run(stream, frame())[0][1] == "size-change", "the last reason is the one told"


def test_a_new_video_keeps_the_reason_and_nothing_else() -> None:
    stream = Stream()
    run(stream, frame(time_s=100.0), frame(time_s=100.04, damaged=True))
    stream.drop("new-video")
    stream.next_video()
    assert run(stream, frame(time_s=0.0, image=np.zeros((2, 2, 3), np.uint8))) == [(None, "new-video")]
    assert stream.frame == 1


def test_what_is_not_finite_leaves_no_memory() -> None:
    stream = Stream()
    run(stream, frame())
    assert stream.settle(frame(), "keyframe", finite=False) == "non-finite"
    assert not stream.has_memory
    assert run(stream, frame()) == [(None, None)], "it was told once"
