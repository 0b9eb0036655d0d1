"""The models we know by name: frozen, validated descriptions that export, training and the runtime share."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lsts_edge.errors import OptionError

__all__ = [
    "ALIGNMENTS",
    "AggregationPreset",
    "AlignmentName",
    "BackbonePreset",
    "Blend",
    "ConvLayer",
    "HeadPreset",
    "InputPreset",
    "LstsPreset",
    "ModelPreset",
    "get_preset",
    "preset_from_dict",
    "preset_names",
]

IMAGENET_VID_CLASSES = (
    "airplane", "antelope", "bear", "bicycle", "bird", "bus", "car", "cattle", "dog", "domestic_cat",
    "elephant", "fox", "giant_panda", "hamster", "horse", "lion", "lizard", "monkey", "motorcycle", "rabbit",
    "red_panda", "sheep", "snake", "squirrel", "tiger", "train", "turtle", "watercraft", "whale", "zebra",
)  # fmt: skip
FIVE_GROUPS = ("person", "rider", "vehicle", "bird", "quadruped")

AlignmentName = Literal["lsts", "non-local", "match-trans", "flow-warp", "flow-warp-net", "copy", "none"]
"""What brings the memory to where the current frame shows it. ``flow-warp`` takes DIS flow, ``flow-warp-net`` a
FlowNet-S (for counts and latency); ``copy`` leaves the memory where it is, ``none`` does without a memory."""
ALIGNMENTS: tuple[AlignmentName, ...] = get_args(AlignmentName)
Blend = Literal["quality", "mean", "off"]
"""How a frame's own feature and the aligned memory become one: learned weights, a half each, or not at all."""
_EMBEDDED = ("lsts", "non-local", "match-trans")


def _require(holds: bool, problem: str, got: object, expected: str) -> None:
    if not holds:
        raise OptionError(problem, got=got, expected=expected, fix="Correct the preset.")


@dataclass(frozen=True)
class ConvLayer:
    """One convolution: ``kernel`` x ``kernel``, ``channels`` out, ``stride``; padded to keep the size."""

    kernel: int
    channels: int
    stride: int = 1

    def __post_init__(self) -> None:
        _require(self.kernel in (1, 3, 5, 7), "preset: kernel", self.kernel, "1, 3, 5 or 7")
        _require(self.channels >= 1, "preset: channels", self.channels, ">= 1")
        _require(self.stride in (1, 2), "preset: stride", self.stride, "1 or 2")


