"""What a bundle says about itself: the manifest's frozen dataclasses, which are its schema, and their checks."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lsts_edge.bundle.check import check as _check
from lsts_edge.bundle.precision_info import PrecisionInfo
from lsts_edge.bundle.strict_json import canonical_json, decode, parse_json
from lsts_edge.errors import DigestMismatch
from lsts_edge.presets import ModelPreset

__all__ = [
    "MANIFEST_MAX_BYTES",
    "SCHEMA_VERSION",
    "DType",
    "DetectionInfo",
    "FileInfo",
    "GraphInfo",
    "InputInfo",
    "KeyframeInfo",
    "LstsInfo",
    "Manifest",
    "ParityInfo",
    "StateInfo",
    "Step",
    "TensorInfo",
    "WeightsInfo",
    "ir_weights",
]

SCHEMA_VERSION = 1
MANIFEST_MAX_BYTES = 1 << 20
MAX_FILES = 256
MAX_FILE_BYTES = (1 << 31) - 1  # protobuf's own limit for one message
MAX_ELEMENTS = 1 << 31
MAX_LOWERED_TOLERANCE = 0.25
MAX_IR_XML_BYTES = 4 << 20  # walked in Python before the engine reads it
FILE_SUFFIXES = (".onnx", ".xml", ".bin", ".npz", ".json", ".txt", ".md")
DETECTION_SLOTS = ("boxes", "scores", "labels")
PROGRAM_KINDS = ("first", "keyframe", "propagated")

_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"
_FILE_NAME = re.compile(rf"{_SEGMENT}(/{_SEGMENT}){{0,2}}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SELF_DIGEST = re.compile(rb'"manifest_sha256":"([0-9a-f]{64})",')

DType = Literal["float32", "float16", "uint8", "int8", "int32", "int64", "bool"]


@dataclass(frozen=True)
class TensorInfo:
    """One named array: ``shape`` holds sizes, or a name where the size is known only at run time (``"D"``)."""

    name: str
    dtype: DType
    shape: tuple[int | str, ...]

    def __post_init__(self) -> None:
        _check_name("tensor", self.name)
        _check(len(self.shape) <= 8, f"tensor {self.name}: shape", f"{len(self.shape)} axes", "at most 8 axes")
        elements = 1
        for size in self.shape:
            if isinstance(size, str):
                _check_name(f"tensor {self.name}: axis", size)
                continue
            _check(1 <= size <= MAX_ELEMENTS, f"tensor {self.name}: shape", size, "sizes from 1")
            elements *= size
        _check(elements <= MAX_ELEMENTS, f"tensor {self.name}: elements", elements, f"at most {MAX_ELEMENTS}")


@dataclass(frozen=True)
class StateInfo(TensorInfo):
    """A slot that keeps its value from one frame to the next; the program ``first`` writes it."""


@dataclass(frozen=True)
class GraphInfo:
    """One subgraph: its tensors, and the file of each of its forms (``{"default": "heavy.onnx"}``).

    ``ir`` names the OpenVINO IR of forms that have it (``{"default": "heavy.xml"}``); the weights are in the ``.bin``
    file of the same name.
    """

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    forms: Mapping[str, str]
    parameters: int
    multiply_adds: int
    precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp32"
    ir: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One run of a graph: ``inputs`` and ``outputs`` bind the graph's tensor names to slots."""

    graph: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class WeightsInfo:
    """Where the weights come from and under which licence they may be used."""

    source: Literal["random", "file"]
    licence: str
    description: str
    seed: int | None = None
    file: str | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        if self.sha256 is not None:
            _check(bool(_SHA256.fullmatch(self.sha256)), "weights.sha256", ascii(self.sha256)[:80], "64 hex digits")


@dataclass(frozen=True)
class InputInfo:
    """The image graphs take: ``(1, height_px, width_px, 3)`` after ``resize`` and padding with ``pad_value``."""

    height_px: int
    width_px: int
    resize: Literal["letterbox", "letterbox-centred", "stretch", "shorter-side"]
    pad_value: int
    layout: Literal["nhwc"] = "nhwc"
    dtype: Literal["uint8"] = "uint8"
    color_order: Literal["bgr"] = "bgr"

    def __post_init__(self) -> None:
        for side in (self.height_px, self.width_px):
            _check(32 <= side <= 4096, "input: size", side, "32..4096 pixels")
        _check(0 <= self.pad_value <= 255, "input.pad_value", self.pad_value, "0..255")


