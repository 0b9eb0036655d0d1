"""Run a network over cached features: every sequence with a keyframe schedule, boxes out."""

from __future__ import annotations

import torch

from lsts_edge.boxes import Boxes
from lsts_edge.bundle.manifest import InputInfo
from lsts_edge.model.boxes import CORNERS
from lsts_edge.model.network import Normalize, VideoNetwork
from lsts_edge.progress import Progress, silent
from lsts_edge.runtime.preprocess import Preprocessor
from lsts_edge.train.frozen_features import FrozenFeatures, part_of

__all__ = ["run_on_features"]


def run_on_features(
    network: VideoNetwork,
    features: FrozenFeatures,
    *,
    keyframe_interval: int | None,
    progress: Progress = silent,
) -> dict[int, Boxes]:
    """Detections on every frame that is not mirrored, by image id, as ``VideoLoop`` gives them.

    Args:
        network: with the backbone that the features come from.
        features: sequences of frames.
        keyframe_interval: None takes the heavy feature of every frame, without memory.
        progress: told of frames done and frames in all.
    """
    preset, size = network.preset, network.preset.input
    prepare = Preprocessor(InputInfo.of(size))
    normalize = Normalize(size)
    looks = getattr(network.alignment, "compares", "nothing") == "pictures"
    per_frame = keyframe_interval is None or preset.per_frame
    found: dict[int, Boxes] = {}
    memory = carried = remembered = key_picture = None
    with torch.inference_mode():
        for index, record in enumerate(features.records):
            distance = (index - int(features.first[index])) % (keyframe_interval or 1)
            image = torch.empty(1, 0)
            if looks:
                image = normalize(torch.from_numpy(features.pixels[index : index + 1]))
            if per_frame or distance == 0:
                feature = part_of(features.heavy, torch.tensor([index]))
                slots = {"task": feature, "memory": feature}
                if not per_frame and memory is not None and index != int(features.first[index]):
                    slots = network.update(image, feature, memory, key_picture)
                if not per_frame:
                    memory = slots["memory"]
                    carried = memory if preset.form == "paper" else slots["task"]
                    remembered = network.remember(carried, image)
                    key_picture = remembered if looks else None
            else:
                assert carried is not None
                high = features.high(network, torch.tensor([index])) if preset.sees else None
                slots = network.propagate(image, carried, remembered, high)
                if preset.recurrent:
                    carried = slots["task"]
                    remembered = network.remember(carried, image)
            boxes, scores, labels = (value.numpy() for value in network.detect(slots["task"]))
            geometry = prepare.geometry(record.height_px, record.width_px)
            found[record.image_id] = geometry.to_frame(Boxes(boxes, scores, labels, CORNERS))
            progress("frames", len(found), len(features.records))
    return found
