"""The optimiser of a phase: which parameters are trained, and at which rate."""

from __future__ import annotations

from torch import nn, optim

__all__ = ["make_optimizer"]


def make_optimizer(
    groups: dict[str, list[nn.Parameter]], rates: dict[str, float], weight_decay: float
) -> optim.Optimizer:
    """AdamW over the groups that have parameters; ``full`` keeps a group's rate, ``offsets`` never decay.

    Args:
        groups: parameters by the group's name.
        rates: learning rate of each group.
        weight_decay: of the others.
    """
    return optim.AdamW(
        [
            {
                "params": parameters,
                "lr": rates[name],
                "full": rates[name],
                "weight_decay": 0.0 if name == "offsets" else weight_decay,
            }
            for name, parameters in groups.items()
            if parameters
        ]
    )
