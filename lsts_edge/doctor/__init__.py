"""Says what is wrong with a machine, a bundle or a source, and what to do about it: ``examine_machine()``."""

from __future__ import annotations

from lsts_edge.doctor.examine import examine_bundle, examine_machine, examine_source
from lsts_edge.doctor.finding import Finding

__all__ = ["Finding", "examine_bundle", "examine_machine", "examine_source"]
