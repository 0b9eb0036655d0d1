"""The whole video detector as one module with a method per exported subgraph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, cast

import torch
from torch import nn

from lsts_edge.errors import OptionError
from lsts_edge.model.aggregation import Aggregation, Mean
from lsts_edge.model.alignments.make import make_alignment
from lsts_edge.model.efficientnet import LITE_VARIANTS, EfficientNetLite
from lsts_edge.model.interfaces import Backbone, Head
from lsts_edge.model.layers import ConvStack
from lsts_edge.model.lsts import LstsAlignment
from lsts_edge.model.resnet import ResNet101
from lsts_edge.model.rfcn import RfcnHead
from lsts_edge.model.scaling import doubled, halved
from lsts_edge.model.tiny import TinyBackbone
from lsts_edge.presets import BackbonePreset, Blend, InputPreset, ModelPreset

__all__ = ["Normalize", "Propagation", "VideoNetwork", "build_backbone"]

_Part = TypeVar("_Part", bound=nn.Module)


class Normalize(nn.Module):
    """Frame bytes to network input: channel order, mean, std; ``(N, H, W, 3)`` uint8 BGR to ``(N, 3, H, W)`` float."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, preset: InputPreset) -> None:
        super().__init__()
        self.swap = preset.color_order == "rgb"
        self.register_buffer("mean", torch.tensor(preset.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preset.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """``(N, H, W, 3)`` uint8 BGR to ``(N, 3, H, W)`` float32 in the preset's order and scale."""
        x = image.to(torch.float32).permute(0, 3, 1, 2)
        if self.swap:
            x = x[:, [2, 1, 0]]
        return (x - self.mean) / self.std


class Propagation(nn.Module):
    """Weights of one way of carrying a feature on: two embeddings (f of the old, g of the new) and an aggregation.

    Alignments that compare no embeddings have none; without an aggregation the aligned feature is the result.
    """

    def __init__(self, preset: ModelPreset, blend: Blend) -> None:
        super().__init__()
        channels = preset.backbone.feature_channels
        self.embed_old: nn.Conv2d | None = None
        self.embed_new: nn.Conv2d | None = None
        self.aggregation: nn.Module | None = None
        if preset.embeds and preset.lsts is not None:
            self.embed_old = nn.Conv2d(channels, preset.lsts.embedding_channels, 1)
            self.embed_new = nn.Conv2d(channels, preset.lsts.embedding_channels, 1)
        if blend == "mean":
            self.aggregation = Mean()
        elif blend == "quality" and preset.aggregation is not None:
            self.aggregation = Aggregation(channels, preset.aggregation)


class VideoNetwork(nn.Module):
    """Keyframe detector with a memory (SRFU), light propagation (DFA) and one head for both.

    Each method below is one exported subgraph; ``VideoLoop`` strings them together. A preset without ``lsts`` is
    the per-frame detector: ``heavy`` and ``detect`` only.

    Args:
        preset: sizes and choices.
        backbone: a module with the ``Backbone`` interface; ``None`` builds the preset's.
        head: a module with the ``Head`` interface; ``None`` builds R-FCN from the preset.

    Raises:
        OptionError: if the backbone's channels or strides are not those of the preset.
    """

    def __init__(self, preset: ModelPreset, backbone: nn.Module | None = None, head: nn.Module | None = None) -> None:
        super().__init__()
        self.preset = preset
        self.backbone = build_backbone(preset.backbone) if backbone is None else backbone
        self.head = RfcnHead(preset.head, preset.backbone.stride) if head is None else head
        _check_parts(preset.backbone, self.backbone, self.head)
        self.transform: ConvStack | None = None
        self.srfu: Propagation | None = None
        self.dfa: Propagation | None = None
        self.task_aggregation: Aggregation | None = None
        alignment = make_alignment(preset)
        # Apart, because the learned offsets are called lsts.offsets in checkpoints.
        self.lsts = alignment if isinstance(alignment, LstsAlignment) else None
        self.rival = None if self.lsts is not None else alignment
        if preset.sees:
            self.transform = ConvStack(preset.backbone.low_channels, preset.light_transform, relu=True)
        if alignment is not None:
            self.srfu = Propagation(preset, preset.srfu) if preset.srfu != "off" else None
            self.dfa = Propagation(preset, preset.dfa)
            if preset.form == "paper" and preset.aggregation is not None:
                self.task_aggregation = Aggregation(preset.backbone.feature_channels, preset.aggregation)

    @property
    def alignment(self) -> nn.Module | None:
        """What brings the memory to where a frame shows it, an ``Alignment``; None where there is no memory."""
        return self.lsts if self.lsts is not None else self.rival

    def low(self, image: torch.Tensor) -> torch.Tensor:
        """Normalised image ``(N, 3, H, W)`` to the low-level feature, which both paths share."""
        return cast(Backbone, self.backbone).low(image)

    def heavy(self, image: torch.Tensor) -> torch.Tensor:
        """Normalised image to the keyframe feature F ``(N, C, h, w)``."""
        return cast(Backbone, self.backbone).rest(self.low(image))

    def light(self, image: torch.Tensor) -> torch.Tensor:
        """Normalised image to the propagated frame's feature ``high`` ``(N, C, h, w)``: low part and Transform."""
        return self.light_of(self.shrink(image))

    def shrink(self, image: torch.Tensor) -> torch.Tensor:
        """Normalised image as the light path sees it: itself, or at half the size (``preset.light_scale``)."""
        return image if self.preset.light_scale == 1.0 else halved(image)

    def light_of(self, shrunk: torch.Tensor) -> torch.Tensor:
        """``shrink``'s result to ``high``."""
        return self.high(self.low(shrunk), shrunk.shape[2:])

    def high(self, low: torch.Tensor, shrunk_px: Sequence[int]) -> torch.Tensor:
        """Low-level feature of ``shrink``'s result to ``high``: Transform, brought up to the feature's grid.

        Args:
            low: of ``shrink``'s result.
            shrunk_px: height and width of that result.
        """
        pixels = self.preset.backbone.stride * self.preset.light_scale  # of the shrunk image, per cell of the feature
        height, width = (-(-side // int(pixels)) for side in shrunk_px)
        high = _run(self.transform, low)
        return high if high.shape[2:] == (height, width) else doubled(high, height, width)

    def picture(self, image: torch.Tensor) -> torch.Tensor:
        """Normalised image as alignments by optical flow see it: ``(N, 3, H / 2, W / 2)`` BGR, 0..1."""
        size = self.preset.input
        mean, std = (image.new_tensor(values).view(1, 3, 1, 1) for values in (size.mean, size.std))
        picture = (halved(image) * std + mean) / 255.0
        return picture.flip(1) if size.color_order == "rgb" else picture

    def align(self, memory: torch.Tensor, old: torch.Tensor | None, new: torch.Tensor | None) -> torch.Tensor:
        """Memory moved to where the current frame shows it, ``(N, C, h, w)``.

        ``old`` and ``new`` are what the alignment compares: embeddings, pictures or nothing.
        """
        return _run(self.alignment, memory, old, new)

    def embed_key(self, memory: torch.Tensor, feature: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Key to key: ``f(memory)`` and ``g(feature)``, each ``(N, E, h, w)``."""
        srfu = _there(self.srfu)
        return _run(srfu.embed_old, memory), _run(srfu.embed_new, feature)

    def aggregate_key(self, feature: torch.Tensor, aligned: torch.Tensor) -> torch.Tensor:
        """New keyframe feature and aligned memory to the task feature (``paper`` form: to the memory)."""
        return _run(_there(self.srfu).aggregation, feature, aligned)

    def aggregate_task(self, memory: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
        """``paper`` form only: updated memory and keyframe feature to the task feature."""
        return _run(self.task_aggregation, memory, feature)

    def embed_memory(self, task: torch.Tensor) -> torch.Tensor:
        """Key to current: ``f`` of the feature that propagated frames align; once per keyframe."""
        return _run(_there(self.dfa).embed_old, task)

    def embed_current(self, high: torch.Tensor) -> torch.Tensor:
        """Key to current: ``g(high)``."""
        return _run(_there(self.dfa).embed_new, high)

    def aggregate_current(self, high: torch.Tensor, aligned: torch.Tensor) -> torch.Tensor:
        """Propagated frame's own feature and the aligned one to its task feature."""
        return _run(_there(self.dfa).aggregation, high, aligned)

    def update_memory(self, task: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
        """``released`` form: ``r * task + (1 - r) * feature``; with r = 1 the task feature itself."""
        r = self.preset.recursion
        return task if r == 1.0 else r * task + (1 - r) * feature

    def remember(self, carried: torch.Tensor, image: torch.Tensor) -> torch.Tensor | None:
        """What the frames after this one compare themselves with: its embedding, its picture, or nothing."""
        compares = getattr(self.alignment, "compares", "nothing")
        if compares == "embeddings":
            return self.embed_memory(carried)
        return self.picture(image) if compares == "pictures" else None

    def update(
        self, image: torch.Tensor, feature: torch.Tensor, memory: torch.Tensor, old_picture: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """A later keyframe (SRFU): its feature and the memory to its task feature and the new memory.

        Args:
            image: normalised; looked at by alignments by optical flow.
            feature: F of it.
            memory: of the keyframe before.
            old_picture: of that keyframe, where the alignment compares pictures.

        Returns:
            Slots: ``feature``, ``task``, ``memory``, and with SRFU ``aligned`` and what was compared.
        """
        if self.srfu is None:
            return {"feature": feature, "task": feature, "memory": feature}
        slots = {"feature": feature}
        old, new = old_picture, None
        if self.preset.embeds:
            old, new = self.embed_key(memory, feature)
            slots |= {"memory_embedding": old, "feature_embedding": new}
        elif old_picture is not None:
            new = slots["new_picture"] = self.picture(image)
        slots["aligned"] = self.align(memory, old, new)
        blended = slots["task"] = self.aggregate_key(feature, slots["aligned"])
        if self.preset.form == "paper":
            slots["memory"], slots["task"] = blended, self.aggregate_task(blended, feature)
        else:
            slots["memory"] = self.update_memory(blended, feature)
        return slots

    def propagate(
        self, image: torch.Tensor, carried: torch.Tensor, remembered: torch.Tensor | None, high: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        """A frame between keyframes (DFA): the carried feature and its own to its task feature.

        Args:
            image: normalised; looked at by alignments by optical flow.
            carried: task feature or memory of the keyframe, or of the frame before if the preset is recurrent.
            remembered: ``remember``'s result for it.
            high: of the light path; None where the preset does not see.

        Returns:
            Slots: ``task``, and as far as there is one ``high``, ``high_embedding``, ``aligned``.
        """
        slots = {} if high is None else {"high": high}
        if self.alignment is None:
            return slots | {"task": slots["high"]}
        new: torch.Tensor | None = None
        if self.preset.embeds:
            new = slots["high_embedding"] = self.embed_current(slots["high"])
        elif remembered is not None:
            new = slots["new_picture"] = self.picture(image)
        slots["aligned"] = self.align(carried, remembered, new)
        blends = _there(self.dfa).aggregation is not None
        slots["task"] = self.aggregate_current(slots["high"], slots["aligned"]) if blends else slots["aligned"]
        return slots

    def detect(self, task: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Boxes ``(D, 4)``, scores ``(D,)``, labels ``(D,)`` of one image; boxes clipped to the network's image."""
        size, stride = self.preset.input, self.preset.backbone.stride
        height_px, width_px = size.height_px, size.width_px
        if size.resize == "shorter-side":  # the image is whole cells
            height_px, width_px = (cells * stride for cells in task.shape[2:])
        return cast(Head, self.head).detect(task, height_px, width_px)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Per-frame detection of one normalised image: ``detect(heavy(image))``."""
        return self.detect(self.heavy(image))


def build_backbone(preset: BackbonePreset) -> nn.Module:
    """The backbone a preset names, with untrained weights."""
    if preset.name == "resnet101":
        return ResNet101(preset.feature_channels, preset.deformable)
    if preset.name == "tiny":
        return TinyBackbone(preset.low_channels, preset.feature_channels)
    variant = LITE_VARIANTS[preset.name]
    if preset.low_channels not in variant.channels:
        expected = f"one of {variant.channels}, which tells where the low part ends"
        raise OptionError("preset: low_channels", got=preset.low_channels, expected=expected, fix="Correct the preset.")
    return EfficientNetLite(preset.name, preset.feature_channels, variant.channels.index(preset.low_channels) + 1)


def _check_parts(preset: BackbonePreset, backbone: nn.Module, head: nn.Module) -> None:
    for part, interface in ((backbone, Backbone), (head, Head)):
        if not isinstance(part, interface):
            raise OptionError(
                f"{type(part).__name__} cannot serve as {interface.__name__}",
                got="methods or attributes missing",
                expected=f"the interface lsts_edge.model.interfaces.{interface.__name__}",
                fix="Add what the interface lists.",
            )
    for name in ("low_channels", "low_stride", "feature_channels", "stride"):
        got, expected = getattr(backbone, name), getattr(preset, name)
        if got != expected:
            raise OptionError(f"backbone: {name}", got=got, expected=expected, fix="Make preset and backbone agree.")


def _there(part: _Part | None) -> _Part:
    if part is None:
        raise OptionError(
            "this network does not have that part",
            got="a preset without lsts, the released form, or a part that is off",
            expected="a preset with lsts; the paper's form for aggregate_task",
            fix="Use heavy and detect only, or another preset.",
        )
    return part


def _run(part: nn.Module | None, *inputs: torch.Tensor | None) -> torch.Tensor:
    output: torch.Tensor = _there(part)(*inputs)
    return output
