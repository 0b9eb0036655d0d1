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
    A recurrent preset's other frames align the result of the frame before, which the memory knows nothing of.

    Args:
        network: in evaluation use; its device and dtype are those of the images.

    Attributes:
        memory: what the next keyframe aligns.
        carried: what frames between keyframes align.
        remembered: what those compare themselves with: the embedding or picture of ``carried``'s frame.
        key_picture: the last keyframe's picture, for alignments by optical flow.
    """

    STATE = ("memory", "carried", "remembered", "key_picture")

    def __init__(self, network: VideoNetwork) -> None:
        self.network = network
        self.memory: torch.Tensor | None = None
        self.carried: torch.Tensor | None = None
        self.remembered: torch.Tensor | None = None
        self.key_picture: torch.Tensor | None = None

    def reset(self) -> None:
        """Forget the video; the next frame is a first frame."""
        self.memory = self.carried = self.remembered = self.key_picture = None

    @torch.no_grad()
    def step(self, image: torch.Tensor, is_keyframe: bool, *, remember: bool = True) -> dict[str, torch.Tensor]:
        """Detect on the next frame.

        Args:
            image: ``(1, 3, H, W)`` normalised.
            is_keyframe: run the heavy path; ignored on the first frame and by a per-frame detector, which always do.
            remember: False: a frame between keyframes leaves nothing behind, where a recurrent preset's would.

        Returns:
            The slots of that program: ``feature`` or ``high``, ``aligned``, ``task``, the embeddings, ``boxes``,
            ``scores``, ``labels``; at keyframes ``memory`` too.
        """
        network, preset = self.network, self.network.preset
        if self.memory is None or self.carried is None or preset.per_frame:
            feature = network.heavy(image)
            slots = {"feature": feature, "task": feature} | ({} if preset.per_frame else {"memory": feature})
            self._keep(slots, image)
        elif is_keyframe:
            slots = network.update(image, network.heavy(image), self.memory, self.key_picture)
            self._keep(slots, image)
        else:
            high = network.light(image) if preset.sees else None
            slots = network.propagate(image, self.carried, self.remembered, high)
            if preset.recurrent and remember:
                self._carry(slots, slots["task"], image)
        slots["boxes"], slots["scores"], slots["labels"] = network.detect(slots["task"])
        return slots

    def _keep(self, slots: dict[str, torch.Tensor], image: torch.Tensor) -> None:
        """What a keyframe leaves behind."""
        if self.network.preset.per_frame:
            return
        self.memory = slots["memory"]
        self._carry(slots, self.memory if self.network.preset.form == "paper" else slots["task"], image)
        if not self.network.preset.embeds:
            self.key_picture = self.remembered

    def _carry(self, slots: dict[str, torch.Tensor], carried: torch.Tensor, image: torch.Tensor) -> None:
        self.carried = carried
        self.remembered = self.network.remember(carried, image)
        if self.remembered is not None:
            slots["task_embedding" if self.network.preset.embeds else "picture"] = self.remembered
