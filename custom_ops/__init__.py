"""The compiled op ``lsts.edge::LSTS``: where its library is, what is in it, and how to call it without ONNX Runtime."""

from __future__ import annotations

from lsts_edge.custom_ops.finder import describe, library_path
from lsts_edge.custom_ops.native import NativeLsts, copy_peak, cpu_kernels, multiply_add_peak

__all__ = ["NativeLsts", "copy_peak", "cpu_kernels", "describe", "library_path", "multiply_add_peak"]
