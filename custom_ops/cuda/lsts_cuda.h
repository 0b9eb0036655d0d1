// What the CUDA kernels offer the registration; compiled only where nvcc is found (LSTS_WITH_CUDA).
//
// Functions return an empty string, or a text naming the CUDA call that failed and what it said.
#pragma once

#include <string>

#include "call.h"
#include "plan.h"

namespace lsts {

struct CudaPlan;  // the plan in device memory, made once per session

std::string cuda_plan_create(const Plan& plan, CudaPlan** out);
void cuda_plan_destroy(CudaPlan* plan);

// Enqueues the call on `stream` (a cudaStream_t). Allocates nothing and does not wait.
std::string cuda_run(const CudaPlan& plan, const Call& call, void* stream);

// For lsts_ops_describe: the architectures compiled in ("75 80 ... 90 90-ptx"), the runtime's and the driver's versions
// (1000 * major + 10 * minor, as CUDA writes them; the driver's is 0 where there is none).
const char* cuda_archs();
int cuda_runtime_version();
int cuda_driver_version();

}  // namespace lsts
