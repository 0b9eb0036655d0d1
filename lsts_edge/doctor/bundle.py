"""A bundle: every byte verified, first frames run under limits, and its recorded clip on each provider that works."""

from __future__ import annotations

import os
from collections.abc import Sequence

from lsts_edge.bundle import Bundle
from lsts_edge.doctor.finding import Finding, finding_of
from lsts_edge.errors import BundleResources, LstsEdgeError
from lsts_edge.runtime.bundle_trial import DEFAULT_LIMITS, try_bundle
from lsts_edge.runtime.child import ChildLimits
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.verify.compare import check_parity, comparable_forms, verify_bundle
from lsts_edge.verify.golden import GOLDEN_FILE
from lsts_edge.verify.references import RecordedReference

__all__ = ["check_bundle"]


def check_bundle(
    path: str | os.PathLike[str],
    providers: Sequence[tuple[str, str]],
    *,
    expect_digest: str | None = None,
    limits: ChildLimits = DEFAULT_LIMITS,
) -> list[Finding]:
    """Open a bundle, load and run it in a child where nobody trusted signed it, then compare it with its recording.

    Args:
        path: of the bundle.
        providers: pairs of engine and provider to run it on.
        expect_digest: it must be this one.
        limits: of the child.
    """
    what = f"bundle {os.fspath(path)}"
    try:
        bundle = Bundle.open(path, expect_digest=expect_digest)
    except LstsEdgeError as error:
        return [finding_of(error, what)]
    manifest = bundle.manifest
    signed = f"signed by {bundle.signed_by}" if bundle.signed_by else "signed by nobody trusted"
    told = f"{manifest.name}, {len(manifest.files)} files as its manifest says, {signed}, sha256:{bundle.digest[:12]}"
    facts = {"name": manifest.name, "bundle_digest": f"sha256:{bundle.digest}", "signed_by": bundle.signed_by}
    found = [Finding("bundle-ok", "ok", what, told, facts=facts)]
    if not providers:
        return [*found, Finding("bundle-untried", "warning", what, "no provider works here to run it on", "See above.")]
    for engine, provider in providers:
        found += _on(bundle, what, EngineOptions(engine, provider), limits)
    return found


def _on(bundle: Bundle, what: str, options: EngineOptions, limits: ChildLimits) -> list[Finding]:
    what = f"{what} on {options.name} {options.provider}"
    facts = {"engine": options.name, "provider": options.provider}
    try:
        if bundle.signed_by is None:
            try_bundle(bundle, options, limits)
        if GOLDEN_FILE not in bundle.manifest.files:
            fix = "Nothing to do if it is yours; else ask its maker for one that can check itself."
            return [Finding("bundle-unrecorded", "warning", what, "it runs; it holds no recording", fix, facts)]
        return _compared(bundle, what, options, facts)
    except BundleResources as error:  # its problem names the limits
        return [Finding(error.code, "error", what, f"{error.problem}: {error.got}", error.fix, facts)]
    except LstsEdgeError as error:
        return [finding_of(error, what)]


def _compared(bundle: Bundle, what: str, options: EngineOptions, facts: dict[str, str]) -> list[Finding]:
    reference = RecordedReference(bundle)
    lsts = bundle.manifest.lsts
    forms = comparable_forms(None if lsts is None else lsts.forms)
    report = verify_bundle(bundle, reference, options, forms=forms)
    check_parity(report)
    totals = [program.totals for program in report.programs]
    worst = max(one.max_tensor_error for one in totals)
    boxes = sum(one.boxes for one in totals)
    tensors = f", tensor error {worst:.1e}" if any(one.worst for one in totals) else ""
    told = f"{totals[0].frames} recorded frames, {boxes} boxes{tensors}: same"
    measured = {**facts, "frames": totals[0].frames, "max_tensor_error": worst}
    found = [Finding("bundle-runs", "ok", what, told, facts=measured)]
    if reference.weakness:
        fix = "Export it with --record-video, a clip with more objects."
        found.append(Finding("bundle-recording-weak", "note", what, reference.weakness, fix))
    return found
