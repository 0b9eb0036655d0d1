"""OpenVINO IR of an exported graph: float32 weights as they are, and the same bytes for the same graph."""

from __future__ import annotations

import io
import re
import tempfile
from pathlib import Path

from lsts_edge.errors import ExportError

__all__ = ["FORMS_WITHOUT_IR", "openvino_ir"]

FORMS_WITHOUT_IR = ("custom",)
"""Their operator is ours: OpenVINO has no name for it that a file may use."""

# Notes of the converter about itself: they change with its version and may hold paths; a bundle has none.
_NOTES = re.compile(rb"[ \t]*<rt_info>.*?</rt_info>[ \t]*\n", re.DOTALL)


def openvino_ir(model: bytes, name: str, *, folded: bool = True) -> tuple[bytes, bytes]:
    """Convert a serialised ONNX model.

    Args:
        model: standard operators only.
        name: of the graph, for messages.
        folded: work out what is constant. Not in an int8 graph: its weights would become float32 again.

    Returns:
        The contents of the ``.xml`` and the ``.bin`` file.

    Raises:
        ExportError: if OpenVINO does not convert the graph.
    """
    import openvino
    from openvino.passes import ConstantFolding, Manager

    folding = Manager()
    folding.register_pass(ConstantFolding())  # every shape is known here: the shape arithmetic need not be written
    try:
        graph = openvino.Core().read_model(io.BytesIO(model))
        for place, operation in enumerate(graph.get_ordered_ops()):
            # The name of an operation that the graph has none for counts on from conversion to conversion.
            if operation.get_friendly_name() == operation.get_name():
                operation.set_friendly_name(f"{operation.get_type_name()}_{place}")
        if folded:
            folding.run_passes(graph)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "graph.xml"
            openvino.save_model(graph, path, compress_to_fp16=False)  # it halves the weights unless told not to
            return _NOTES.sub(b"", path.read_bytes()), path.with_suffix(".bin").read_bytes()
    except RuntimeError as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ExportError(
            f"graph {name} as OpenVINO IR",
            got=lines[-1][:300],
            expected="a graph that OpenVINO converts",
            fix="Use a newer OpenVINO, or leave --format openvino out.",
        ) from error
