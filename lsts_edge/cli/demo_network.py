"""The paper's network for the demo: exported from the committed checkpoint and verified, or used again."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lsts_edge import __version__
from lsts_edge.bundle import Bundle
from lsts_edge.cli.show_progress import echo_progress
from lsts_edge.errors import BundleError, CheckpointError

__all__ = ["checkpoint_file", "lsts_bundle"]

_DEFAULT = Path(__file__).resolve().parents[2] / "examples" / "weights" / "lsts-lite.safetensors"


def checkpoint_file(checkpoint: str | None) -> Path:
    """The checkpoint asked for; None takes the committed one.

    Raises:
        CheckpointError: if it is not there.
    """
    path = _DEFAULT if checkpoint is None else Path(checkpoint)
    if not path.is_file():
        raise CheckpointError(
            f"no checkpoint {path}",
            got="nothing there",
            expected="a .safetensors file",
            fix="Run the demo from a checkout of the project, give --checkpoint FILE or random, or --model default.",
        )
    return path


def lsts_bundle(path: Path, checkpoint: str | None, preset: str | None) -> Bundle:
    """Export and verify, unless ``path`` holds what that would give.

    Args:
        path: the bundle's directory.
        checkpoint: a file, ``random``, or None for the committed weights.
        preset: of random weights; None is lsts-lite.
    """
    file = None if checkpoint == "random" else checkpoint_file(checkpoint)
    name = preset or "lsts-lite"
    if (path / "manifest.json").is_file():
        try:
            bundle = Bundle.open(path)
        except BundleError as error:
            echo_progress(f"{error}\nexporting it again")
        else:
            manifest, weights = bundle.manifest, bundle.manifest.weights
            made_here = manifest.tools.get("lsts_edge") == __version__ and manifest.parity is not None
            same = weights.source == "random" and weights.seed == 0 and manifest.name == name
            if file is not None:
                same = weights.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
            if made_here and same:
                echo_progress(f"using {path}, every file as its manifest says")
                return bundle
    echo_progress(f"exporting {file or f'{name} with random weights'} to {path}")
    from lsts_edge.publish.network import load_network
    from lsts_edge.publish.publish import publish

    network, weights, _ = load_network(str(file or "random"), preset=None if file else name)
    published = publish(network, weights, path, overwrite=True, progress=echo_progress)
    return published.bundle
