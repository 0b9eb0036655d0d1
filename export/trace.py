"""A torch module as an ONNX graph of our opset, by torch's own exporter."""

from __future__ import annotations

import contextlib
import gc
import re
from collections.abc import Iterator, Sequence

import onnx
import onnx_ir as ir
import torch
from torch import nn

from lsts_edge.errors import ExportError
from lsts_edge.export.finished import IR_VERSION, OPSET, finished
from lsts_edge.export.quiet import quiet

__all__ = ["trace", "traced"]


def traced(
    module: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    names: list[str],
    outputs: list[str],
    cells_px: tuple[int, ...] = (),
) -> ir.Model:
    """What torch's exporter makes of a module.

    Args:
        module: in evaluation mode.
        inputs: examples; their sizes become the graph's.
        names: of the inputs.
        outputs: names of the outputs.
        cells_px: leave height and width open, to multiples of this for each input. Takes longer.

    Raises:
        ExportError: if torch cannot express a layer in ONNX.
    """
    # Names of its own for each input: a part that is cut out must not read another's size.
    sides = tuple(
        {axis: cell_px * torch.export.Dim(f"cells_{place}_{axis}", min=1, max=4096) for axis in (2, 3)}
        for place, cell_px in enumerate(cells_px)
    )
    try:
        with quiet(), _uncollected(), torch.no_grad():
            program = torch.onnx.export(
                module,
                inputs,
                dynamo=True,
                opset_version=OPSET,
                input_names=names,
                output_names=outputs,
                external_data=False,
                verbose=False,
                optimize=True,
                dynamic_shapes=(sides,) if sides else None,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ExportError(
            "torch cannot write the network as ONNX",
            got=re.sub(r"\s+", " ", str(error.__cause__ or error))[:300],
            expected=f"layers that opset {OPSET} has",
            fix="Write the layer in plain convolutions and activations.",
        ) from error
    assert program is not None
    return program.model


def trace(
    name: str, module: nn.Module, inputs: tuple[torch.Tensor, ...], names: Sequence[str], outputs: Sequence[str]
) -> onnx.ModelProto:
    """``traced`` as a finished graph called ``name``."""
    model = traced(module.eval(), inputs, list(names), list(outputs))
    model.graph.name = name
    return finished(ir.to_proto(ir.Model(model.graph, ir_version=IR_VERSION)))


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector from the exporter.

    It makes half a million small objects at once; looking through them for cycles takes a sixth of the time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
