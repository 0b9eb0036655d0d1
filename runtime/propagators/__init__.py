"""What fills the frames between keyframes: boxes held, moved by flow, or found on a smaller input."""

from __future__ import annotations

from lsts_edge.runtime.propagators.interface import BoxPropagator, PropagatedBoxes
from lsts_edge.runtime.propagators.make import PROPAGATORS, make_propagator, propagator_parameters

__all__ = ["PROPAGATORS", "BoxPropagator", "PropagatedBoxes", "make_propagator", "propagator_parameters"]
