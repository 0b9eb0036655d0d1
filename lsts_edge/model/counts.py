"""Parameters and multiply-adds of every exported subgraph, counted by walking the torch network."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

from lsts_edge.model.alignments.flow_warp import FlowWarp
from lsts_edge.model.alignments.match_trans import MatchTrans, window_offsets
from lsts_edge.model.alignments.non_local import NonLocal
from lsts_edge.model.build import bare_network
from lsts_edge.model.lsts import LstsAlignment, differentiable_taps
from lsts_edge.model.network import VideoNetwork
from lsts_edge.model.rfcn import RfcnHead
from lsts_edge.presets import ModelPreset

__all__ = ["RULE", "multiply_adds", "parameters", "total_parameters"]

RULE = (
    "Counted: convolutions, the LSTS taps (U x (E + C) and two K x U blends per cell; rivals by their products) and "
    "position-sensitive pooling (integral images and four look-ups per bin); activations, norms folded into "
    "convolutions, scaling, samples of deformable convolutions, sorting and NMS are not."
)


def parameters(preset: ModelPreset | VideoNetwork) -> dict[str, int]:
    """Weights, biases, batch-norm gamma and beta, and offsets of each subgraph; running statistics are not counted.

    The low part is in ``heavy`` and in ``light``, the offsets in both LSTS graphs; ``total_parameters`` counts them
    once.
    """
    network = _network(preset)
    return {name: _count(modules) for name, (modules, _) in _graphs(network).items()}


def total_parameters(preset: ModelPreset | VideoNetwork) -> int:
    """Every parameter of the whole network once."""
    return _count([_network(preset)])


def multiply_adds(preset: ModelPreset | VideoNetwork) -> dict[str, int]:
    """Multiply-adds of one frame through each subgraph at the preset's input size; ``RULE`` says what is counted.

    Args:
        preset: a preset (offsets as drawn with seed 0), or a network, whose own offsets give the taps.
    """
    network = _network(preset)
    counted: dict[str, int] = {}
    for name, (_, run) in _graphs(network).items():
        total = 0

        def add(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            nonlocal total
            if isinstance(module, nn.ConvTranspose2d):
                total += inputs[0].numel() * module.weight[0].numel()
            elif isinstance(module, nn.Conv2d):
                total += output.numel() * module.weight[0].numel()

        counted_kinds = (nn.Conv2d, nn.ConvTranspose2d)
        hooks = [m.register_forward_hook(add) for m in network.modules() if isinstance(m, counted_kinds)]
        try:
            extra = run()
        finally:
            for hook in hooks:
                hook.remove()
        counted[name] = total + extra
    return counted


def _network(preset: ModelPreset | VideoNetwork) -> VideoNetwork:
    """A network without storage, so that even the largest is counted in a moment; offsets keep their values."""
    network = preset
    if not isinstance(network, VideoNetwork):
        return bare_network(network)
    if all(parameter.is_meta for name, parameter in network.named_parameters() if name != "lsts.offsets"):
        return network
    bare = bare_network(network.preset)
    if bare.lsts is not None and network.lsts is not None:
        bare.lsts.offsets = nn.Parameter(network.lsts.offsets.detach().cpu())
    return bare


def _graphs(network: VideoNetwork) -> dict[str, tuple[list[nn.Module], Callable[[], int]]]:
    """For each subgraph: the modules whose parameters it holds, and a run that returns what hooks do not see."""
    preset = network.preset
    size, cells = preset.input, preset.backbone.stride
    image = torch.empty(1, 3, size.height_px, size.width_px, device="meta")
    height, width = -(-size.height_px // cells), -(-size.width_px // cells)
    feature = torch.empty(1, preset.backbone.feature_channels, height, width, device="meta")
    backbone, head = network.backbone, network.head
    assert isinstance(head, RfcnHead)

    def run(method: Callable[..., object], *inputs: torch.Tensor) -> Callable[[], int]:
        def call() -> int:
            with torch.no_grad():
                method(*inputs)
            return 0

        return call

    def run_head() -> int:
        with torch.no_grad():
            maps = head.maps(feature)
        channels = maps.class_maps.shape[1] + maps.box_maps.shape[1]
        return 2 * channels * height * width + 4 * channels * preset.head.rpn_post_nms

    graphs: dict[str, tuple[list[nn.Module], Callable[[], int]]] = {"heavy": ([backbone], run(network.heavy, image))}
    srfu, dfa = network.srfu, network.dfa
    if network.transform is not None:
        graphs["light"] = ([*_low_modules(network), network.transform], run(network.light, image))

    def run_align() -> int:
        return _alignment_multiply_adds(network, image, feature)

    which = "lsts" if preset.samples else "align"
    aligner = _present(network.alignment)
    if srfu is not None:
        if srfu.embed_old is not None and srfu.embed_new is not None:
            graphs["embed_key"] = ([srfu.embed_old, srfu.embed_new], run(network.embed_key, feature, feature))
        if preset.alignment != "copy":
            graphs[f"{which}_key"] = (aligner, run_align)
        graphs["aggregate_key"] = (_present(srfu.aggregation), run(network.aggregate_key, feature, feature))
    if network.task_aggregation is not None:
        graphs["aggregate_task"] = ([network.task_aggregation], run(network.aggregate_task, feature, feature))
    if dfa is not None:
        if dfa.embed_old is not None and dfa.embed_new is not None:
            graphs["embed_memory"] = ([dfa.embed_old], run(network.embed_memory, feature))
            graphs["embed_current"] = ([dfa.embed_new], run(network.embed_current, feature))
        if preset.alignment != "copy":
            graphs[f"{which}_current"] = (aligner, run_align)
        if dfa.aggregation is not None:
            graphs["aggregate_current"] = ([dfa.aggregation], run(network.aggregate_current, feature, feature))
    graphs["head"] = ([head], run_head)
    return graphs


def _present(part: nn.Module | None) -> list[nn.Module]:
    return [] if part is None else [part]


def _alignment_multiply_adds(network: VideoNetwork, image: torch.Tensor, feature: torch.Tensor) -> int:
    """What hooks do not see: LSTS and MatchTrans by their taps, Non-Local by its two products, warping by its samples.

    A flow network's convolutions are seen by the hooks while it runs here.
    """
    preset, alignment = network.preset, network.alignment
    channels, height, width = feature.shape[1:]
    both = channels + (preset.lsts.embedding_channels if preset.lsts is not None else 0)
    if isinstance(alignment, NonLocal):
        return (height * width) ** 2 * both
    if isinstance(alignment, LstsAlignment | MatchTrans):
        offsets = alignment.offsets.detach() if isinstance(alignment, LstsAlignment) else window_offsets()
        taps, blend = differentiable_taps(offsets, height, width)
        blends = 2 * blend.numel() if isinstance(alignment, LstsAlignment) else 0  # each tap is a location
        return (len(taps) * both + blends) * height * width
    if isinstance(alignment, FlowWarp):
        if isinstance(alignment.flow, nn.Module):
            with torch.no_grad():
                picture = network.picture(image)
                alignment.flow(picture, picture)
        return 4 * channels * height * width
    return 0


def _low_modules(network: VideoNetwork) -> list[nn.Module]:
    """Modules that the low part runs: whatever is called between the image and the low-level feature."""
    used: list[nn.Module] = []
    leaves = [m for m in network.backbone.modules() if not list(m.children()) and list(m.parameters())]
    hooks = [leaf.register_forward_hook(lambda module, *_: used.append(module)) for leaf in leaves]
    size = network.preset.input
    try:
        with torch.no_grad():
            network.low(torch.empty(1, 3, size.height_px, size.width_px, device="meta"))
    finally:
        for hook in hooks:
            hook.remove()
    return used


def _count(modules: Iterable[nn.Module]) -> int:
    found = {id(parameter): parameter.numel() for module in modules for parameter in module.parameters()}
    return sum(found.values())