@dataclass(frozen=True)
class LstsInfo:
    """The custom op's version and its tap plan: K ``locations`` share U ``taps`` within ``radius_cells``."""

    op: Literal["lsts.edge::LSTS"]
    op_version: int
    locations: int
    taps: int
    radius_cells: int
    forms: tuple[str, ...]
    default_form: str

    def __post_init__(self) -> None:
        _check(1 <= self.op_version <= 1000, "lsts.op_version", self.op_version, "1..1000")
        _check(1 <= self.locations <= 1024, "lsts.locations", self.locations, "1..1024")
        _check(1 <= self.taps <= 4 * self.locations, "lsts.taps", self.taps, f"1..{4 * self.locations}")
        _check(self.default_form in self.forms, "lsts.default_form", self.default_form, ", ".join(self.forms))


@dataclass(frozen=True)
class KeyframeInfo:
    """Frames from one keyframe to the next, unless the caller says otherwise."""

    interval: int

    def __post_init__(self) -> None:
        _check(1 <= self.interval <= 1000, "keyframes.interval", self.interval, "1..1000")


@dataclass(frozen=True)
class DetectionInfo:
    """What the head leaves out: boxes scoring below ``score_floor``, and all but ``max_detections``."""

    score_floor: float
    max_detections: int

    def __post_init__(self) -> None:
        _check(0 <= self.score_floor <= 1, "detection.score_floor", self.score_floor, "0..1")
        _check(1 <= self.max_detections <= 100_000, "detection.max_detections", self.max_detections, "1..100000")


@dataclass(frozen=True)
class ParityInfo:
    """What was measured before the bundle was published.

    ``reference`` is what the recording holds: torch's outputs or, in a bundle with graphs below fp32, those of its own
    split programs on ``backend``; their float32 graphs have matched torch before.
    """

    tensor_tolerance: float
    frames: int
    max_tensor_error: float
    boxes: int
    unmatched: int
    near_threshold: int
    backend: str
    form: str
    reference: Literal["torch", "own-programs"] = "torch"

    def __post_init__(self) -> None:
        limit = 1e-4 if self.reference == "torch" else MAX_LOWERED_TOLERANCE
        _check(0 < self.tensor_tolerance <= limit, "parity.tensor_tolerance", self.tensor_tolerance, f"0..{limit}")


@dataclass(frozen=True)
class FileInfo:
    """A file's SHA-256 and size in bytes."""

    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        _check(bool(_SHA256.fullmatch(self.sha256)), "files: sha256", ascii(self.sha256)[:80], "64 hex digits")
        _check(0 <= self.bytes <= MAX_FILE_BYTES, "files: bytes", self.bytes, f"0..{MAX_FILE_BYTES}")


