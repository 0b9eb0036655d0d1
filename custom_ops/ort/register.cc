// The list of ops and the entry that ONNX Runtime calls.
#include <cstdio>
#include <mutex>
#include <string>
#include <vector>

#include "ort/ops.h"
#include "ort/ort_abi.h"

// A new op is a line here: the function in its file that returns its Op. CONTRIBUTING.md has the whole recipe.
#define LSTS_OPS(X) X(lsts_op)

namespace lsts {

#define LSTS_DECLARE(function) Op function();
LSTS_OPS(LSTS_DECLARE)
#undef LSTS_DECLARE

const std::vector<Op>& all_ops() {
#define LSTS_CALL(function) function(),
  static const std::vector<Op> ops = {LSTS_OPS(LSTS_CALL)};
#undef LSTS_CALL
  return ops;
}

}  // namespace lsts

namespace {

using namespace ortabi;

StatusPtr make_domain(const Api* api, CustomOpDomain** out) {
  ORT_TRY(ORT(api, CreateCustomOpDomain)("lsts.edge", out));
  for (const lsts::Op& op : lsts::all_ops())
    for (const lsts::MakeOp make : op.makers) ORT_TRY(ORT(api, CustomOpDomain_Add)(*out, make(api)));
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
