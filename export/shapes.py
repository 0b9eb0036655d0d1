"""Shapes of a bundle's tensors: numbers where the input's size is fixed, names where it follows the video."""

from __future__ import annotations

from lsts_edge.presets import InputPreset, ModelPreset

__all__ = ["Shape", "feature_shape", "image_shape", "largest_map", "sizes_of"]

Shape = tuple[int | str, ...]


def image_shape(rule: InputPreset) -> Shape:
    """``(1, H, W, 3)`` of the image."""
    return (1, "H", "W", 3) if rule.resize == "shorter-side" else (1, rule.height_px, rule.width_px, 3)


def feature_shape(preset: ModelPreset) -> Shape:
    """``(1, C, h, w)`` of the features."""
    channels, size = preset.backbone.feature_channels, preset.input
    return (1, channels, "h", "w") if size.resize == "shorter-side" else (1, channels, *largest_map(preset))


def largest_map(preset: ModelPreset) -> tuple[int, int]:
    """Most cells of the feature's height and width; where a video may be upright, both are its longer side's."""
    size, stride = preset.input, preset.backbone.stride
    height, width = (-(-side // stride) for side in (size.height_px, size.width_px))
    return (max(height, width),) * 2 if size.resize == "shorter-side" else (height, width)


def sizes_of(shape: Shape) -> tuple[int, ...]:
    """A shape without names."""
    sizes = tuple(size for size in shape if isinstance(size, int))
    assert len(sizes) == len(shape), shape
    return sizes