@dataclass(frozen=True)
class Manifest:
    """A bundle's description. ``programs`` run the split graphs, ``joined`` the joined ones (may be empty).

    A program is a list of steps over named slots: ``image`` is given, slots in ``state`` are carried from
    frame to frame, others live for one frame. Every program leaves ``boxes``, ``scores`` and ``labels``.
    """

    name: str
    tools: Mapping[str, str]
    weights: WeightsInfo
    preset: ModelPreset
    input: InputInfo
    classes: tuple[str, ...]
    graphs: Mapping[str, GraphInfo]
    state: tuple[StateInfo, ...]
    programs: Mapping[str, tuple[Step, ...]]
    joined: Mapping[str, tuple[Step, ...]]
    lsts: LstsInfo | None
    keyframes: KeyframeInfo
    detection: DetectionInfo
    parity: ParityInfo | None
    files: Mapping[str, FileInfo] = field(default_factory=dict)
    schema: int = SCHEMA_VERSION
    precision: PrecisionInfo | None = None

    def __post_init__(self) -> None:
        _check(bool(self.classes), "classes", "none", "at least one class")
        _check(len(set(self.classes)) == len(self.classes), "classes", "a name twice", "different names")
        _check_graphs(self.graphs, self.lsts)
        for label, programs in (("programs", self.programs), ("joined", self.joined)):
            if programs or label == "programs":
                _check_programs(label, programs, self.graphs, self.state)
        if self.precision is not None:
            split = {step.graph for steps in self.programs.values() for step in steps}
            lowered = {name: self.graphs[name].precision for name in split if self.graphs[name].precision != "fp32"}
            stated = dict(self.precision.chosen.lowered)
            _check(stated == lowered, "precision: chosen graphs", list(stated.items())[:8], f"what they are: {lowered}")
        if self.files:
            _check_files(self.files, self.graphs)

    @classmethod
    def from_dict(cls, data: object) -> Manifest:
        """Decode parsed JSON (without ``manifest_sha256``); ``to_dict`` is the inverse.

        Raises:
            ManifestError: if the data is not a manifest of this schema or contradicts itself.
        """
        version = data.get("schema") if isinstance(data, dict) else None
        _check(type(version) is int and version == SCHEMA_VERSION, "schema", ascii(version)[:60], str(SCHEMA_VERSION))
        return decode(cls, data)

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
        _check(canonical_json(data) == raw, "manifest.json's form", "other bytes", "canonical JSON")
        _check(
            isinstance(data, dict) and data.pop("manifest_sha256", None) == found,
            "its own digest",
            "elsewhere",
            "on top",
        )
        manifest = cls.from_dict(data)
        _check(bool(manifest.files), "files", "none", "every file of the bundle")
        return manifest

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready nested dictionary, without ``manifest_sha256``."""
        data = dataclasses.asdict(self)
        for graph in data["graphs"].values():
            if not graph["ir"]:
                del graph["ir"]  # a bundle without IR has the bytes it always had, and older versions read it
        if data["precision"] is None:
            del data["precision"]
        if data["parity"] is not None and data["parity"]["reference"] == "torch":
            del data["parity"]["reference"]
        return data

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
        _check(len(raw) <= MANIFEST_MAX_BYTES, "size", f"{len(raw)} bytes", f"at most {MANIFEST_MAX_BYTES} bytes")
        return raw


def ir_weights(xml: str) -> str:
    """Name of the file with the weights of an IR graph."""
    return xml.removesuffix(".xml") + ".bin"


def _check_name(what: str, name: str) -> None:
    _check(bool(_NAME.fullmatch(name)), f"{what} name", ascii(name)[:80], "letters, digits, '_' and '.'")


def _check_graphs(graphs: Mapping[str, GraphInfo], lsts: LstsInfo | None) -> None:
    owners: dict[str, str] = {}
    for name, graph in graphs.items():
        _check_name("graph", name)
        for tensors in (graph.inputs, graph.outputs):
            names = [tensor.name for tensor in tensors]
            _check(len(set(names)) == len(names) > 0, f"graph {name}: tensors", names, "different names, at least one")
        for what in ("parameters", "multiply_adds"):
            value = getattr(graph, what)
            _check(0 <= value < 1 << 62, f"graph {name}: {what}", value, "0 or more")
        forms = set(graph.forms)
        allowed = lsts is not None and lsts.default_form in forms and forms <= set(lsts.forms)
        _check(forms == {"default"} or allowed, f"graph {name}: forms", sorted(forms), "default, or forms of lsts")
        for file in graph.forms.values():
            _check(file.endswith(".onnx"), f"graph {name}: file", ascii(file)[:80], "a file name ending in .onnx")
            _check(file not in owners, f"graph {name}: file", file, f"a file of its own (also {owners.get(file)})")
            owners[file] = name
        _check(set(graph.ir) <= forms, f"graph {name}: ir", sorted(graph.ir), ", ".join(sorted(forms)))
        for file in graph.ir.values():
            _check(file.endswith(".xml"), f"graph {name}: ir", ascii(file)[:80], "a file name ending in .xml")
            _check(file not in owners, f"graph {name}: ir", file, f"a file of its own (also {owners.get(file)})")
            owners[file] = name


def _check_programs(
    label: str, programs: Mapping[str, tuple[Step, ...]], graphs: Mapping[str, GraphInfo], state: tuple[StateInfo, ...]
) -> None:
    kinds = set(programs)
    _check(kinds in ({"first"}, set(PROGRAM_KINDS)), label, sorted(kinds), f"first, or {', '.join(PROGRAM_KINDS)}")
    carried: dict[str, TensorInfo] = {slot.name: slot for slot in state}
    _check(len(carried) == len(state), "state", [slot.name for slot in state], "different names")
    _check(not {"image", *DETECTION_SLOTS} & set(carried), "state", sorted(carried), "names of state")
    for kind, steps in programs.items():
        known = {} if kind == "first" else dict(carried)
        for index, step in enumerate(steps):
            _check_step(f"{label}.{kind}[{index}]", step, graphs, known, carried)
        needed = (*DETECTION_SLOTS, *(carried if kind == "first" else ()))
        absent = [slot for slot in needed if slot not in known]
        _check(not absent, f"{label}.{kind}", f"nothing writes {', '.join(absent)}", "every state and detection slot")


def _check_step(
    where: str,
    step: Step,
    graphs: Mapping[str, GraphInfo],
    known: dict[str, TensorInfo],
    carried: Mapping[str, TensorInfo],
) -> None:
    """Check one step's bindings and add what it writes to ``known``."""
    _check(step.graph in graphs, where, f"graph {ascii(step.graph)[:80]}", ", ".join(sorted(graphs)))
    graph = graphs[step.graph]
    inputs = {tensor.name: tensor for tensor in graph.inputs}
    outputs = {tensor.name: tensor for tensor in graph.outputs}
    _check(set(step.inputs) == set(inputs), f"{where}.inputs", sorted(step.inputs), ", ".join(sorted(inputs)))
    _check(set(step.outputs) <= set(outputs), f"{where}.outputs", sorted(step.outputs), ", ".join(sorted(outputs)))
    _check(len(set(step.outputs.values())) == len(step.outputs), f"{where}.outputs", "a slot twice", "different slots")
    for name, slot in step.inputs.items():
        if slot == "image":
            continue
        _check(slot in known, f"{where}.inputs.{name}", f"slot {ascii(slot)[:80]}", f"one of {sorted(known)} or image")
        _check_same(f"{where}.inputs.{name}", inputs[name], known[slot])
    for name, slot in step.outputs.items():
        _check_name("slot", slot)
        _check(slot != "image", f"{where}.outputs.{name}", slot, "a slot other than the image")
        if slot in carried:
            _check_same(f"{where}.outputs.{name}", outputs[name], carried[slot])
        known[slot] = outputs[name]


