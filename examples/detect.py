"""Print what moves through a video: ``python examples/detect.py BUNDLE VIDEO``."""

from __future__ import annotations

import sys

from lsts_edge.runtime import Detector


def main(bundle: str, video: str) -> None:
    """Run the detector over the video and print the boxes of each keyframe."""
    with Detector(bundle, score_threshold=0.3) as detector:
        for _, detections in detector.run(video):
            if detections.kind != "propagated":
                row = detections.to_row()
                print(f"frame {row['frame']}, {row['time_s']} s: {len(detections)} boxes")
                for box in row["detections"]:
                    print(f"    {box['label']} {box['score']:.2f} at {box['box_xyxy_px']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
