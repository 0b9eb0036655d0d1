"""How big a detector is: parameters and multiply-adds of each subgraph and of each path, beside the paper's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lsts_edge.bundle.manifest import Manifest
from lsts_edge.presets import ModelPreset
from lsts_edge.tables import text_table

__all__ = ["PAPER_TABLE", "SizeReport", "size_of_bundle", "size_of_preset"]

PAPER_TABLE: tuple[tuple[str, float | None, float | None, float], ...] = (
    # name, mAP %, frames per second, parameters in millions; Jiang et al., ECCV 2020, Tables 1, 2 and 4
    ("R-FCN per frame", 73.9, 4.05, 60.0),
    ("DFF (optical flow)", 73.1, 20.25, 97.8),
    ("flow-warp in the same framework", 76.1, 18.9, 100.5),
    ("LSTS, sparse deep features only", 73.5, 23.8, 63.8),
    ("LSTS, full", 77.2, 23.0, 64.5),
    ("LSTS + DCN", 80.1, 21.2, 65.5),
)
REMARK = (
    "The paper's millions are nearest to units of 2^20 = 1,048,576: the released networks have 62,383,597 parameters "
    "(R-FCN: 59.5 x 2^20, the paper says 60.0) and 67,244,927 (LSTS: 64.1 x 2^20, the paper says 64.5). The counts "
    "above are exact; none is made to fit."
)
_RELEASED = {"rfcn-r101": "R-FCN per frame", "lsts-r101": "LSTS, full", "lsts-r101-uniform": "LSTS, full"}
_PATHS = {
    "first": ("heavy", "embed_memory", "head"),
    "keyframe": (
        "heavy",
        "embed_key",
        "lsts_key",
        "align_key",
        "aggregate_key",
        "aggregate_task",
        "embed_memory",
        "head",
    ),
    "propagated": ("light", "embed_current", "lsts_current", "align_current", "aggregate_current", "head"),
}


@dataclass(frozen=True)
class SizeReport:
    """Counts of one detector.

    Attributes:
        name: preset or bundle.
        height_px: network input height, for the multiply-adds.
        width_px: network input width.
        parameters: per subgraph; the low part counts in ``heavy`` and ``light``, offsets in both LSTS graphs.
        total_parameters: each parameter once; None for a bundle, whose manifest does not tell what graphs share.
        multiply_adds: of one run, per subgraph.
        paths: graphs of the first frame, a keyframe and a propagated frame.
    """

    name: str
    height_px: int
    width_px: int
    parameters: Mapping[str, int]
    total_parameters: int | None
    multiply_adds: Mapping[str, int]
    paths: Mapping[str, Sequence[str]]

    def path_multiply_adds(self, path: str) -> int | None:
        """Multiply-adds of one frame of that kind; None where the detector has no such frame."""
        if path not in self.paths:
            return None
        return sum(self.multiply_adds[graph] for graph in self.paths[path])

    @property
    def keyframe_ratio(self) -> float | None:
        """Multiply-adds of a keyframe over those of a propagated frame."""
        keyframe, propagated = self.path_multiply_adds("keyframe"), self.path_multiply_adds("propagated")
        return keyframe / propagated if keyframe and propagated else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the paper's table and the remark about its unit included."""
        return {
            "name": self.name,
            "input": {"height_px": self.height_px, "width_px": self.width_px},
            "graphs": {
                graph: {"parameters": self.parameters[graph], "multiply_adds": self.multiply_adds[graph]}
                for graph in self.parameters
            },
            "total_parameters": self.total_parameters,
            "paths": {
                path: {"graphs": list(graphs), "multiply_adds": self.path_multiply_adds(path)}
                for path, graphs in self.paths.items()
            },
            "keyframe_over_propagated": self.keyframe_ratio,
            "paper": [
                {"name": name, "map_percent": accuracy, "fps": fps, "parameters_millions": millions}
                for name, accuracy, fps, millions in PAPER_TABLE
            ],
            "remark": REMARK,
        }

    def to_text(self) -> str:
        """Three tables for a terminal: subgraphs, paths, the paper."""
        graphs = [
            (graph, f"{self.parameters[graph]:,}", f"{self.multiply_adds[graph]:,}", self._where(graph))
            for graph in self.parameters
        ]
        paths = [(path, "", f"{self.path_multiply_adds(path):,}", "") for path in self.paths]
        lines = [f"{self.name}, network input {self.width_px}x{self.height_px} px, one frame", ""]
        lines.append(text_table(("subgraph", "parameters", "multiply-adds", "runs in"), [*graphs, *paths]))
        lines.append("")
        if self.total_parameters is None:
            lines.append("Parameters that two graphs share (low part, offsets) count in both.")
        else:
            in_units = f"{self.total_parameters / 1e6:.2f} million, {self.total_parameters / 2**20:.2f} x 2^20"
            lines.append(f"parameters, each once: {self.total_parameters:,} ({in_units})")
        if self.keyframe_ratio is not None:
            lines.append(f"keyframe / propagated frame: {self.keyframe_ratio:.2f} by multiply-adds")
        return "\n".join([*lines, "", self._paper(), "", REMARK])

    def _where(self, graph: str) -> str:
        return ", ".join(path for path, graphs in self.paths.items() if graph in graphs)

    def _paper(self) -> str:
        rows = [
            (name, f"{accuracy}", f"{fps}", f"{millions}", self._beside(name))
            for name, accuracy, fps, millions in PAPER_TABLE
        ]
        return text_table(("paper, ImageNet VID", "mAP %", "frames/s", "params (M)", "counted here"), rows)

    def _beside(self, name: str) -> str:
        if self.total_parameters is None or _RELEASED.get(self.name) != name:
            return "-"
        return f"{self.total_parameters:,}"


def size_of_preset(preset: ModelPreset) -> SizeReport:
    """Count a preset's torch network (needs torch; no weights are made)."""
    from lsts_edge.model.counts import multiply_adds, parameters, total_parameters

    counted = multiply_adds(preset)
    paths = {
        path: tuple(graph for graph in graphs if graph in counted)
        for path, graphs in _PATHS.items()
        if preset.lsts is not None or path == "first"
    }
    size = preset.input
    return SizeReport(
        preset.name, size.height_px, size.width_px, parameters(preset), total_parameters(preset), counted, paths
    )


def size_of_bundle(manifest: Manifest) -> SizeReport:
    """Read the counts an exported bundle states; needs nothing but its manifest. Joined graphs are left out."""
    paths = {program: tuple(step.graph for step in steps) for program, steps in manifest.programs.items()}
    used = [name for name in manifest.graphs if any(name in graphs for graphs in paths.values())]
    return SizeReport(
        name=manifest.name,
        height_px=manifest.input.height_px,
        width_px=manifest.input.width_px,
        parameters={name: manifest.graphs[name].parameters for name in used},
        total_parameters=None,
        multiply_adds={name: manifest.graphs[name].multiply_adds for name in used},
        paths=paths,
    )
