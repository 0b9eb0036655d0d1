"""The graphs of a bundle: their tensors, the file of each form, and what the forms of LSTS share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lsts_edge.bundle.check import NEWER, check, check_name

__all__ = ["DType", "GraphInfo", "LstsInfo", "StateInfo", "TensorInfo", "check_graphs", "ir_weights"]

MAX_ELEMENTS = 1 << 31
OP_VERSION = 1
"""Newest version of the custom op that is known: ``opspec.LSTS.since``, without what that module imports."""

DType = Literal["float32", "float16", "uint8", "int8", "int32", "int64", "bool"]


@dataclass(frozen=True)
class TensorInfo:
    """One named array: ``shape`` holds sizes, or a name where the size is known only at run time (``"D"``)."""

    name: str
    dtype: DType
    shape: tuple[int | str, ...]

    def __post_init__(self) -> None:
        check_name("tensor", self.name)
        check(len(self.shape) <= 8, f"tensor {self.name}: shape", f"{len(self.shape)} axes", "at most 8 axes")
        elements = 1
        for size in self.shape:
            if isinstance(size, str):
                check_name(f"tensor {self.name}: axis", size)
                continue
            check(1 <= size <= MAX_ELEMENTS, f"tensor {self.name}: shape", size, "sizes from 1")
            elements *= size
        check(elements <= MAX_ELEMENTS, f"tensor {self.name}: elements", elements, f"at most {MAX_ELEMENTS}")


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
        known = f"version 1 to {OP_VERSION}, which this lsts-edge knows"
        check(1 <= self.op_version <= OP_VERSION, f"op {self.op}", f"version {self.op_version}", known, NEWER)
        check(1 <= self.locations <= 1024, "lsts.locations", self.locations, "1..1024")
        check(1 <= self.taps <= 4 * self.locations, "lsts.taps", self.taps, f"1..{4 * self.locations}")
        check(0 <= self.radius_cells <= 4096, "lsts.radius_cells", self.radius_cells, "0..4096")
        check(self.default_form in self.forms, "lsts.default_form", self.default_form, ", ".join(self.forms))


def ir_weights(xml: str) -> str:
    """Name of the file with the weights of an IR graph."""
    return xml.removesuffix(".xml") + ".bin"


def check_graphs(graphs: Mapping[str, GraphInfo], lsts: LstsInfo | None) -> None:
    """Refuse graphs without tensors, of unknown forms, or that share a file.

    Raises:
        ManifestError: naming the graph.
    """
    owners: dict[str, str] = {}
    for name, graph in graphs.items():
        check_name("graph", name)
        for tensors in (graph.inputs, graph.outputs):
            names = [tensor.name for tensor in tensors]
            check(len(set(names)) == len(names) > 0, f"graph {name}: tensors", names, "different names, at least one")
        for what in ("parameters", "multiply_adds"):
            value = getattr(graph, what)
            check(0 <= value < 1 << 62, f"graph {name}: {what}", value, "0 or more")
        forms = set(graph.forms)
        allowed = lsts is not None and lsts.default_form in forms and forms <= set(lsts.forms)
        check(forms == {"default"} or allowed, f"graph {name}: forms", sorted(forms), "default, or forms of lsts")
        check(set(graph.ir) <= forms, f"graph {name}: ir", sorted(graph.ir), ", ".join(sorted(forms)))
        for what, files, suffix in (("file", graph.forms, ".onnx"), ("ir", graph.ir, ".xml")):
            for file in files.values():
                expected = f"a file name ending in {suffix}"
                check(file.endswith(suffix), f"graph {name}: {what}", ascii(file)[:80], expected)
                expected = f"a file of its own (also {owners.get(file)})"
                check(file not in owners, f"graph {name}: {what}", file, expected)
                owners[file] = name
