"""What a bundle says about itself: the manifest's frozen dataclasses, which are its schema, and their checks."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lsts_edge import __version__
from lsts_edge.bundle.check import NEWER, check
from lsts_edge.bundle.files import FileInfo, check_files
from lsts_edge.bundle.graphs import DType, GraphInfo, LstsInfo, StateInfo, TensorInfo, check_graphs, ir_weights
from lsts_edge.bundle.interface import Corners, DetectionInfo, InputInfo
from lsts_edge.bundle.precision_info import PrecisionInfo
from lsts_edge.bundle.programs import DETECTION_SLOTS, Step, check_extra_programs, check_programs
from lsts_edge.bundle.propagation import PropagationInfo, PropagationWay, check_propagation, check_slots
from lsts_edge.bundle.provenance import ParityInfo, StudyInfo, WeightsInfo, WrappedInfo
from lsts_edge.bundle.schema_1 import upgraded
from lsts_edge.bundle.strict_json import canonical_json, decode, parse_json
from lsts_edge.errors import DigestMismatch
from lsts_edge.presets import ModelPreset

__all__ = [
    "DETECTION_SLOTS",
    "MANIFEST_MAX_BYTES",
    "SCHEMA_VERSION",
    "Corners",
    "DType",
    "DetectionInfo",
    "FileInfo",
    "GraphInfo",
    "InputInfo",
    "LstsInfo",
    "Manifest",
    "ParityInfo",
    "PropagationInfo",
    "PropagationWay",
    "StateInfo",
    "Step",
    "StudyInfo",
    "TensorInfo",
    "WeightsInfo",
    "WrappedInfo",
    "ir_weights",
]

SCHEMA_VERSION = 2
MANIFEST_MAX_BYTES = 1 << 20
MAX_CLASSES = 10_000

_SELF_DIGEST = re.compile(rb'"manifest_sha256":"([0-9a-f]{64})",')


@dataclass(frozen=True)
class Manifest:
    """A bundle's description; ``docs/bundle.md`` says what may be added to it and how.

    A program is a list of steps over named slots: ``image`` is given, slots in ``state`` are carried from
    frame to frame, others live for one frame. Every program leaves ``boxes``, ``scores`` and ``labels``.

    Attributes:
        programs: over the split graphs, by kind of frame: ``first`` alone, or with ``keyframe`` and ``propagated``.
        joined: the same over the joined graphs; may be empty.
        extra_programs: by name, for ways between keyframes; their images may have sizes of their own.
        features: slots of state that hold the network's feature maps, one for each level.
        light_scale: side of the image that the light path works on, relative to ``input``; its graph does the scaling.
        signals: meaning (``lsts_peak_weight``, ``aggregation_weight``) to the slot that holds it.
        preset: the model of ours that the network is, where it is one: torch can build it again.
        wrapped: the detector of somebody else that it is, where it is one.
    """

    name: str
    tools: Mapping[str, str]
    weights: WeightsInfo
    input: InputInfo
    classes: tuple[str, ...]
    graphs: Mapping[str, GraphInfo]
    state: tuple[StateInfo, ...]
    programs: Mapping[str, tuple[Step, ...]]
    joined: Mapping[str, tuple[Step, ...]]
    lsts: LstsInfo | None
    propagation: PropagationInfo
    detection: DetectionInfo
    parity: ParityInfo | None
    extra_programs: Mapping[str, tuple[Step, ...]] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    light_scale: float = 1.0
    signals: Mapping[str, str] = field(default_factory=dict)
    preset: ModelPreset | None = None
    wrapped: WrappedInfo | None = None
    precision: PrecisionInfo | None = None
    study: StudyInfo | None = None
    files: Mapping[str, FileInfo] = field(default_factory=dict)
    schema: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        found = f"{len(self.classes)} classes"
        check(1 <= len(self.classes) <= MAX_CLASSES, "classes", found, f"at least one class, at most {MAX_CLASSES}")
        check(len(set(self.classes)) == len(self.classes), "classes", "a name twice", "different names")
        check(0.125 <= self.light_scale <= 1, "light_scale", self.light_scale, "0.125..1")
        check_graphs(self.graphs, self.lsts)
        check_programs("programs", self.programs, self.graphs, self.state, self.input)
        if self.joined:
            check_programs("joined", self.joined, self.graphs, self.state, self.input)
        check_extra_programs(self.extra_programs, self.graphs, self.state)
        check_propagation(self.propagation, self.programs, self.extra_programs)
        sets = (self.programs, self.joined) if self.joined else (self.programs,)
        check_slots(self.features, self.signals, self.state, sets)
        if self.precision is not None:
            split = {step.graph for steps in self.programs.values() for step in steps}
            lowered = {name: self.graphs[name].precision for name in split if self.graphs[name].precision != "fp32"}
            stated = dict(self.precision.chosen.lowered)
            check(stated == lowered, "precision: chosen graphs", list(stated.items())[:8], f"what they are: {lowered}")
        if self.files:
            check_files(self.files, self.graphs)

    @classmethod
    def from_dict(cls, data: object) -> Manifest:
        """Decode parsed JSON (without ``manifest_sha256``) of this schema or an older one.

        Raises:
            ManifestError: if the data is not a manifest, is of a newer schema, or contradicts itself.
        """
        version = data.get("schema") if isinstance(data, dict) else None
        known = type(version) is int and 1 <= version <= SCHEMA_VERSION
        got = f"schema {ascii(version)[:60]}{_writer(data)}"
        check(known, "schema", got, f"schema 1 to {SCHEMA_VERSION} (this is lsts-edge {__version__})", NEWER)
        return decode(cls, upgraded(data) if version == 1 else data)

    @classmethod
    def from_json(cls, raw: bytes) -> Manifest:
        """Read ``manifest.json``'s bytes; its own digest is checked before anything is parsed.

        Raises:
            DigestMismatch: if ``manifest_sha256`` is not the digest of the rest.
            ManifestError: if the content is refused.
        """
        if len(raw) > MANIFEST_MAX_BYTES:
            parse_json(raw, max_bytes=MANIFEST_MAX_BYTES)
        stated = _SELF_DIGEST.findall(raw)
        found = hashlib.sha256(_SELF_DIGEST.sub(b"", raw)).hexdigest()
        if len(stated) != 1 or stated[0].decode() != found:
            raise DigestMismatch(
                "manifest.json does not match its own digest",
                got=f"manifest_sha256 {stated[0].decode() if len(stated) == 1 else 'missing or repeated'}",
                expected=found,
                fix="Copy or export the bundle again.",
            )
        data = parse_json(raw, max_bytes=MANIFEST_MAX_BYTES)
        check(canonical_json(data) == raw, "manifest.json's form", "other bytes", "canonical JSON")
        on_top = isinstance(data, dict) and data.pop("manifest_sha256", None) == found
        check(on_top, "its own digest", "elsewhere", "on top")
        manifest = cls.from_dict(data)
        check(bool(manifest.files), "files", "none", "every file of the bundle")
        return manifest

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready nested dictionary, without ``manifest_sha256``; ``from_dict`` is the inverse."""
        data = dataclasses.asdict(self)
        data["preset"] = None if self.preset is None else self.preset.to_dict()
        if self.input.multiple_px == 1:  # younger than the schema: left out where it holds its default
            del data["input"]["multiple_px"]
        return data

    @property
    def keyframe_interval(self) -> float:
        """Frames from one keyframe to the next in the default way, unless the caller says otherwise."""
        return self.propagation.chosen.keyframe_interval

    @property
    def lsts_forms(self) -> tuple[str, ...]:
        """The LSTS forms that the bundle holds; none of a network without LSTS."""
        return () if self.lsts is None else self.lsts.forms

    def ir_bytes(self, graph: str, form: str) -> int:
        """Size of the IR of a graph in a form, both files; 0 where there is none."""
        xml = self.graphs[graph].ir.get(form)
        return 0 if xml is None else self.files[xml].bytes + self.files[ir_weights(xml)].bytes

    def to_json(self) -> bytes:
        """The bytes of ``manifest.json``: canonical JSON with ``manifest_sha256`` over the rest.

        Raises:
            ManifestError: if the manifest would be too large to read back.
        """
        data = self.to_dict()
        data["manifest_sha256"] = hashlib.sha256(canonical_json(data)).hexdigest()
        raw = canonical_json(data)
        check(len(raw) <= MANIFEST_MAX_BYTES, "size", f"{len(raw)} bytes", f"at most {MANIFEST_MAX_BYTES} bytes")
        return raw


def _writer(data: object) -> str:
    """Who wrote the manifest, as far as it says."""
    tools = data.get("tools") if isinstance(data, dict) else None
    version = tools.get("lsts_edge") if isinstance(tools, dict) else None
    return f" (written by lsts-edge {ascii(version)[1:-1][:40]})" if isinstance(version, str) else ""