def _check_same(where: str, tensor: TensorInfo, slot: TensorInfo) -> None:
    same = tensor.dtype == slot.dtype and len(tensor.shape) == len(slot.shape)
    if same:
        pairs = zip(tensor.shape, slot.shape, strict=True)
        same = all(a == b or isinstance(a, str) or isinstance(b, str) for a, b in pairs)
    _check(same, where, f"{tensor.dtype} {list(tensor.shape)}", f"{slot.dtype} {list(slot.shape)} of the slot")


def _check_files(files: Mapping[str, FileInfo], graphs: Mapping[str, GraphInfo]) -> None:
    _check(len(files) <= MAX_FILES, "files", f"{len(files)} files", f"at most {MAX_FILES}")
    for name in files:
        plain = bool(_FILE_NAME.fullmatch(name)) and name.endswith(FILE_SUFFIXES) and name.lower() != "manifest.json"
        expected = f"a relative name of letters, digits, '.', '_', '-' ending in {', '.join(FILE_SUFFIXES)}"
        _check(plain, "files: name", ascii(name)[:80], expected)
    _check_unique_folded(files)
    used = {file for graph in graphs.values() for file in graph.forms.values()}
    for xml in (file for graph in graphs.values() for file in graph.ir.values()):
        used |= {xml, ir_weights(xml)}
        size = files[xml].bytes if xml in files else 0
        _check(size <= MAX_IR_XML_BYTES, f"files: {xml}", f"{size} bytes", f"at most {MAX_IR_XML_BYTES} bytes")
    listed = {name for name in files if name.endswith((".onnx", ".xml", ".bin"))}
    expected = "each graph's files, and no other .onnx, .xml or .bin"
    _check(used == listed, "files", f"graph files {sorted(used ^ listed)[:4]}", expected)


def _check_unique_folded(names: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        _check(other == name, "files: name", name, f"names that differ in more than case (also {other})")
