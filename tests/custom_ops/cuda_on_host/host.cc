// The CUDA kernels of custom_ops/cuda compiled for the host, behind one C function; see cuda_runtime.h beside this
// file.
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "lsts_cuda.cu"

thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace lsts {
float4 staged[(64 << 10) / sizeof(float4)];
float shared_columns[(64 << 10) / sizeof(float)];
}  // namespace lsts

namespace {

constexpr size_t kStackBytes = 64 << 10;
constexpr unsigned char kPoison = 0xFF;  // as floats: NaN

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
  bool is_done = false;
};

int g_multiprocessors = 3;
bool g_is_reversed = false;
bool g_is_capturing = false;
int g_allocations = 0, g_live = 0;
const char* g_fault = nullptr;
ucontext_t g_scheduler;
Fiber* g_current = nullptr;
const std::function<void()>* g_thread = nullptr;

void enter() {
  (*g_thread)();
  g_current->is_done = true;
  swapcontext(&g_current->context, &g_scheduler);
}

template <class T, size_t kSize>
bool is_untouched(const T (&memory)[kSize], size_t from_byte) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(memory);
  return std::all_of(bytes + from_byte, bytes + sizeof(memory), [](unsigned char b) { return b == kPoison; });
}

void run_block(const dim3& block, std::vector<Fiber>& fibers) {
  for (Fiber& fiber : fibers) {
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    fiber.is_done = false;
    makecontext(&fiber.context, enter, 0);
  }
  for (size_t done = 0; done < fibers.size();) {
    size_t finished = 0;
    for (size_t i = 0; i < fibers.size(); ++i) {
      const size_t index = g_is_reversed ? fibers.size() - 1 - i : i;
      threadIdx = dim3(static_cast<unsigned>(index));
      g_current = &fibers[index];
      swapcontext(&g_scheduler, &g_current->context);
      finished += g_current->is_done;
    }
    if (finished != 0 && finished != fibers.size()) g_fault = "threads of a block passed different numbers of barriers";
    if (g_fault != nullptr) return;
    done = finished;
  }
}

}  // namespace

void __syncthreads() { swapcontext(&g_current->context, &g_scheduler); }

cudaError_t run_grid(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread) {
  std::vector<Fiber> fibers(block.x);
  g_thread = &thread;
  blockDim = block;
  gridDim = grid;
  if (shared_bytes > (48 << 10)) g_fault = "more shared memory than every device grants";
  for (unsigned y = 0; y < grid.y; ++y)
    for (unsigned x = 0; x < grid.x; ++x) {
      blockIdx = dim3(x, y);
      std::memset(lsts::staged, kPoison, sizeof(lsts::staged));
      std::memset(lsts::shared_columns, kPoison, sizeof(lsts::shared_columns));
      if (g_fault == nullptr) run_block(block, fibers);
      if (!is_untouched(lsts::staged, shared_bytes) || !is_untouched(lsts::shared_columns, shared_bytes))
        g_fault = "a write past the end of shared memory";
    }
  return cudaSuccess;
}

const char* cudaGetErrorName(cudaError_t) { return "error"; }
const char* cudaGetErrorString(cudaError_t) { return "error"; }
cudaError_t cudaMalloc(void** out, size_t bytes) {
  *out = std::malloc(bytes);
  std::memset(*out, kPoison, bytes);
  ++g_allocations, ++g_live;
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  g_live -= memory != nullptr;
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* out) { return *out = 0, cudaSuccess; }
cudaError_t cudaDeviceGetAttribute(int* out, cudaDeviceAttr, int) { return *out = g_multiprocessors, cudaSuccess; }
cudaError_t cudaDriverGetVersion(int* out) { return *out = 0, cudaSuccess; }
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* out) {
  *out = g_is_capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

extern "C" {

struct HostOptions {
  int32_t multiprocessors, is_reversed, is_capturing, runs;
};

// Makes a plan, runs the call `runs` times and destroys the plan. Returns how many allocations the runs made, or -1
// with `message` filled. `path` gets two letters: how the first and the third step ran, (t)iled or (p)lain.
int32_t lsts_cuda_on_host(const float* offsets, int64_t locations, int32_t normalization, const lsts::Call* call,
                          const HostOptions* options, char* path, char* message, size_t message_size) {
  g_multiprocessors = options->multiprocessors;
  g_is_reversed = options->is_reversed != 0;
  g_is_capturing = options->is_capturing != 0;
  g_fault = nullptr;
  g_live = 0;
  lsts::Plan plan;
  lsts::CudaPlan* on_device = nullptr;
  std::string wrong = lsts::make_plan(offsets, locations, static_cast<lsts::Normalization>(normalization), &plan);
  if (wrong.empty()) wrong = lsts::cuda_plan_create(plan, &on_device);
  g_allocations = 0;
  for (int32_t run = 0; run < options->runs && wrong.empty(); ++run) wrong = lsts::cuda_run(*on_device, *call, nullptr);
  if (on_device != nullptr) {
    path[0] = on_device->has_similarity_tile ? 't' : 'p';
    path[1] = on_device->has_blend_tile ? 't' : 'p';
    lsts::cuda_plan_destroy(on_device);
  }
  if (wrong.empty() && g_fault != nullptr) wrong = g_fault;
  if (wrong.empty() && g_live != 0) wrong = "device memory was not freed";
  std::snprintf(message, message_size, "%s", wrong.c_str());
  return wrong.empty() ? g_allocations : -1;
}

}  // extern "C"
