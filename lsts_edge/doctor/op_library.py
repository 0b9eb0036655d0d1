"""The compiled op library: that it is the one that was built here, opens, and holds the ops that we speak of."""

from __future__ import annotations

from pathlib import Path

from lsts_edge.custom_ops import describe
from lsts_edge.custom_ops.finder import LIBRARY_FOLDER
from lsts_edge.doctor.finding import Finding, finding_of
from lsts_edge.errors import OpLibraryError, OpLibraryMissing

__all__ = ["check_op_library"]


def check_op_library(folder: Path = LIBRARY_FOLDER) -> list[Finding]:
    """Its file, digest, machine, entries and ops; a missing one costs speed only.

    Args:
        folder: where the build left it.
    """
    try:
        told = describe(folder=folder)
    except OpLibraryMissing as error:
        return [finding_of(error, "op library", "warning")]
    except OpLibraryError as error:
        return [finding_of(error, "op library")]
    ops = ", ".join(f"{op['domain']}::{op['name']} {op['since']}" for op in told["ops"])
    kernels = ", ".join(told["cpu_kernels"])
    facts = {
        "sha256": told["sha256"],
        "ops": [f"{op['domain']}::{op['name']}:{op['since']}" for op in told["ops"]],
        "cpu_kernels": list(told["cpu_kernels"]),
        "ort_api_version": told["ort_api_version"],
        "cuda": told["cuda"],
    }
    got = f"{ops}; kernels {kernels}; ONNX Runtime API {told['ort_api_version']}; sha256 {told['sha256'][:12]}"
    found = [Finding("oplib-ok", "ok", "op library", got, facts=facts)]
    if told["cuda"] is not None and not told["cuda_usable"]:
        fix = "Update the NVIDIA driver; without such a device there is nothing to do."
        found.append(Finding("oplib-cuda", "note", "op library, CUDA kernels", told["cuda_reason"], fix))
    return found
