"""All checks in order; one that breaks is a finding, and the others go on."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from lsts_edge.doctor.finding import Finding
from lsts_edge.progress import Progress, silent
from lsts_edge.redact import redact, redact_text
from lsts_edge.runtime.sources.options import SourceOptions

__all__ = ["examine_bundle", "examine_machine", "examine_source"]


def examine_machine(progress: Progress = silent) -> list[Finding]:
    """Everything about this machine and install that ``run`` depends on; nothing is changed.

    Args:
        progress: hears what is being looked at.
    """
    found: list[Finding] = []
    checks = _checks()
    for done, (name, check) in enumerate(checks):
        progress(name, done, len(checks))
        found += _guarded(name, check)
    return found


def examine_bundle(path: str, machine: Sequence[Finding], *, expect_digest: str | None = None) -> list[Finding]:
    """A bundle, on each provider that ``examine_machine`` found to work.

    Args:
        path: of the bundle.
        machine: what ``examine_machine`` found.
        expect_digest: the bundle must be this one.
    """
    from lsts_edge.doctor.bundle import check_bundle

    works = [(one.facts["engine"], one.facts["provider"]) for one in machine if one.code == "provider-ok"]
    providers = [pair for pair in works if pair[1] != "auto"]  # it chooses among the others
    return _guarded(f"bundle {path}", lambda: check_bundle(path, providers, expect_digest=expect_digest))


def examine_source(source: str, options: SourceOptions | None = None) -> list[Finding]:
    """A source, opened and watched for a moment.

    Args:
        source: as for ``open_source``.
        options: of the source.
    """
    from lsts_edge.doctor.source import check_source

    return _guarded(redact(source), lambda: check_source(source, options))


def _checks() -> list[tuple[str, Callable[[], list[Finding]]]]:
    from lsts_edge.doctor.caches import check_caches
    from lsts_edge.doctor.cameras import check_cameras
    from lsts_edge.doctor.clocks import check_clocks
    from lsts_edge.doctor.engines import check_engines
    from lsts_edge.doctor.op_library import check_op_library
    from lsts_edge.doctor.packages import check_packages
    from lsts_edge.doctor.power import check_power
    from lsts_edge.doctor.telemetry import check_telemetry

    return [
        ("packages", check_packages),
        ("engines", check_engines),
        ("op library", check_op_library),
        ("decoders", _decoders),
        ("cameras", check_cameras),
        ("clocks", check_clocks),
        ("power", check_power),
        ("cache", check_caches),
        ("telemetry", check_telemetry),
    ]


def _decoders() -> list[Finding]:
    try:
        from lsts_edge.doctor.decoders import check_decoders
    except ImportError as error:
        fix = "Reinstall PyAV: pip install --force-reinstall av."
        return [Finding("decoder-none", "error", "decoders", f"PyAV cannot be imported: {error}", fix)]
    return check_decoders()


def _guarded(name: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return check()
    except Exception as error:  # a check must not end the others
        if os.environ.get("LSTS_EDGE_TRACEBACK") == "1":
            raise
        got = f"the check itself failed: {type(error).__name__}: {redact_text(str(error), sys.argv)}"
        return [Finding("check-broken", "error", name, got, "This is a bug; LSTS_EDGE_TRACEBACK=1 shows where.")]
