// What the library says about itself, and its entries for callers without ONNX Runtime.
#include "library.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "cpu/dispatch.h"
#include "cpu/pool.h"
#include "ort/ops.h"
#include "ort/ort_abi.h"
#if LSTS_WITH_CUDA
#include "cuda/lsts_cuda.h"
#endif

namespace lsts {
namespace {

struct Runner {
  CpuRunner cpu;
  Pool pool;
};

void pool_for(void* pool, int64_t count, void (*body)(void*, size_t), void* context) {
  static_cast<Pool*>(pool)->run(count, body, context);
}

void say(const std::string& text, char* message, size_t message_size) {
  if (message != nullptr && message_size > 0) std::snprintf(message, message_size, "%s", text.c_str());
}

void* create(const float* offsets, int64_t locations, int32_t normalization, const char* kernel, int32_t threads,
             char* message, size_t message_size) try {
  const Kernel* found = find_kernel(kernel);
  std::string wrong;
  Plan plan;
  if (normalization != 0 && normalization != 1)
    wrong =
        "LSTS: normalization is unknown: got " + std::to_string(normalization) + ", expected 0 or 1. Use softmax (0).";
  else if (found == nullptr)
    wrong = std::string("LSTS: this CPU has no such kernel: got ") + kernel +
            ", expected one of describe()'s. Leave it out.";
  else if (threads < 1 || threads > 1024)
    wrong = "LSTS: threads: got " + std::to_string(threads) + ", expected 1 to 1024. Give a number in range.";
  else
    wrong = make_plan(offsets, locations, static_cast<Normalization>(normalization), &plan);
  if (!wrong.empty()) {
    say(wrong, message, message_size);
    return nullptr;
  }
  return new Runner{{std::move(plan), found, threads}, Pool(threads)};
} catch (const std::exception& error) {
  say(std::string("LSTS: the plan could not be made: ") + error.what(), message, message_size);
  return nullptr;
}

void destroy(void* runner) { delete static_cast<Runner*>(runner); }

int32_t run(void* runner, const Call* call, char* message, size_t message_size) try {
  auto* self = static_cast<Runner*>(runner);
  const std::string wrong = self->cpu.run(*call, pool_for, &self->pool);
  if (!wrong.empty()) say(wrong, message, message_size);
  return wrong.empty() ? 0 : 1;
} catch (const std::exception& error) {
  say(std::string("LSTS: the call failed: ") + error.what(), message, message_size);
  return 1;
}

int64_t scratch_bytes(void* runner, const Call* call) { return static_cast<Runner*>(runner)->cpu.scratch_bytes(*call); }

int64_t tap_count(void* runner) { return static_cast<int64_t>(static_cast<Runner*>(runner)->cpu.plan().taps.size()); }

const char* kernel_name(int32_t index) {
  const auto& kernels = usable_kernels();
  return index >= 0 && static_cast<size_t>(index) < kernels.size() ? kernels[index]->name : nullptr;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double multiply_add_peak(const char* name, int32_t threads, double seconds) {
  struct Context {
    const Kernel* kernel;
    int64_t iterations;
    std::atomic<int> sink{0};
  } context{find_kernel(name), 1 << 14};
  if (context.kernel == nullptr || threads < 1) return 0.0;
  const auto body = [](void* raw, size_t) {
    auto* self = static_cast<Context*>(raw);
    self->sink += self->kernel->spin(self->iterations) > 0.0f;
  };
  Pool pool(threads);
  double best = 0.0;
  const auto start = std::chrono::steady_clock::now();
  while (seconds_since(start) < seconds) {
    const auto pass = std::chrono::steady_clock::now();
    pool.run(threads, body, &context);
    const double took = seconds_since(pass);
    if (took < 1e-3) {  // too short to time: threads must start together
      context.iterations *= 2;
      continue;
    }
    best = std::max(
        best, static_cast<double>(context.iterations * context.kernel->multiply_adds_per_iteration * threads) / took);
  }
  return best;
}

double copy_peak(int64_t bytes, int32_t threads, double seconds) {
  if (bytes < threads || threads < 1) return 0.0;
  struct Context {
    std::vector<char> from, to;
    int64_t threads;
  } context{std::vector<char>(bytes, 1), std::vector<char>(bytes, 2), threads};
  const auto body = [](void* raw, size_t i) {
    auto* self = static_cast<Context*>(raw);
    const size_t size = self->from.size(), begin = size * i / self->threads, end = size * (i + 1) / self->threads;
    std::memcpy(self->to.data() + begin, self->from.data() + begin, end - begin);
  };
  Pool pool(threads);
  double best = 0.0;
  const auto start = std::chrono::steady_clock::now();
  while (seconds_since(start) < seconds) {
    const auto pass = std::chrono::steady_clock::now();
    pool.run(threads, body, &context);
    best = std::max(best, static_cast<double>(bytes) / seconds_since(pass));
  }
  return best;
}

constexpr LstsTable kTable{sizeof(LstsTable), 1,         create,      destroy,           run,
                           scratch_bytes,     tap_count, kernel_name, multiply_add_peak, copy_peak};

std::string description() {
  std::string kernels;
  for (const Kernel* kernel : usable_kernels())
    kernels += std::string(kernels.empty() ? "" : ", ") + '"' + kernel->name + '"';
  std::string ops;
  for (const Op& op : all_ops()) ops += std::string(ops.empty() ? "" : ", ") + op.description;
#if LSTS_WITH_CUDA
  const std::string cuda = std::string("{\"archs\": \"") + cuda_archs() +
                           "\", \"runtime_version\": " + std::to_string(cuda_runtime_version()) +
                           ", \"driver_version\": " + std::to_string(cuda_driver_version()) + "}";
#else
  const std::string cuda = "null";
#endif
  return "{\"library\": \"lsts_ops\", \"library_version\": \"" LSTS_VERSION
         "\", \"table_version\": 1, "
         "\"ort_api_version\": " +
         std::to_string(ortabi::kApiVersion) +
         ", \"ops\": [" + ops + "], \"cpu_kernels\": [" +
         kernels + "], \"cuda\": " + cuda + "}";
}

}  // namespace
}  // namespace lsts

// Never fails; the text lives as long as the library. `table` may be null.
extern "C" LSTS_ORT_EXPORT const char* lsts_ops_describe(const LstsTable** table) {
  static const std::string text = lsts::description();
  if (table != nullptr) *table = &lsts::kTable;
  return text.c_str();
}
