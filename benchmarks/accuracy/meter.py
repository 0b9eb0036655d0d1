"""Accuracy of everybody in a comparison on the same annotated video: class-agnostic, and per shared class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lsts_edge.benchmarks.compare_result import Difference, EntryAccuracy
from lsts_edge.benchmarks.contestants import Contestant
from lsts_edge.benchmarks.peers import to_groups
from lsts_edge.boxes import Boxes
from lsts_edge.bundle.programs import is_keyframe
from lsts_edge.evaluation.annotations import COCO_GROUPS, category_names, read_annotations
from lsts_edge.evaluation.bundles import read_image
from lsts_edge.evaluation.coco import measure
from lsts_edge.evaluation.metrics import Matches, as_one_class, paired_difference, sequence_matches
from lsts_edge.progress import Progress, silent

__all__ = ["SHARED_GROUPS", "AccuracyMeter"]

SHARED_GROUPS = ("vehicle", "bird", "quadruped")
"""Groups that COCO's classes tell apart as ours do: its person is our person or rider."""


class AccuracyMeter:
    """Runs an entry over every annotated sequence with the keyframe schedule of the comparison.

    A peer's boxes count when their COCO class belongs to one of the groups; its other classes (chairs, cups) are
    left out, which favours the peer.

    Args:
        annotations: COCO-VID style JSON, images relative to it.
        groups: class names of the bundle under comparison.
        keyframe_interval: frames from keyframe to keyframe.
        resamples: of the bootstrap over sequences.

    Raises:
        AnnotationError: if the file or an image cannot be read.
    """

    def __init__(
        self, annotations: Path, groups: tuple[str, ...], keyframe_interval: float, resamples: int = 1000
    ) -> None:
        named = category_names(annotations)
        if not set(named) <= set(groups):  # a detector of COCO's classes on labels in groups: judged as the peers are
            groups = tuple(named)
        self._truth = read_annotations(annotations, groups)
        self._groups = groups
        self._interval = keyframe_interval
        self._resamples = resamples
        self.matches: dict[str, list[list[Matches]]] = {}

    def measure(self, name: str, contestant: Contestant, progress: Progress = silent) -> EntryAccuracy:
        """AP50 of one contestant: all classes as one, and per shared group.

        Args:
            name: of the entry, for ``differences``.
            contestant: who is measured.
            progress: told after every image.
        """
        found, keyframes = self._detect(contestant, progress)
        agnostic = measure(self._truth, found, class_agnostic=True, resamples=self._resamples)
        classes = measure(self._truth, found, resamples=self._resamples)
        one_class = {image: as_one_class(detections) for image, detections in found.items()}
        self.matches[name] = list(sequence_matches(self._truth.as_one_class(), one_class, 0.5).values())
        low, high = agnostic.ap50_interval
        return EntryAccuracy(
            images=agnostic.images,
            sequences=agnostic.sequences,
            keyframe_interval=self._interval_of(contestant, len(found) / keyframes),
            ap50_class_agnostic=round(agnostic.ap50, 4),
            ap50_class_agnostic_interval=(round(low, 4), round(high, 4)),
            ap50_shared={
                group: _rounded(classes.ap50_per_class[group]) for group in SHARED_GROUPS if group in self._groups
            },
            ap50_all_classes=None if contestant.classes != self._groups else round(classes.ap50, 4),
        )

    def differences(self, reference: str) -> dict[str, Difference]:
        """Class-agnostic AP50 of ``reference`` minus that of each other entry, paired over the sequences."""
        return {
            name: Difference(**paired_difference(self.matches[reference], matches, self._resamples))
            for name, matches in self.matches.items()
            if name != reference
        }

    def _interval_of(self, contestant: Contestant, frames_per_keyframe: float) -> float:
        """As asked for; as it was, of a contestant that decides for itself."""
        if not contestant.propagates:
            return 1
        return round(frames_per_keyframe, 2) if contestant.decides else self._interval

    def _detect(self, contestant: Contestant, progress: Progress) -> tuple[dict[int, Boxes], int]:
        """Boxes by image, and how many of the frames were keyframes."""
        found: dict[int, Boxes] = {}
        keyframes = 0
        for records in self._truth.sequences().values():
            contestant.start()
            for index, record in enumerate(records):
                boxes, _, keyframe = contestant.detect(read_image(record), is_keyframe(index, self._interval))
                keyframes += keyframe
                classes = contestant.classes
                if classes != self._groups:
                    boxes = replace(boxes, labels=to_groups(boxes.labels, classes, self._groups, COCO_GROUPS))
                found[record.image_id] = boxes.select(boxes.labels >= 0)
                progress("images", len(found), len(self._truth.images))
        return found, keyframes


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
