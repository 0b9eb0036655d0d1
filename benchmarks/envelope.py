"""What every benchmark result says beside its numbers: when, from which commit, on what device, of which bundle."""

from __future__ import annotations

import datetime
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lsts_edge.benchmarks.conditions import Conditions
from lsts_edge.benchmarks.machine import Device, describe_device, package_versions
from lsts_edge.bundle import Bundle
from lsts_edge.bundle.manifest import LstsInfo

__all__ = ["SCHEMA", "BundleFacts", "Commit", "Origin", "Precision", "Result", "bundle_facts"]

SCHEMA: Literal[2] = 2


@dataclass(frozen=True)
class Commit:
    """Of the checkout that measured, and how many of its files differed."""

    id: str
    changed_files: int


@dataclass(frozen=True)
class Origin:
    """When and where a result was measured, and by what."""

    created_utc: str
    commit: Commit | None
    device: Device
    versions: Mapping[str, str]

    @classmethod
    def here(cls) -> Origin:
        """Now, on this machine."""
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        return cls(now, _commit(), describe_device(), package_versions())


@dataclass(frozen=True)
class Precision:
    """What is computed below float32.

    Attributes:
        graphs: precisions of the graphs that left float32, sorted, each once; empty where none did.
        engine: what the engine computes the rest in.
        note: where ``engine`` is not the whole truth.
    """

    graphs: tuple[str, ...] = ()
    engine: str = "fp32"
    note: str = ""

    @classmethod
    def of(cls, graphs: Iterable[str], engine: str) -> Precision:
        """From the precision of each graph."""
        return cls(tuple(sorted(set(graphs) - {"fp32"})), engine)

    @property
    def is_fp32(self) -> bool:
        """Whether nothing is below float32, as far as we chose."""
        return not self.graphs and self.engine == "fp32"

    @property
    def label(self) -> str:
        """For tables: ``fp32``, ``int8``, ``int8+bf16``."""
        lowered = "+".join([*self.graphs, *({self.engine} - {"fp32"})]) or "fp32"
        return f"{lowered} ({self.note})" if self.note else lowered


@dataclass(frozen=True)
class BundleFacts:
    """The bundle that was run; ``precisions`` by graph.

    ``propagation`` names its default way between keyframes; None in results from before there was a choice.
    """

    name: str
    digest: str
    weights: str
    random_weights: bool
    input_px: tuple[int, int]
    precisions: Mapping[str, str]
    lsts: LstsInfo | None
    propagation: str | None = None

    def precision(self, engine: str) -> Precision:
        """Of its graphs, run in the engine's ``engine`` precision."""
        return Precision.of(self.precisions.values(), engine)


def bundle_facts(bundle: Bundle) -> BundleFacts:
    """What a result says about the bundle it ran."""
    manifest = bundle.manifest
    return BundleFacts(
        name=manifest.name,
        digest=bundle.digest,
        weights=manifest.weights.description,
        random_weights=manifest.weights.source == "random",
        input_px=(manifest.input.height_px, manifest.input.width_px),
        precisions={name: graph.precision for name, graph in manifest.graphs.items()},
        lsts=manifest.lsts,
        propagation=manifest.propagation.default,
    )


@dataclass(frozen=True, kw_only=True)
class Result:
    """What all results have; each kind adds its ``settings`` and ``data``, and is one JSON file.

    Settings are everything that was chosen, data the numbers; file names only, never paths.
    """

    schema: Literal[2] = SCHEMA
    kind: str
    origin: Origin
    bundle: BundleFacts | None
    conditions: Conditions | None


def _commit() -> Commit | None:
    """None outside a checkout of this code."""
    folder = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=10)
        return str(done.stdout).strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != folder.parent:
            return None
        return Commit(git("rev-parse", "HEAD"), len(git("status", "--porcelain").splitlines()))
    except (OSError, subprocess.SubprocessError):
        return None
