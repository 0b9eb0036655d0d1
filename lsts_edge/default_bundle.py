"""The bundle that comes with the package: where it is, and where it says whose work it is."""

from __future__ import annotations

from pathlib import Path

__all__ = ["DEFAULT_NOTICE", "default_bundle"]

_FOLDER = Path(__file__).resolve().parent / "data"

DEFAULT_NOTICE = _FOLDER / "NOTICE"
"""Model, authors, sources, licence and changes of the bundle."""


def default_bundle() -> Path:
    """The path of a detector of COCO's 80 classes, to run where no bundle is given: ``Detector(default_bundle())``.

    It is as free as this package (Apache-2.0); ``DEFAULT_NOTICE`` names its authors.
    """
    return _FOLDER / "default"
