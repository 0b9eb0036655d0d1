"""The optimiser of a phase: which parameters are trained, at which rate, and how the rate falls."""

from __future__ import annotations

import math
from typing import cast

from torch import nn, optim

from lsts_edge.errors import OptionError
from lsts_edge.model.interfaces import Backbone
from lsts_edge.model.layers import FrozenBatchNorm2d
from lsts_edge.model.network import VideoNetwork
from lsts_edge.train.absorb import AbsorbedConv2d
from lsts_edge.train.options import TrainOptions

__all__ = ["make_optimizer", "phase_optimizer", "rate_factor"]

_LAST_FACTOR = 0.01  # of the cosine


def phase_optimizer(network: VideoNetwork, phase: str, options: TrainOptions) -> optim.Optimizer:
    """The optimiser of a phase; parameters that it does not train lose their gradient.

    Args:
        network: whose parameters.
        phase: ``detector`` or ``video``.
        options: what is frozen, the rates, the kind of optimiser.

    Raises:
        OptionError: if ``freeze`` names what is not there, or leaves nothing.
    """
    names = [name for name, _ in network.named_parameters()]
    unknown = [part for part in options.freeze if not any(map(_Within(part), names))]
    if unknown:
        parts = sorted({".".join(name.split(".")[:2]) for name in names})
        raise OptionError("freeze", got=unknown, expected=f"parts of {', '.join(parts)}", fix="Correct the name.")
    backbone = cast(Backbone, network.backbone)
    low, new = ({id(p) for p in own} for own in (backbone.low_parameters(), backbone.new_parameters()))
    groups: dict[str, list[nn.Parameter]] = {"new": [], "pretrained": [], "offsets": []}
    for name, parameter in network.named_parameters():
        group = _group(name, phase, options, is_low=id(parameter) in low, is_new=id(parameter) in new)
        if _stays(network, name, options):
            group = None
        parameter.requires_grad_(group is not None)
        if group is not None:
            groups[group].append(parameter)
    if not any(groups.values()):
        expected = "something left to train"
        raise OptionError(f"the {phase} phase", got="everything frozen", expected=expected, fix="Freeze less.")
    rates = {
        "new": options.learning_rate,
        "pretrained": options.backbone_rate,
        "offsets": options.learning_rate * options.offset_factor,
    }
    momentum = options.momentum if options.optimizer == "sgd" else None
    return make_optimizer(groups, rates, options.weight_decay, momentum)


def make_optimizer(
    groups: dict[str, list[nn.Parameter]], rates: dict[str, float], weight_decay: float, momentum: float | None = None
) -> optim.Optimizer:
    """AdamW over the groups that have parameters, or SGD; ``full`` keeps a group's rate, ``offsets`` never decay.

    Args:
        groups: parameters by the group's name, which each group keeps.
        rates: learning rate of each group.
        weight_decay: of the others.
        momentum: of SGD; None is AdamW.
    """
    described = [
        {
            "params": parameters,
            "name": name,
            "lr": rates[name],
            "full": rates[name],
            "weight_decay": 0.0 if name == "offsets" else weight_decay,
        }
        for name, parameters in groups.items()
        if parameters
    ]
    return optim.AdamW(described) if momentum is None else optim.SGD(described, momentum=momentum)


def rate_factor(options: TrainOptions, position: int, length: int) -> float:
    """What a phase's full rates are multiplied by: warm-up, and a cosine to a hundredth or steps down.

    Args:
        options: warm-up and schedule.
        position: step of the phase, from 0.
        length: steps of the phase.
    """
    warm = min(1.0, (position + 1) / (min(options.warmup, length // 5) + 1))
    if options.schedule == "cosine":
        return warm * (_LAST_FACTOR + (1 - _LAST_FACTOR) * 0.5 * (1 + math.cos(math.pi * position / length)))
    return warm * options.decay_factor ** sum(position >= at * length for at in options.decay_at)


class _Within:
    """Whether a parameter is a named part or inside it."""

    def __init__(self, part: str) -> None:
        self.part = part

    def __call__(self, name: str) -> bool:
        return name == self.part or name.startswith(self.part + ".")


def _group(name: str, phase: str, options: TrainOptions, *, is_low: bool, is_new: bool) -> str | None:
    """The optimiser's group of a parameter in a phase; None where it stays as it is."""
    if name.startswith("backbone."):
        trained = options.train_low if is_low else phase == "detector" or options.heavy_in_video
        return ("new" if is_new else "pretrained") if trained else None
    if name.startswith("head."):
        return "new" if phase == "detector" or options.heavy_in_video else "pretrained"
    if phase == "detector":
        return None
    return "offsets" if name == "lsts.offsets" else "new"


def _stays(network: VideoNetwork, name: str, options: TrainOptions) -> bool:
    """Whether a parameter is kept as it is, whatever the phase."""
    module = network.get_submodule(name.rsplit(".", 1)[0])
    absorbed = isinstance(module, AbsorbedConv2d)
    if (
        isinstance(module, AbsorbedConv2d)
        and module.groups > 1
        and not options.train_depthwise
        and not name.endswith("bias")
    ):
        return True
    if options.freeze_norms and (isinstance(module, FrozenBatchNorm2d) or (absorbed and name.endswith("bias"))):
        return True
    if name == "lsts.offsets" and network.preset.lsts is not None and not network.preset.lsts.learn_offsets:
        return True
    return any(_Within(part)(name) for part in options.freeze)
