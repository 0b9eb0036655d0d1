// The table of (op, type, provider) and the entry that ONNX Runtime calls. A new op is a line here.
#include <cstdio>
#include <mutex>
#include <string>

#include "ort/lsts_ort.h"
#include "ort/ort_abi.h"

namespace {

using namespace ortabi;

using MakeOp = const CustomOp* (*)(const Api*);

constexpr MakeOp kOps[] = {
    lsts::lsts_float32_cpu,
    lsts::lsts_float16_cpu,
#if LSTS_WITH_CUDA
    lsts::lsts_float32_cuda,
    lsts::lsts_float16_cuda,
#endif
};

StatusPtr make_domain(const Api* api, CustomOpDomain** out) {
  ORT_TRY(ORT(api, CreateCustomOpDomain)("lsts.edge", out));
  for (const MakeOp make : kOps) ORT_TRY(ORT(api, CustomOpDomain_Add)(*out, make(api)));
  return nullptr;
}

}  // namespace

extern "C" LSTS_ORT_EXPORT ortabi::StatusPtr LSTS_ORT_CALL RegisterCustomOps(ortabi::SessionOptions* options,
                                                                             const ortabi::ApiBase* base) {
  const Api* api = base->GetApi(kApiVersion);
  if (api == nullptr) {
    const std::string text = std::string("lsts.edge ops: ONNX Runtime is too old: got ") + base->GetVersionString() +
                             ", expected 1." + std::to_string(kApiVersion) + " or newer. Install a newer onnxruntime.";
    if (const Api* oldest = base->GetApi(1)) return ORT(oldest, CreateStatus)(kFail, text.c_str());
    std::fprintf(stderr, "%s\n", text.c_str());  // no way to make a status: the caller will find no op
    return nullptr;
  }
  // One domain for each ONNX Runtime in the process, shared by all its sessions and never freed. Threads may register
  // at the same time.
  static std::mutex mutex;
  static CustomOpDomain* domain = nullptr;
  static const Api* owner = nullptr;
  const std::lock_guard<std::mutex> lock(mutex);
  if (domain == nullptr || owner != api) {
    CustomOpDomain* made = nullptr;
    ORT_TRY(make_domain(api, &made));
    domain = made, owner = api;
  }
  return ORT(api, AddCustomOpDomain)(options, domain);
}
