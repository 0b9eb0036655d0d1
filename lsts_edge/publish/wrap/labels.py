"""AP50 of a way against labels, where some clips have them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lsts_edge.boxes import Boxes
from lsts_edge.evaluation.annotations import AnnotationSet, category_names, read_annotations
from lsts_edge.evaluation.metrics import as_one_class, bootstrap_interval, mean_ap, sequence_matches
from lsts_edge.publish.wrap.study import Ap50

__all__ = ["Labels"]

_IOU = 0.5
_RESAMPLES = 300


@dataclass(frozen=True)
class Labels:
    """Annotated sequences.

    Attributes:
        annotations: of the detector's classes or, where the file has others, of one class for all.
        by_class: the former.
    """

    annotations: AnnotationSet
    by_class: bool

    @classmethod
    def read(cls, path: Path, classes: tuple[str, ...]) -> Labels:
        """Read a file whose categories hold every class of the detector by name, or any others.

        Raises:
            AnnotationError: if it cannot be read.
        """
        names = category_names(path)
        if set(classes) <= set(names):
            return cls(read_annotations(path, classes), True)
        found = read_annotations(path, names)
        images = tuple(dataclasses.replace(one, labels=np.zeros_like(one.labels)) for one in found.images)
        return cls(dataclasses.replace(found, classes=("object",), images=images), False)

    def ap50(self, found: Mapping[int, Boxes]) -> Ap50:
        """Of boxes by image id; the images of the set that are not among them take no part.

        AP50 is the mean over the classes, or that of all classes as one.
        """
        images = tuple(record for record in self.annotations.images if record.image_id in found)
        part = dataclasses.replace(self.annotations, images=images)
        if not self.by_class:
            found = {key: as_one_class(boxes) for key, boxes in found.items()}
        matches = list(sequence_matches(part, found, _IOU).values())
        value = mean_ap(matches)
        if np.isnan(value):
            return Ap50(None, None, None)
        low, high = bootstrap_interval(matches, resamples=_RESAMPLES) if len(matches) > 2 else (None, None)
        return Ap50(value, low, high)
