"""Whether a bundle computes what it should: compared with torch or a recording, on any engine, state carried."""

from __future__ import annotations

from lsts_edge.verify.compare import ParityReport, check_parity, verify_bundle
from lsts_edge.verify.references import RecordedReference

__all__ = ["ParityReport", "RecordedReference", "check_parity", "verify_bundle"]
