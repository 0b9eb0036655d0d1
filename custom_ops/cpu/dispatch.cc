#include "cpu/dispatch.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>

namespace lsts {
namespace {

constexpr int64_t kAlignFloats = 16;              // a cache line, and the widest vector
constexpr int64_t kScratchGoalBytes = 448 << 10;  // leaves a 512 KiB second-level cache some room
constexpr int64_t kWidestTile = 96;
constexpr int64_t kMostRows = 64;
constexpr double kPackCost = 5.0;  // of packing or unpacking a cell, in multiply-adds of a tap; measured on AVX2

std::vector<const Kernel*> detect() {
  std::vector<const Kernel*> kernels;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  if (avx512) kernels.push_back(&kKernelAvx512);
  if (avx2) kernels.push_back(&kKernelAvx2);
#elif defined(__aarch64__)
  kernels.push_back(&kKernelNeon);
#endif
  kernels.push_back(&kKernelPortable);
  return kernels;
}

int64_t tiles(int64_t cells, int64_t tile) { return (cells + tile - 1) / tile; }

}  // namespace

const std::vector<const Kernel*>& usable_kernels() {
  static const std::vector<const Kernel*> kernels = detect();
  return kernels;
}

const Kernel* find_kernel(const char* name) {
  if (name == nullptr || *name == '\0') return usable_kernels().front();
  for (const Kernel* kernel : usable_kernels())
    if (std::strcmp(kernel->name, name) == 0) return kernel;
  return nullptr;
}

struct CpuRunner::Work {
  CpuRunner* runner;
  TileJob job;  // but for the place of the tile
  Cut cut;
  std::atomic<bool> out_of_memory{false};
};

PlanView CpuRunner::view() const {
  const auto count = [](const auto& items) { return static_cast<int64_t>(items.size()); };
  return {plan_.taps.data(),   count(plan_.taps),   plan_.locations.data(), count(plan_.locations),
          plan_.groups.data(), count(plan_.groups), plan_.normalization};
}

TileLayout CpuRunner::layout(int64_t rows, int64_t columns, const Call& call) const {
  int64_t cells = 0;
  for (const TapGroup& group : plan_.groups)
    cells = std::max<int64_t>(cells, (group.max_y - group.min_y + kRowsAtOnce) * (columns + group.max_x - group.min_x));
  // Whole half blocks: the tile's gather step never takes a narrower stride for more channels than half a block.
  const int64_t channels = std::min(kernel_->block, round_up(std::max(call.c, call.e), kernel_->block / 2));
  TileLayout out{};
  out.rows = rows, out.columns = columns;
  out.tap_stride = round_up(static_cast<int64_t>(plan_.taps.size()), kPositionBlock);
  int64_t at = 0;
  const auto reserve = [&at](int64_t floats) {
    const int64_t start = at;
    at += round_up(floats, kAlignFloats);
    return start;
  };
  const int64_t positions = round_up(rows * columns, kPositionBlock);
  out.weights = reserve(positions * out.tap_stride);
  out.base = reserve(positions);
  out.transposed = reserve(out.tap_stride * kPositionBlock);
  out.scores = reserve(static_cast<int64_t>(plan_.locations.size()) * kPositionBlock);
  out.packed = reserve(cells * channels);
  out.row = reserve((plan_.groups.size() > 1 ? rows : kRowsAtOnce) * columns * channels);
  out.total = at;
  return out;
}

// The tile whose slowest thread is predicted to finish first: tall tiles pack less, many tiles share out better.
CpuRunner::Cut CpuRunner::cut(const Call& call) const {
  const int64_t across = tiles(call.w, kWidestTile), columns = tiles(call.w, across);
  const double taps = static_cast<double>(plan_.taps.size());
  Cut best{};
  double least = 0;
  for (int64_t rows = 1; rows <= std::min(call.h, kMostRows); ++rows) {
    const Cut next{layout(rows, columns, call), tiles(call.h, rows), across};
    if (rows > 1 && next.layout.total * static_cast<int64_t>(sizeof(float)) > kScratchGoalBytes) break;
    double packed = 0;
    for (const TapGroup& group : plan_.groups)
      packed += static_cast<double>((rows + group.max_y - group.min_y) * (columns + group.max_x - group.min_x));
    const double tile_cost = static_cast<double>(rows * columns) * (taps + kPackCost) + kPackCost * packed;
    const double cost = static_cast<double>(tiles(call.n * next.tiles_down * across, threads_)) * tile_cost;
    if (rows == 1 || cost < least) best = next, least = cost;
  }
  return best;
}

std::unique_ptr<float[]> CpuRunner::take_scratch(int64_t floats) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (spare_floats_ == floats && !spare_.empty()) {
      std::unique_ptr<float[]> scratch = std::move(spare_.back());
      spare_.pop_back();
      return scratch;
    }
  }
  return std::unique_ptr<float[]>(new (std::nothrow) float[floats + kAlignFloats]);
}

void CpuRunner::give_scratch(std::unique_ptr<float[]> scratch, int64_t floats) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (spare_floats_ != floats) spare_.clear(), spare_floats_ = floats;
  try {
    spare_.push_back(std::move(scratch));
  } catch (const std::bad_alloc&) {  // then it is freed instead of kept
  }
}

void CpuRunner::run_tile(Work* work, int64_t index) {
  const Cut& cut = work->cut;
  std::unique_ptr<float[]> scratch = take_scratch(cut.layout.total);
  if (!scratch) {
    work->out_of_memory = true;
    return;
  }
  TileJob job = work->job;
  const auto address = reinterpret_cast<uintptr_t>(scratch.get());
  job.scratch =
      scratch.get() + (round_up(static_cast<int64_t>(address), 4 * kAlignFloats) - static_cast<int64_t>(address)) / 4;
  job.item = index / (cut.tiles_down * cut.tiles_across);
  job.first_row = index / cut.tiles_across % cut.tiles_down * cut.layout.rows;
  job.end_row = std::min(job.first_row + cut.layout.rows, job.call.h);
  job.first_column = index % cut.tiles_across * cut.layout.columns;
  job.end_column = std::min(job.first_column + cut.layout.columns, job.call.w);
  if (job.first_column < job.end_column) kernel_->run(job);
  give_scratch(std::move(scratch), cut.layout.total);
}

std::string CpuRunner::run(const Call& call, ParallelFor parallel_for, void* pool) {
  if (call.n * call.h * call.w == 0) return "";
  Work work{};
  work.runner = this;
  work.cut = cut(call);
  work.job.plan = view();
  work.job.call = call;
  work.job.layout = work.cut.layout;
  const auto body = [](void* context, size_t index) {
    auto* work = static_cast<Work*>(context);
    work->runner->run_tile(work, static_cast<int64_t>(index));
  };
  parallel_for(pool, call.n * work.cut.tiles_down * work.cut.tiles_across, body, &work);
  if (work.out_of_memory)
    return "LSTS: no memory for scratch: got none, expected " + std::to_string(work.cut.layout.total * 4) +
           " bytes a thread. Free some memory or use fewer threads.";
  return "";
}

int64_t CpuRunner::scratch_bytes(const Call& call) const {
  if (call.n * call.h * call.w == 0) return 0;
  const Cut used = cut(call);
  const int64_t at_once = std::min<int64_t>(threads_, call.n * used.tiles_down * used.tiles_across);
  return at_once * (used.layout.total + kAlignFloats) * static_cast<int64_t>(sizeof(float));
}

}  // namespace lsts
