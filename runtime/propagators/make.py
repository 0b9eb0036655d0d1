"""Make a propagator by its name in the manifest and its parameters there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from lsts_edge.errors import OptionError
from lsts_edge.runtime.propagators.flow_boxes import FlowBoxes, FlowBoxesOptions
from lsts_edge.runtime.propagators.fused import Fused, FusedOptions
from lsts_edge.runtime.propagators.hold import Hold, HoldOptions
from lsts_edge.runtime.propagators.interface import BoxPropagator
from lsts_edge.runtime.propagators.smaller_input import SmallerInput, SmallerInputOptions

__all__ = ["PROPAGATORS", "make_propagator", "propagator_parameters"]

_MADE: Mapping[str, tuple[Any, Any]] = {
    made.name: (made, options)
    for made, options in (
        (Hold, HoldOptions),
        (FlowBoxes, FlowBoxesOptions),
        (Fused, FusedOptions),
        (SmallerInput, SmallerInputOptions),
    )
}
PROPAGATORS = tuple(_MADE)


def make_propagator(name: str, parameters: Mapping[str, Any] | None = None) -> BoxPropagator:
    """A propagator for one stream.

    Args:
        name: one of ``PROPAGATORS``.
        parameters: fields of its options; those left out have their default.
    Raises:
        OptionError: if the name, a parameter or a value is unknown.
    """
    made, options = _known(name)
    given = dict(parameters or {})
    fields = [field.name for field in dataclasses.fields(options)]
    unknown = sorted(set(given) - set(fields))
    if unknown:
        expected = ", ".join(fields) or "none"
        raise OptionError(f"parameters of propagator {name}", got=unknown, expected=expected, fix="Leave them out.")
    propagator: BoxPropagator = made(options(**given))
    return propagator


def propagator_parameters(name: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Every parameter with its value, JSON-ready: what the manifest keeps, so that a later default changes nothing.

    Args:
        name: one of ``PROPAGATORS``.
        parameters: those that are not at their default.
    Raises:
        OptionError: as ``make_propagator``.
    """
    return dataclasses.asdict(make_propagator(name, parameters).options)


def _known(name: str) -> tuple[Any, Any]:
    if name not in _MADE:
        expected = ", ".join(PROPAGATORS)
        raise OptionError("unknown propagator", got=repr(name), expected=expected, fix="Choose one of these.")
    return _MADE[name]
