// LSTS as an ONNX Runtime custom op: schema, shape inference and kernels, one CustomOp for each (type, provider).
#pragma once

#include "ort/ort_abi.h"

namespace lsts {

// Static storage: ONNX Runtime keeps the pointers. `api` is the table that the op calls back through.
const ortabi::CustomOp* lsts_float32_cpu(const ortabi::Api* api);
const ortabi::CustomOp* lsts_float16_cpu(const ortabi::Api* api);
#if LSTS_WITH_CUDA
const ortabi::CustomOp* lsts_float32_cuda(const ortabi::Api* api);
const ortabi::CustomOp* lsts_float16_cuda(const ortabi::Api* api);
#endif

}  // namespace lsts
