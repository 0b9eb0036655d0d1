"""What is learnt around a detector, and how long; needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lsts_edge.errors import OptionError
from lsts_edge.kinds import check_fields

__all__ = ["LearnOptions"]


@dataclass(frozen=True)
class LearnOptions:
    """What is learnt, and how long.

    Attributes:
        steps: of the optimiser.
        frames: most frames that are learnt from.
        locations: sampling locations of a level (K); the first thirteen begin on whole cells around the place.
        learn_offsets: let them move from there; a place between cells costs up to three taps more.
        embedding: channels that places are compared in.
        width: channels of Transform on the finest level; the others have a third more.
        batch: clips of a step.
        unroll: frames after the keyframe; from 60 % of the steps on ``long_unroll``.
        long_unroll: see ``unroll``.
        learning_rate: at its highest; falls as a cosine.
        seed: of everything random.
        form: of LSTS, measured and the default: ``taps`` runs everywhere, ``custom`` where the op library is.
        size: height and width to learn at, smaller than the detector's for less time. None: the detector's own.
    """

    steps: int = 3000
    frames: int = 3000
    locations: int = 13
    learn_offsets: bool = True
    embedding: int = 32
    width: int = 48
    batch: int = 4
    unroll: int = 5
    long_unroll: int = 9
    learning_rate: float = 2e-3
    seed: int = 0
    form: Literal["taps", "custom"] = "taps"
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        limits = {
            "steps": (1, 10**7),
            "frames": (2, 10**6),
            "locations": (1, 256),
            "embedding": (1, 512),
            "width": (4, 512),
            "batch": (1, 256),
            "unroll": (1, 100),
            "long_unroll": (1, 100),
            "learning_rate": (1e-6, 1.0),
        }
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if not least <= value <= most:  # false for NaN too
                fix = "Leave it out if unsure."
                raise OptionError(f"option of learning: {name}", got=value, expected=f"{least:g}..{most:g}", fix=fix)
