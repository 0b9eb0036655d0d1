"""The lowered graphs of a bundle, taken over into another export of the same checkpoint without a second gate."""

from __future__ import annotations

import dataclasses

from lsts_edge.bundle import Bundle, DraftBundle
from lsts_edge.errors import OptionError

__all__ = ["reuse_precision"]

_FIX = "Give the bundle that this checkpoint and this version made, or calibrate with --precision auto."


def reuse_precision(exported: DraftBundle, bundle: Bundle) -> DraftBundle:
    """Put a bundle's lowered graphs into an export; what was measured of them comes along.

    Only LSTS forms and joined graphs may differ: every float32 graph beside the lowered ones must be the same file.

    Args:
        exported: in float32.
        bundle: with graphs below float32, of the same weights.

    Raises:
        OptionError: if the bundle is not of these weights, has nothing to take, or another graph differs.
        DigestMismatch: if one of its files changed since it was opened.
    """
    from lsts_edge.export.exporter import with_lowered

    own, theirs = exported.manifest, bundle.manifest
    if theirs.precision is None or not theirs.precision.chosen.lowered:
        raise _refused("float32 graphs only", "graphs below float32")
    if own.weights.sha256 is None or own.weights.sha256 != theirs.weights.sha256:
        raise _refused(f"weights {theirs.weights.sha256}", str(own.weights.sha256))
    if own.preset != theirs.preset:
        raise _refused(f"{theirs.name} of another size or other numbers", f"{own.name} as exported")
    lowered = dict(theirs.precision.chosen.lowered)
    taken = {name: (kind, bundle.read(theirs.graphs[name].forms["default"])) for name, kind in lowered.items()}
    split = {step.graph for steps in own.programs.values() for step in steps}
    for name in sorted(split - set(lowered)):
        for form, file in own.graphs[name].forms.items():
            there = theirs.graphs[name].forms.get(form) if name in theirs.graphs else None
            if there is None and form != "default":
                continue  # a form that the bundle has not
            if there is None or bundle.read(there) != exported.files[file]:
                raise _refused(f"another {file}", "the same float32 graphs, which were judged beside the lowered ones")
    made = with_lowered(exported, taken)
    return DraftBundle.of(dataclasses.replace(made.manifest, precision=theirs.precision), made.files)


def _refused(got: str, expected: str) -> OptionError:
    return OptionError("--precision-from", got=got, expected=expected, fix=_FIX)
