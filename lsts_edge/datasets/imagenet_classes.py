"""The 30 classes of ImageNet VID: their WordNet ids and their numbers among the 200 of ImageNet DET."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lsts_edge.presets import IMAGENET_VID_CLASSES

__all__ = ["DET_NUMBERS", "VID_LABELS"]

_WORDNET_IDS = (
    "n02691156", "n02419796", "n02131653", "n02834778", "n01503061", "n02924116", "n02958343", "n02402425",
    "n02084071", "n02121808", "n02503517", "n02118333", "n02510455", "n02342885", "n02374451", "n02129165",
    "n01674464", "n02484322", "n03790512", "n02324045", "n02509815", "n02411705", "n01726692", "n02355227",
    "n02129604", "n04468005", "n01662784", "n04530566", "n02062744", "n02391049",
)  # fmt: skip
_DET_NUMBERS = (
    2, 4, 20, 24, 26, 33, 37, 39, 58, 59, 64, 70, 74, 84, 92, 103, 105, 113, 114, 141, 144, 155, 159, 166, 182, 185,
    188, 197, 198, 200,
)  # fmt: skip

VID_LABELS: Mapping[str, int] = MappingProxyType({key: label for label, key in enumerate(_WORDNET_IDS)})
"""Label, an index into ``IMAGENET_VID_CLASSES``, by WordNet id."""
DET_NUMBERS: Mapping[str, int] = MappingProxyType(dict(zip(_WORDNET_IDS, _DET_NUMBERS, strict=True)))
"""Number of the list ``ImageSets/DET/train_NUMBER.txt`` by WordNet id, from DET's development kit."""

assert len(VID_LABELS) == len(IMAGENET_VID_CLASSES)
