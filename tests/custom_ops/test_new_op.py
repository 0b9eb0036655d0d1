"""A new op is added as CONTRIBUTING.md says: the library lists it, is held to its specification, and runs it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from op_builds import build, install

from hand_made import field, model, node, value_info
from lsts_edge.custom_ops import describe
from lsts_edge.errors import OpLibraryVersion
from lsts_edge.opspec import LSTS, OpSpec, TensorSpec

ROOT = Path(__file__).resolve().parents[2]

SOURCE = """
// Twice as an ONNX Runtime custom op: y = 2 x, float32.
#include <vector>

#include "ort/ops.h"

namespace lsts {
namespace {

using namespace ortabi;

StatusPtr LSTS_ORT_CALL create(const CustomOp*, const Api* api, const KernelInfo*, void** kernel) {
  *kernel = const_cast<Api*>(api);
  return nullptr;
}

StatusPtr LSTS_ORT_CALL compute(void* kernel, KernelContext* context) {
  const Api* api = static_cast<const Api*>(kernel);
  const Value* x = nullptr;
  ORT_TRY(ORT(api, KernelContext_GetInput)(context, 0, &x));
  TensorTypeAndShapeInfo* info = nullptr;
  ORT_TRY(ORT(api, GetTensorTypeAndShape)(x, &info));
  size_t rank = 0;
  ORT_TRY(ORT(api, GetDimensionsCount)(info, &rank));
  std::vector<int64_t> dims(rank);
  ORT_TRY(ORT(api, GetDimensions)(info, dims.data(), rank));
  ORT(api, ReleaseTensorTypeAndShapeInfo)(info);
  Value* y = nullptr;
  ORT_TRY(ORT(api, KernelContext_GetOutput)(context, 0, dims.data(), rank, &y));
  void *from = nullptr, *to = nullptr;
  ORT_TRY(ORT(api, GetTensorMutableData)(const_cast<Value*>(x), &from));
  ORT_TRY(ORT(api, GetTensorMutableData)(y, &to));
  int64_t count = 1;
  for (const int64_t size : dims) count *= size;
  for (int64_t i = 0; i < count; ++i) static_cast<float*>(to)[i] = 2.0f * static_cast<const float*>(from)[i];
  return nullptr;
}

const CustomOp* twice_float32_cpu(const Api*) {
  static CustomOp op = plain_op();
  op.GetName = [](const CustomOp*) { return "Twice"; };
  op.GetInputTypeCount = [](const CustomOp*) -> size_t { return 1; };
  op.GetInputType = [](const CustomOp*, size_t) { return kFloat; };
  op.GetOutputTypeCount = [](const CustomOp*) -> size_t { return 1; };
  op.GetOutputType = [](const CustomOp*, size_t) { return kFloat; };
  op.CreateKernelV2 = create;
  op.KernelComputeV2 = compute;
  op.KernelDestroy = [](void*) {};
  return &op;
}

}  // namespace

Op twice_op() {
  return {"{\\"domain\\": \\"lsts.edge\\", \\"name\\": \\"Twice\\", \\"since\\": 1, \\"dtypes\\": [\\"float32\\"]}",
          {twice_float32_cpu}};
}

}  // namespace lsts
"""

TWICE = OpSpec(
    domain="lsts.edge",
    name="Twice",
    since=1,
    inputs=(TensorSpec("x", ("N",)),),
    outputs=(TensorSpec("y", ("N",)),),
    attributes={},
    tolerance={"float32": 0.0},
    reference=lambda x: (2 * x,),
)

RUN = """
import sys
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.register_custom_ops_library(sys.argv[1])
session = onnxruntime.InferenceSession(sys.argv[2], options, providers=["CPUExecutionProvider"])
print(session.run(None, {"x": np.arange(5, dtype=np.float32)})[0].tolist())
"""


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{path.name}: {old!r}"
    path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The op library with one more op, added by the recipe."""
    sources = tmp_path_factory.mktemp("new_op") / "custom_ops"
    shutil.copytree(ROOT / "custom_ops", sources, ignore=shutil.ignore_patterns("_lib", "__pycache__"))
    (sources / "ort" / "twice_ort.cc").write_text(SOURCE)
    _edit(sources / "CMakeLists.txt", "ort/lsts_ort.cc", "ort/lsts_ort.cc ort/twice_ort.cc")
    _edit(sources / "ort" / "register.cc", "X(lsts_op)", "X(lsts_op) X(twice_op)")
    return build("new_op", sources, "liblsts_ops.so")


def test_the_library_lists_it_and_is_held_to_its_specification(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsts_edge.custom_ops.finder.OPS", (LSTS, TWICE))
    told = describe(folder=install(tmp_path / "new", library.read_bytes()))
    assert [op["name"] for op in told["ops"]] == ["LSTS", "Twice"]
    later = dataclasses.replace(TWICE, since=2)
    monkeypatch.setattr("lsts_edge.custom_ops.finder.OPS", (LSTS, later))
    with pytest.raises(OpLibraryVersion, match=r"Twice version 1, expected .*Twice version 2"):
        describe(folder=tmp_path / "new")


def test_onnxruntime_runs_it(library: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    graph = (
        field(1, node("Twice", ["x"], ["y"], field(7, TWICE.domain)))
        + field(2, "twice")
        + field(11, value_info("x", 1, (5,)))
        + field(12, value_info("y", 1, (5,)))
    )
    file = tmp_path / "twice.onnx"
    file.write_bytes(model(graph, field(8, field(1, TWICE.domain) + field(2, TWICE.since))))
    done = subprocess.run([sys.executable, "-c", RUN, str(library), str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (expected,) = TWICE.reference(np.arange(5))
    assert json.loads(done.stdout) == expected.tolist()
