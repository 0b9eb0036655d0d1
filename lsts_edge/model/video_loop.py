"""The reference video loop in torch: what every exported program must reproduce, state carried from frame to frame."""

from __future__ import annotations

import torch

from lsts_edge.model.network import VideoNetwork

__all__ = ["VideoLoop"]


class VideoLoop:
    """Runs one video through a network, frame by frame.

    Slots of a step carry the names a bundle's programs use. ``released``: the first frame's feature is memory and
    task feature; a later keyframe aligns the memory and aggregates; other frames align the last keyframe's task
    feature. ``paper``: the aggregation gives the memory, a second one the task feature, and others align the memory.

    Args:
        network: in evaluation use; its device and dtype are those of the images.
    """

    def __init__(self, network: VideoNetwork) -> None:
        self.network = network
        self.memory: torch.Tensor | None = None
        self.carried: torch.Tensor | None = None  # what propagated frames align
        self.task_embedding: torch.Tensor | None = None

    def reset(self) -> None:
        """Forget the video; the next frame is a first frame."""
        self.memory = self.carried = self.task_embedding = None

    @torch.no_grad()
    def step(self, image: torch.Tensor, is_keyframe: bool) -> dict[str, torch.Tensor]:
        """Detect on the next frame.

        Args:
            image: ``(1, 3, H, W)`` normalised.
            is_keyframe: run the heavy path; ignored on the first frame and by a per-frame detector, which always do.

        Returns:
            The slots of that program: ``feature`` or ``high``, ``aligned``, ``task``, the embeddings, ``boxes``,
            ``scores``, ``labels``; at keyframes ``memory`` too.
        """
        network = self.network
        if network.lsts is None:
            feature = network.heavy(image)
            slots = {"feature": feature, "task": feature}
        elif self.memory is None or self.carried is None or self.task_embedding is None:
            feature = network.heavy(image)
            slots = {"feature": feature, "task": feature, "memory": feature}
            self._carry(slots)
        elif is_keyframe:
            slots = self._keyframe(network.heavy(image), self.memory)
            self._carry(slots)
        else:
            slots = self._propagated(network.light(image), self.carried, self.task_embedding)
        slots["boxes"], slots["scores"], slots["labels"] = network.detect(slots["task"])
        return slots

    def _keyframe(self, feature: torch.Tensor, memory: torch.Tensor) -> dict[str, torch.Tensor]:
        network = self.network
        memory_embedding, feature_embedding = network.embed_key(memory, feature)
        aligned = network.lsts_key(memory, memory_embedding, feature_embedding)
        blended = network.aggregate_key(feature, aligned)
        if network.preset.form == "paper":
            task, memory = network.aggregate_task(blended, feature), blended
        else:
            task, memory = blended, network.update_memory(blended, feature)
        return {
            "feature": feature,
            "memory_embedding": memory_embedding,
            "feature_embedding": feature_embedding,
            "aligned": aligned,
            "task": task,
            "memory": memory,
        }

    def _propagated(
        self, high: torch.Tensor, carried: torch.Tensor, embedding: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        network = self.network
        high_embedding = network.embed_current(high)
        aligned = network.lsts_current(carried, embedding, high_embedding)
        task = network.aggregate_current(high, aligned)
        return {"high": high, "high_embedding": high_embedding, "aligned": aligned, "task": task}

    def _carry(self, slots: dict[str, torch.Tensor]) -> None:
        self.memory = slots["memory"]
        self.carried = slots["memory"] if self.network.preset.form == "paper" else slots["task"]
        self.task_embedding = slots["task_embedding"] = self.network.embed_memory(self.carried)
