"""Run a checkpoint over annotated sequences in torch, several frames or sequences at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from lsts_edge.boxes import Boxes
from lsts_edge.bundle.manifest import InputInfo
from lsts_edge.errors import OptionError
from lsts_edge.evaluation.annotations import AnnotationSet, ImageRecord
from lsts_edge.evaluation.bundles import read_image
from lsts_edge.evaluation.centred_order import centred_order, check_centred
from lsts_edge.model.boxes import CORNERS
from lsts_edge.model.network import Normalize, VideoNetwork
from lsts_edge.model.video_loop import VideoLoop
from lsts_edge.progress import Progress, silent
from lsts_edge.runtime.preprocess import Preprocessor
from lsts_edge.train.absorb import absorb_batch_norms
from lsts_edge.train.allocator import keep_freed_pages
from lsts_edge.train.threads import set_threads

__all__ = ["run_checkpoint"]


def run_checkpoint(
    network: VideoNetwork,
    annotations: AnnotationSet,
    *,
    keyframe_interval: int | None,
    centred: bool = False,
    device: str = "cpu",
    batch: int = 8,
    threads: int | None = None,
    progress: Progress = silent,
) -> dict[int, Boxes]:
    """Detections of a network on every image, by image id; ``batch`` frames or sequences at a time.

    The weights stay the same, the network is changed to a faster form in place.

    Args:
        network: in float32.
        annotations: sequences of frames.
        keyframe_interval: of the schedule; ``None`` runs the heavy path on every frame, without memory.
        centred: keyframes lie in the middle of their intervals, and no frame between builds on another.
        device: where to compute.
        batch: frames (per frame) or sequences (with a schedule) at a time.
        threads: CPU threads; ``None`` keeps the setting.
        progress: told of frames done and frames in all.

    Raises:
        OptionError: if ``batch`` or the interval is not positive, the threads are out of range, or a per-frame
            network is to be run centred.
    """
    if centred:
        check_centred(None if network.preset.per_frame else keyframe_interval)
    if batch < 1 or (keyframe_interval is not None and keyframe_interval < 1):
        got = f"batch {batch}, interval {keyframe_interval}"
        raise OptionError("evaluation", got=got, expected="both >= 1", fix="Correct them.")
    set_threads(threads)
    keep_freed_pages()
    absorb_batch_norms(network.backbone)
    place = torch.device(device)
    network = network.to(place, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    normalize = Normalize(network.preset.input).to(place)
    rule = network.preset.input
    prepare = Preprocessor(InputInfo.of(rule))
    if rule.resize == "shorter-side":
        batch = 1  # videos have sizes of their own
    results: dict[int, Boxes] = {}

    def load(records: list[ImageRecord]) -> torch.Tensor:
        frames = np.concatenate([prepare(read_image(record))[0].copy() for record in records])
        image: torch.Tensor = normalize(torch.from_numpy(frames).to(place))
        return image.contiguous(memory_format=torch.channels_last)

    def keep(records: list[ImageRecord], tasks: torch.Tensor) -> None:
        for index, record in enumerate(records):
            boxes, scores, labels = (value.cpu().numpy() for value in network.detect(tasks[index : index + 1]))
            found = Boxes(boxes, scores, labels, CORNERS)
            results[record.image_id] = prepare.geometry(record.height_px, record.width_px).to_frame(found)
        progress("frames", len(results), len(annotations.images))

    with torch.inference_mode():
        if keyframe_interval is None or network.preset.per_frame:
            images = list(annotations.images)
            for start in range(0, len(images), batch):
                records = images[start : start + batch]
                keep(records, network.heavy(load(records)))
        else:
            for records, tasks in _scheduled(network, annotations, keyframe_interval, centred, batch, load):
                keep(records, tasks)
    return results


def _scheduled(
    network: VideoNetwork,
    annotations: AnnotationSet,
    interval: int,
    centred: bool,
    batch: int,
    load: Callable[[list[ImageRecord]], torch.Tensor],
) -> Iterator[tuple[list[ImageRecord], torch.Tensor]]:
    """Task features of several sequences side by side, frame by frame; shorter ones leave when they end."""
    sequences = sorted(annotations.sequences().values(), key=len, reverse=True)
    if centred:
        sequences = [[records[index] for index in centred_order(len(records), interval)] for records in sequences]
    for start in range(0, len(sequences), batch):
        group = sequences[start : start + batch]
        loop = VideoLoop(_WithoutHead(network))  # type: ignore[arg-type]
        for frame in range(len(group[0])):
            records = [sequence[frame] for sequence in group if frame < len(sequence)]
            for name in VideoLoop.STATE:
                state = getattr(loop, name)
                if state is not None:
                    setattr(loop, name, state[: len(records)])
            yield records, loop.step(load(records), frame % interval == 0, remember=not centred)["task"]


class _WithoutHead:
    """A network whose ``detect`` does nothing, so that the loop can run several videos side by side."""

    def __init__(self, network: VideoNetwork) -> None:
        self._network = network

    def __getattr__(self, name: str) -> object:
        return getattr(self._network, name)

    def detect(self, task: torch.Tensor) -> tuple[None, None, None]:
        return None, None, None
