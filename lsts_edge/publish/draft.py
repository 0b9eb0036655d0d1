"""The one value that a bundle is until it is published: its files, what they were compared with, their recording."""

from __future__ import annotations

from dataclasses import dataclass

from lsts_edge.bundle import DraftBundle
from lsts_edge.bundle.manifest import ParityInfo
from lsts_edge.verify.compare import ParityReport

__all__ = ["Draft"]


@dataclass(frozen=True)
class Draft:
    """A bundle in memory, compared.

    Attributes:
        bundle: manifest and files.
        recording: what its programs must give on the clip.
        reports: comparisons, each of other frames.
        engines: comparisons of the same frames again on another engine.
        weakness: why the recording proves little, if it does.
    """

    bundle: DraftBundle
    recording: bytes
    reports: tuple[ParityReport, ...]
    engines: tuple[ParityReport, ...] = ()
    weakness: str = ""

    @property
    def parity(self) -> ParityInfo:
        """What the manifest says of all comparisons; of a lowered bundle those on the engine of the recording."""
        lsts = self.bundle.manifest.lsts
        form = None if lsts is None else lsts.default_form
        engines = [report for report in self.engines if not report.limits.loose]
        clips, again = ([report.to_info(form) for report in found] for found in (self.reports, engines))
        return ParityInfo.merged(clips, again)
