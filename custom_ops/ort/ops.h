// An op as the library holds it. register.cc has the list of them.
#pragma once

#include <vector>

#include "ort/ort_abi.h"

namespace lsts {

// Static storage: ONNX Runtime keeps the pointer. `api` is the table that the op calls back through.
using MakeOp = const ortabi::CustomOp* (*)(const ortabi::Api* api);

struct Op {
  const char* description;     // JSON for lsts_ops_describe: domain, name, since, dtypes, attributes
  std::vector<MakeOp> makers;  // one for each (type, provider)
};

const std::vector<Op>& all_ops();

// What ops have in common: version 1, on the CPU, every input and output required, in the provider's memory.
inline ortabi::CustomOp plain_op() {
  using ortabi::CustomOp;
  CustomOp op{};
  op.version = ortabi::kApiVersion;
  op.GetExecutionProviderType = [](const CustomOp*) -> const char* { return nullptr; };
  op.GetInputCharacteristic = [](const CustomOp*, size_t) { return ortabi::kRequired; };
  op.GetOutputCharacteristic = [](const CustomOp*, size_t) { return ortabi::kRequired; };
  op.GetInputMemoryType = [](const CustomOp*, size_t) { return ortabi::kMemoryDefault; };
  op.GetVariadicInputMinArity = [](const CustomOp*) { return 1; };
  op.GetVariadicInputHomogeneity = [](const CustomOp*) { return 1; };
  op.GetVariadicOutputMinArity = [](const CustomOp*) { return 1; };
  op.GetVariadicOutputHomogeneity = [](const CustomOp*) { return 1; };
  op.GetStartVersion = [](const CustomOp*) { return 1; };
  op.GetEndVersion = [](const CustomOp*) { return 1; };
  return op;
}

}  // namespace lsts
