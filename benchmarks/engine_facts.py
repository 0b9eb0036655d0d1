"""What a result says of the engine that ran a bundle."""

from __future__ import annotations

from dataclasses import dataclass

from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.pipeline import Pipeline

__all__ = ["EngineFacts"]


@dataclass(frozen=True)
class EngineFacts:
    """The engine in use and what of the bundle it ran.

    Attributes:
        backend: its name.
        version: of its package; None in results from before it was told.
        provider: really used.
        threads: asked for; None left the choice to the engine.
        precision: the engine's own.
        lsts_form: in use; None without LSTS.
        lsts_form_asked: ``auto`` measured the forms first; None took the bundle's default.
        joined: whether the joined graphs ran; None in results from before it was told.
    """

    backend: str
    version: str | None
    provider: str
    threads: int | None
    precision: str
    lsts_form: str | None
    lsts_form_asked: str | None
    joined: bool | None

    @classmethod
    def of(cls, options: EngineOptions, pipeline: Pipeline) -> EngineFacts:
        """What was asked for, and what the loaded pipeline made of it."""
        return cls(
            backend=pipeline.backend.name,
            version=pipeline.backend.version,
            provider=pipeline.backend.provider,
            threads=options.threads,
            precision=options.precision,
            lsts_form=pipeline.lsts_form,
            lsts_form_asked=options.lsts_form,
            joined=pipeline.joined,
        )
