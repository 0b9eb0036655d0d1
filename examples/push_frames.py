"""Detect on frames of one's own, one at a time: ``python examples/push_frames.py BUNDLE``."""

from __future__ import annotations

import sys

from lsts_edge.clips import moving_clip
from lsts_edge.runtime import Detector


def main(bundle: str) -> None:
    """Push 20 frames with their times; any (H, W, 3) uint8 BGR array will do."""
    with Detector(bundle, keyframe_interval=10) as detector:
        for index, frame in enumerate(moving_clip(20)):
            detections = detector.push(frame, time_s=index / 25)
            print(f"{index:3} {detections.kind:<10} {len(detections)} boxes in {detections.total_ms:.1f} ms")


if __name__ == "__main__":
    main(*sys.argv[1:])
