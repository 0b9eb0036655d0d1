"""The op inside OpenVINO: a Python operation that hands its tensors to the compiled library (CPU plugin only).

OpenVINO's own C++ extensions are tied to one release each; this runs on all of them for a fixed cost of about 0.2 ms a
call. The taps form needs no extension and is the default.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino
from openvino.frontend.onnx import ConversionExtension

from lsts_edge.custom_ops.native import NativeLsts
from lsts_edge.errors import ExportError
from lsts_edge.opspec import LSTS

__all__ = ["openvino_extension"]


class _LstsOperation(openvino.Op):  # type: ignore[misc]  # the package has no types
    """One node. Copies that the optimiser makes share the compiled plan."""

    def __init__(self, inputs: Any = None, runner: NativeLsts | None = None) -> None:
        super().__init__(self, inputs)
        self._runner = runner

    def validate_and_infer_types(self) -> None:
        self.set_output_type(0, self.get_input_element_type(2), self.get_input_partial_shape(2))

    def clone_with_new_inputs(self, new_inputs: Any) -> _LstsOperation:
        return _LstsOperation(new_inputs, self._runner)

    def get_type_info(self) -> Any:
        return _LstsOperation.class_type_info

    def visit_attributes(self, visitor: Any) -> bool:
        return True

    def has_evaluate(self) -> bool:
        return True

    def evaluate(self, outputs: Any, inputs: Any) -> bool:
        assert self._runner is not None
        outputs[0].shape = inputs[2].shape
        self._runner(inputs[0].data, inputs[1].data, inputs[2].data, aligned=outputs[0].data)
        return True


_LstsOperation.class_type_info = openvino.DiscreteTypeInfo(LSTS.name, LSTS.domain)


def openvino_extension(threads: int | None = None) -> ConversionExtension:
    """What ``openvino.Core.add_extension`` needs to read graphs of the ``custom`` form.

    The op brings its own threads. While it runs, OpenVINO's wait; give both the same number.

    Args:
        threads: of the op; every processor this process may use unless given.

    Returns:
        The extension. Keep it as long as the ``Core``: it owns the operations it made.

    Raises:
        OpLibraryError: when a graph is read and the library cannot be used.
    """
    made: list[_LstsOperation] = []  # OpenVINO holds nodes without their Python half

    def convert(node: Any) -> Any:
        offsets = node.get_input(3).get_node()
        if not isinstance(offsets, openvino.op.Constant):
            raise ExportError(
                "LSTS offsets",
                got=f"a value computed by {offsets.get_type_name()}",
                expected="a constant",
                fix="Export the graph with its offsets fixed.",
            )
        runner = NativeLsts(
            np.array(offsets.data, np.float32), node.get_attribute("normalization", "softmax"), threads=threads
        )
        operation = _LstsOperation([node.get_input(i) for i in range(3)], runner)
        made.append(operation)
        return operation.outputs()

    return ConversionExtension(LSTS.name, LSTS.domain, convert)