@dataclass(frozen=True)
class InputPreset:
    """How a frame becomes the network's input.

    ``letterbox`` scales to fit and pads with ``pad_value`` at the right and bottom; ``stretch`` scales each
    side on its own. ``shorter-side`` is the paper's rule: the shorter side becomes the shorter of ``height_px`` and
    ``width_px`` (600), the longer at most the longer of them (1000), and padding at the right and bottom makes both
    multiples of ``multiple_px``. ``mean`` and ``std`` are in the order of ``color_order``, on the 0..255 scale.
    """

    height_px: int
    width_px: int
    resize: Literal["letterbox", "stretch", "shorter-side"] = "letterbox"
    color_order: Literal["bgr", "rgb"] = "bgr"
    mean: tuple[float, float, float] = (103.06, 115.90, 123.15)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    pad_value: int = 114
    multiple_px: int = 1

    def __post_init__(self) -> None:
        for name in ("height_px", "width_px"):
            value = getattr(self, name)
            _require(32 <= value <= 4096, f"preset: {name}", value, "32..4096 pixels")
        _require(self.resize in ("letterbox", "stretch", "shorter-side"), "preset: resize", self.resize, "a known rule")
        open_size = self.resize == "shorter-side"
        _require(1 <= self.multiple_px <= 256, "preset: multiple_px", self.multiple_px, "1..256")
        _require(self.multiple_px == 1 or open_size, "preset: multiple_px", self.multiple_px, "1 for a fixed size")
        _require(self.color_order in ("bgr", "rgb"), "preset: color_order", self.color_order, "bgr or rgb")
        _require(all(s > 0 for s in self.std), "preset: std", self.std, "> 0")

    @property
    def image_px(self) -> tuple[int, int]:
        """Height and width of the network's image; where they follow the video, of a frame of the input's own size."""
        height, width = (-(-side // self.multiple_px) * self.multiple_px for side in (self.height_px, self.width_px))
        return height, width


@dataclass(frozen=True)
class BackbonePreset:
    """Which feature network; ``low_channels`` at ``low_stride`` leave the low part, ``feature_channels`` at
    ``stride`` leave the heavy one. ``deformable``: the 3x3 convolutions of ResNet-101's last stage are.
    """

    name: Literal["resnet101", "efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", "tiny"]
    low_channels: int
    low_stride: int
    feature_channels: int
    stride: int = 16
    deformable: bool = False

    def __post_init__(self) -> None:
        fits = not self.deformable or self.name == "resnet101"
        _require(fits, "preset: deformable", self.name, "resnet101")


@dataclass(frozen=True)
class LstsPreset:
    """Learned sampling: ``locations`` offsets (K), embedding width and the weights' normalisation.

    ``spread_cells`` is the standard deviation of Gaussian offsets, or the step of uniform ones. Other alignments use
    the embedding and the normalisation alone.
    """

    locations: int = 40
    init: Literal["gaussian", "uniform"] = "gaussian"
    learn_offsets: bool = True
    embedding_channels: int = 256
    normalization: Literal["softmax", "linear"] = "softmax"
    spread_cells: float = 1.0

    def __post_init__(self) -> None:
        _require(1 <= self.locations <= 1024, "preset: locations", self.locations, "1..1024")
        _require(self.init in ("gaussian", "uniform"), "preset: init", self.init, "gaussian or uniform")
        _require(0.0 < self.spread_cells <= 16.0, "preset: spread_cells", self.spread_cells, "above 0, at most 16")
        if self.init == "uniform":
            side = round(self.locations**0.5)
            _require(
                side * side == self.locations and side % 2 == 1, "preset: locations", self.locations, "odd squared"
            )


@dataclass(frozen=True)
class AggregationPreset:
    """Quality weights: ``shared`` applies one stack to each feature (released code), ``concat`` one stack to
    their concatenation (paper text). The last layer's single channel is implied by ``layers``.
    """

    layers: tuple[ConvLayer, ...] = (ConvLayer(1, 256), ConvLayer(3, 16), ConvLayer(3, 1))
    form: Literal["shared", "concat"] = "shared"


@dataclass(frozen=True)
class HeadPreset:
    """RPN and R-FCN: RPN reads the first ``rpn_channels`` of the task feature, R-FCN the last ``rfcn_channels``.

    The last suppression sees pairs of box and class above ``score_floor``, of these only the ``max_candidates`` best
    (the released code: all): with trained weights few are above the floor, with random ones all of them are.
    """

    classes: tuple[str, ...]
    rpn_channels: int
    rfcn_channels: int
    anchor_base_px: int = 16
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    anchor_scales: tuple[float, ...] = (8.0, 16.0, 32.0)
    rpn_box_std: tuple[float, float, float, float] = (0.1, 0.1, 0.4, 0.4)
    rpn_pre_nms: int = 6000
    rpn_post_nms: int = 300
    rpn_nms_iou: float = 0.7
    bins: int = 7
    box_std: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)
    nms_iou: float = 0.3
    score_floor: float = 1e-4
    max_candidates: int = 1000
    max_detections: int = 300

    def __post_init__(self) -> None:
        _require(self.max_candidates >= 1, "preset: max_candidates", self.max_candidates, ">= 1")

    @property
    def anchors_per_cell(self) -> int:
        """Anchors at each feature cell: one per ratio and scale."""
        return len(self.anchor_ratios) * len(self.anchor_scales)


@dataclass(frozen=True)
class ModelPreset:
    """A whole detector. ``lsts`` None is the per-frame detector: every frame runs the heavy path.

    ``form`` picks what the paper's text says (``paper``) or what the released code does (``released``) for
    SRFU and DFA; ``recursion`` is r of memory = r * task + (1 - r) * feature (released: 1). ``light_scale`` is the
    side of the image that propagated frames' low part and Transform see, relative to the input.

    The rest is for comparisons, see ``lsts_edge.variants``: ``alignment``; ``srfu`` blends at keyframes (off: no
    memory goes from keyframe to keyframe) and ``dfa`` at the frames between (off: the aligned feature alone); no
    ``transform`` means the low-level feature as it is; ``recurrent`` aligns the previous frame's result in place of
    the keyframe's.
    """

    name: str
    input: InputPreset
    backbone: BackbonePreset
    head: HeadPreset
    lsts: LstsPreset | None = None
    transform: tuple[ConvLayer, ...] = ()
    aggregation: AggregationPreset | None = None
    form: Literal["released", "paper"] = "released"
    recursion: float = 1.0
    keyframe_interval: int = 10
    light_scale: float = 1.0
    alignment: AlignmentName = "lsts"
    srfu: Blend = "quality"
    dfa: Blend = "quality"
    recurrent: bool = False

    def __post_init__(self) -> None:
        _require(1 <= self.keyframe_interval <= 1000, "preset: keyframe_interval", self.keyframe_interval, "1..1000")
        _require(0.0 <= self.recursion <= 1.0, "preset: recursion", self.recursion, "0..1")
        _require(self.form in ("released", "paper"), "preset: form", self.form, "released or paper")
        scales = (0.5, 1.0) if self.lsts is not None else (1.0,)
        _require(self.light_scale in scales, "preset: light_scale", self.light_scale, " or ".join(map(str, scales)))
        cell_px, multiple = round(self.backbone.stride / self.light_scale), self.input.multiple_px
        whole = self.input.resize != "shorter-side" or multiple % cell_px == 0
        _require(whole, "preset: multiple_px", multiple, f"whole cells of {cell_px} px, for shorter-side")
        feature = self.backbone.feature_channels
        widest = max(self.head.rpn_channels, self.head.rfcn_channels)
        _require(widest <= feature, "preset: head channels", widest, f"at most {feature}")
        if self.lsts is not None:
            self._check_video()

    def _check_video(self) -> None:
        _require(self.aggregation is not None, "preset: aggregation", None, "given where lsts is")
        _require(self.alignment in ALIGNMENTS, "preset: alignment", self.alignment, ", ".join(ALIGNMENTS))
        for name in ("srfu", "dfa"):
            value = getattr(self, name)
            _require(value in get_args(Blend), f"preset: {name}", value, "quality, mean or off")
        feature = self.backbone.feature_channels
        last = self.transform[-1].channels if self.transform else feature
        _require(last == feature, "preset: transform's last channels", last, str(feature))
        alone = self.alignment != "none" or (self.srfu, self.dfa, self.recurrent) == ("off", "off", False)
        _require(alone, "preset: alignment none", f"srfu {self.srfu}, dfa {self.dfa}", "both off, not recurrent")
        ways = self.form == "released" or (self.srfu == "quality" and not self.recurrent)
        _require(ways, "preset: form", self.form, "released, where srfu is not quality or frames are recurrent")

    @property
    def per_frame(self) -> bool:
        """Whether every frame runs the heavy path."""
        return self.lsts is None

    @property
    def samples(self) -> bool:
        """Whether LSTS aligns, which has forms of its own in a bundle."""
        return self.lsts is not None and self.alignment == "lsts"

    @property
    def embeds(self) -> bool:
        """Whether the alignment compares embeddings."""
        return self.lsts is not None and self.alignment in _EMBEDDED

    @property
    def sees(self) -> bool:
        """Whether frames between keyframes look at their own image, through the light path."""
        return self.embeds or (self.lsts is not None and (self.dfa != "off" or self.alignment == "none"))

    @property
    def light_transform(self) -> tuple[ConvLayer, ...]:
        """Transform as it runs: on the half-size image its first stride is dropped, and the grid is the feature's.

        Without Transform the low-level feature serves; where its shape is not the feature's, one 1x1 convolution
        makes it so.
        """
        layers, low = list(self.transform), self.backbone
        if not layers and (low.low_channels, low.low_stride) != (low.feature_channels, low.stride):
            layers = [ConvLayer(1, low.feature_channels, low.stride // low.low_stride)]
        strided = next((index for index, layer in enumerate(layers) if layer.stride == 2), None)
        if self.light_scale == 1.0 or strided is None:
            return tuple(layers)
        layers[strided] = dataclasses.replace(layers[strided], stride=1)
        return tuple(layers)

    def resized(self, height_px: int | None, width_px: int | None) -> ModelPreset:
        """The same model at another input size; ``None`` keeps a side."""
        size = dataclasses.replace(
            self.input,
            height_px=self.input.height_px if height_px is None else height_px,
            width_px=self.input.width_px if width_px is None else width_px,
        )
        return dataclasses.replace(self, input=size)

    def by_shorter_side(self) -> ModelPreset:
        """The same model on images whose size follows the video, by the rule ``shorter-side``."""
        whole_cells_px = round(self.backbone.stride / self.light_scale)  # of the light path too
        rule = dataclasses.replace(self.input, resize="shorter-side", multiple_px=whole_cells_px)
        return dataclasses.replace(self, input=rule)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready nested dictionary; ``preset_from_dict`` is its inverse."""
        data = dataclasses.asdict(self)
        if self.input.multiple_px == 1:  # a field that came later: who does not know it need not
            del data["input"]["multiple_px"]
        return data


_R101_INPUT = InputPreset(height_px=600, width_px=1000, resize="letterbox")
_R101_BACKBONE = BackbonePreset("resnet101", low_channels=1024, low_stride=16, feature_channels=1024)
_R101_HEAD = HeadPreset(classes=IMAGENET_VID_CLASSES, rpn_channels=512, rfcn_channels=512)

_LSTS_R101 = ModelPreset(
    name="lsts-r101",
    input=_R101_INPUT,
    backbone=_R101_BACKBONE,
    head=_R101_HEAD,
    lsts=LstsPreset(),
    transform=(ConvLayer(1, 256), ConvLayer(3, 256), ConvLayer(3, 1024)),
    aggregation=AggregationPreset(),
)

_LITE_HEAD = HeadPreset(
    classes=FIVE_GROUPS,
    rpn_channels=96,
    rfcn_channels=192,  # shared with the RPN's: 192 channels are few for both
    anchor_scales=(2.0, 4.0, 8.0, 14.0),
    rpn_pre_nms=256,
    rpn_post_nms=24,  # with the committed weights more bring more false boxes than true ones
    max_detections=100,
    score_floor=0.005,
)

_LSTS_LITE = ModelPreset(
    name="lsts-lite",
    input=InputPreset(
        height_px=256, width_px=448, color_order="rgb", mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0)
    ),
    backbone=BackbonePreset("efficientnet-lite0", low_channels=40, low_stride=8, feature_channels=192),
    head=_LITE_HEAD,
    lsts=LstsPreset(embedding_channels=64),
    transform=(ConvLayer(3, 80, stride=2), ConvLayer(3, 80), ConvLayer(3, 192)),
    aggregation=AggregationPreset(layers=(ConvLayer(1, 64), ConvLayer(3, 16), ConvLayer(3, 1))),
    light_scale=0.5,
)

_LSTS_TINY = ModelPreset(
    name="lsts-tiny",
    input=InputPreset(height_px=64, width_px=96),
    backbone=BackbonePreset("tiny", low_channels=16, low_stride=8, feature_channels=32),
    head=HeadPreset(
        classes=FIVE_GROUPS,
        rpn_channels=16,
        rfcn_channels=16,
        anchor_scales=(1.0, 2.0, 4.0),
        rpn_pre_nms=128,
        rpn_post_nms=16,
        bins=3,
        max_detections=20,
    ),
    lsts=LstsPreset(locations=9, embedding_channels=8),
    transform=(ConvLayer(1, 16, stride=2), ConvLayer(3, 16), ConvLayer(3, 32)),
    aggregation=AggregationPreset(layers=(ConvLayer(1, 8), ConvLayer(3, 4), ConvLayer(3, 1))),
)

_PRESETS: dict[str, ModelPreset] = {
    preset.name: preset
    for preset in (
        _LSTS_R101,
        dataclasses.replace(_LSTS_R101, name="lsts-r101-uniform", lsts=LstsPreset(locations=81, init="uniform")),
        ModelPreset(name="rfcn-r101", input=_R101_INPUT, backbone=_R101_BACKBONE, head=_R101_HEAD, keyframe_interval=1),
        _LSTS_LITE,
        _LSTS_TINY,
    )
}


def preset_names() -> tuple[str, ...]:
    """Names ``get_preset`` knows, in the order of documentation."""
    return tuple(_PRESETS)


def get_preset(name: str) -> ModelPreset:
    """The preset of that name.

    Raises:
        OptionError: if there is no such preset.
    """
    if name not in _PRESETS:
        raise OptionError("unknown preset", got=repr(name), expected=", ".join(_PRESETS), fix="Choose one of these.")
    return _PRESETS[name]


def preset_from_dict(data: dict[str, Any]) -> ModelPreset:
    """Rebuild a preset from ``ModelPreset.to_dict`` (after JSON: lists for tuples).

    Raises:
        OptionError: if a field is missing, unknown or out of range.
    """
    try:
        fields = dict(data)
        fields["input"] = InputPreset(**_tuples(fields["input"]))
        fields["backbone"] = BackbonePreset(**fields["backbone"])
        fields["head"] = HeadPreset(**_tuples(fields["head"]))
        fields["transform"] = tuple(ConvLayer(**layer) for layer in fields["transform"])
        if fields["lsts"] is not None:
            fields["lsts"] = LstsPreset(**fields["lsts"])
        if fields["aggregation"] is not None:
            layers = tuple(ConvLayer(**layer) for layer in fields["aggregation"]["layers"])
            fields["aggregation"] = AggregationPreset(layers=layers, form=fields["aggregation"]["form"])
        return ModelPreset(**fields)
    except (KeyError, TypeError) as error:
        raise OptionError(
            "preset cannot be read",
            got=str(error),
            expected="the fields of ModelPreset",
            fix="Export the bundle again.",
        ) from error


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
