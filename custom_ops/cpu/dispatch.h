// Picks the kernel for this CPU and cuts a call into tiles.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "call.h"
#include "cpu/kernel.h"
#include "plan.h"

namespace lsts {

// The kernels that this CPU can run, the fastest first; never empty.
const std::vector<const Kernel*>& usable_kernels();

// The kernel of that name; null where it is unknown or this CPU cannot run it. Empty or null: the fastest.
const Kernel* find_kernel(const char* name);

// Runs body(context, i) for i in [0, count), in any order and on any threads.
using ParallelFor = void (*)(void* pool, int64_t count, void (*body)(void*, size_t), void* context);

// A plan with a kernel and the scratch memory that its calls use in turn. Calls may run at the same time.
class CpuRunner {
 public:
  CpuRunner(Plan plan, const Kernel* kernel, int threads)
      : plan_(std::move(plan)), kernel_(kernel), threads_(threads) {}

  const Plan& plan() const { return plan_; }
  const Kernel& kernel() const { return *kernel_; }

  // Returns an empty string or what went wrong.
  std::string run(const Call& call, ParallelFor parallel_for, void* pool);

  // Scratch memory of one call with this many threads.
  int64_t scratch_bytes(const Call& call) const;

 private:
  struct Cut {
    TileLayout layout;
    int64_t tiles_down, tiles_across;
  };
  struct Work;

  PlanView view() const;
  TileLayout layout(int64_t rows, int64_t columns, const Call& call) const;
  Cut cut(const Call& call) const;
  void run_tile(Work* work, int64_t index);
  std::unique_ptr<float[]> take_scratch(int64_t floats);
  void give_scratch(std::unique_ptr<float[]> scratch, int64_t floats);

  Plan plan_;
  const Kernel* kernel_;
  int threads_;
  std::mutex mutex_;
  int64_t spare_floats_ = 0;
  std::vector<std::unique_ptr<float[]>> spare_;
};

}  // namespace lsts
