// The host side of the CUDA kernels: the plan and the work space on each device, the choice of kernels, the launches.
#include <algorithm>
#include <climits>
#include <memory>
#include <mutex>
#include <vector>

#include "blend.cuh"
#include "cells.h"
#include "job.cuh"
#include "lsts_cuda.h"
#include "plain.cuh"
#include "similarities.cuh"
#include "weights.cuh"

#ifndef LSTS_CUDA_ARCHS
#error "LSTS_CUDA_ARCHS must name the architectures compiled in, for example \"80 90 90-ptx\""
#endif

namespace lsts {
namespace {

constexpr size_t kSharedBytes = 48 << 10;  // what every device grants without being asked
constexpr size_t kMaxWorkspaces = 16;      // streams that one session serves at a time
constexpr int kMaxBlendCells = 64;

std::string failure(const char* what, cudaError_t error) {
  std::string text = std::string("LSTS on CUDA: ") + what + " failed: got " + cudaGetErrorName(error) + " (" +
                     cudaGetErrorString(error) + "), expected success.";
  if (error == cudaErrorInsufficientDriver)
    return text +
           (cuda_driver_version() == 0
                ? " There is no CUDA driver here"
                : " The CUDA driver here serves version " + std::to_string(cuda_driver_version())) +
           ", this library needs " + std::to_string(cuda_runtime_version()) +
           ": install a newer driver or build with an older CUDA.";
  if (error == cudaErrorNoKernelImageForDevice)
    return text + " This library has code for " + cuda_archs() + ": build it for this device.";
  return text + " Check the device and its free memory.";
}

#define LSTS_CUDA_TRY(what, expression)                                                            \
  do {                                                                                             \
    if (const cudaError_t tried = (expression); tried != cudaSuccess) return failure(what, tried); \
  } while (0)

template <class T>
int64_t ceil_div(T value, int64_t by) {
  return (int64_t{value} + by - 1) / by;
}

template <class... P>
cudaError_t launch(void (*kernel)(P...), dim3 grid, int threads, size_t shared_bytes, cudaStream_t stream,
                   std::common_type_t<P>... values) {
  void* arguments[] = {const_cast<void*>(static_cast<const void*>(&values))...};
  return cudaLaunchKernel(kernel, grid, dim3(threads), arguments, shared_bytes, stream);
}

// Memory that the steps of a call hand on, one per stream: calls on a stream run one after the other.
struct Workspace {
  cudaStream_t stream = nullptr;
  float* memory = nullptr;
  size_t floats = 0;
};

struct Device {
  int id = 0;
  int multiprocessors = 0;
  int similarity_blocks[2] = {}, blend_blocks[2] = {};  // on the whole device at once; by DType
  Tap* taps = nullptr;
  Blend* locations = nullptr;
  int32_t* first_share = nullptr;
  Share* shares = nullptr;
  std::vector<Workspace> workspaces;  // least recently made first

  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device() {  // a driver that is shutting down may refuse: nothing is left to free then
    for (const Workspace& workspace : workspaces) (void)cudaFree(workspace.memory);
    (void)cudaFree(taps);
    (void)cudaFree(locations);
    (void)cudaFree(first_share);
    (void)cudaFree(shares);
  }
};

}  // namespace

struct CudaPlan {
  Plan plan;
  bool has_similarity_tile = false, has_blend_tile = false;
  Window similarity_window{}, blend_window{};
  SimilarityShape::Cells similarity_cells{};
  CellTable<kMaxBlendCells, BlendShape::kRows> blend_cells{};

  // Held while a call is enqueued, so that the steps of two threads' calls on one stream cannot interleave.
  mutable std::mutex mutex;
  mutable std::vector<std::unique_ptr<Device>> devices;
};

namespace {

size_t blend_shared_bytes(const CudaPlan& plan) { return 2 * plan.blend_window.cells() * sizeof(float4); }

// Calls `body` with the smallest kernel that holds the plan's cells: body(kernel, CellTable<kMaxCells, 2>).
template <class T, int kMaxCells, class Body>
auto with_cells(const CudaPlan& plan, const Body& body) {
  CellTable<kMaxCells, BlendShape::kRows> cells;
  cells.count = plan.blend_cells.count;
  std::copy_n(plan.blend_cells.place, kMaxCells, cells.place);
  std::copy_n(&plan.blend_cells.tap[0][0], kMaxCells * BlendShape::kRows, &cells.tap[0][0]);
  return body(&blend_kernel<T, kMaxCells>, cells);
}

template <class T, class Body>
auto with_blend_kernel(const CudaPlan& plan, const Body& body) {
  const int32_t count = plan.blend_cells.count;
  if (count <= 24) return with_cells<T, 24>(plan, body);
  if (count <= 40) return with_cells<T, 40>(plan, body);
  return with_cells<T, kMaxBlendCells>(plan, body);
}

int similarity_threads(const CudaPlan& plan) {
  using S = SimilarityShape;
  const int64_t stage_cells = plan.similarity_window.cells() + S::kPositions;
  const int64_t computing = ceil_div(plan.similarity_cells.count, S::kCellsPerWarp);
  return static_cast<int>(32 * std::max({int64_t{4}, computing, ceil_div(stage_cells, 32 * S::kFetches)}));
}

// The most groups of 4 channels that a stage of the first step has room for.
int64_t similarity_quads(const CudaPlan& plan) {
  const int64_t stage_cells = plan.similarity_window.cells() + SimilarityShape::kPositions;
  return std::min<int64_t>(SimilarityShape::kFetches * similarity_threads(plan),
                           kSharedBytes / sizeof(float4)) / stage_cells;
}

size_t similarity_shared_bytes(const CudaPlan& plan, int64_t quads) {
  return quads * (plan.similarity_window.cells() + SimilarityShape::kPositions) * sizeof(float4);
}

template <class T>
std::string count_blocks(const CudaPlan& plan, Device* device, DType dtype) {
  const auto count = [&](auto kernel, int threads, size_t shared_bytes, int* out) {
    int blocks = 0;
    const cudaError_t error =
        cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, shared_bytes);
    *out = std::max(1, blocks) * device->multiprocessors;
    return error;
  };
  cudaError_t error = cudaSuccess;
  if (plan.has_similarity_tile)
    error = count(&similarities_kernel<T>, similarity_threads(plan),
                  similarity_shared_bytes(plan, similarity_quads(plan)),
                  &device->similarity_blocks[static_cast<int>(dtype)]);
  if (error == cudaSuccess && plan.has_blend_tile)
    error = with_blend_kernel<T>(plan, [&](auto kernel, const auto&) {
      return count(kernel, BlendShape::kThreads, blend_shared_bytes(plan),
                   &device->blend_blocks[static_cast<int>(dtype)]);
    });
  LSTS_CUDA_TRY("cudaOccupancyMaxActiveBlocksPerMultiprocessor", error);
  return "";
}

template <class T>
std::string upload(const std::vector<T>& from, T** to) {
  if (from.empty()) return "";
  LSTS_CUDA_TRY("cudaMalloc of the plan", cudaMalloc(reinterpret_cast<void**>(to), from.size() * sizeof(T)));
  LSTS_CUDA_TRY("cudaMemcpy of the plan",
                cudaMemcpy(*to, from.data(), from.size() * sizeof(T), cudaMemcpyHostToDevice));
  return "";
}

// The plan on the current device, made at the session's creation; later only where a call comes from another device.
std::string find_device(const CudaPlan& plan, Device** out) {
  int id = 0;
  LSTS_CUDA_TRY("cudaGetDevice", cudaGetDevice(&id));
  for (const auto& device : plan.devices)
    if (device->id == id) {
      *out = device.get();
      return "";
    }
  auto device = std::make_unique<Device>();
  device->id = id;
  LSTS_CUDA_TRY("cudaDeviceGetAttribute",
                cudaDeviceGetAttribute(&device->multiprocessors, cudaDevAttrMultiProcessorCount, id));
  std::string wrong = upload(plan.plan.taps, &device->taps);
  if (wrong.empty()) wrong = upload(plan.plan.locations, &device->locations);
  const TapShares by_tap = make_shares(plan.plan);
  if (wrong.empty()) wrong = upload(by_tap.first, &device->first_share);
  if (wrong.empty()) wrong = upload(by_tap.shares, &device->shares);
  if (wrong.empty()) wrong = count_blocks<float>(plan, device.get(), DType::kFloat32);
  if (wrong.empty()) wrong = count_blocks<__half>(plan, device.get(), DType::kFloat16);
  if (!wrong.empty()) return wrong;
  *out = device.get();
  plan.devices.push_back(std::move(device));
  return "";
}

// The stream's memory, at least `floats` long: allocated at the first call and where a shape outgrows it, never else.
std::string find_workspace(Device* device, cudaStream_t stream, size_t floats, float** out) {
  auto& all = device->workspaces;
  auto found = std::find_if(all.begin(), all.end(), [&](const Workspace& w) { return w.stream == stream; });
  if (found == all.end() || found->floats < floats) {
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    LSTS_CUDA_TRY("cudaStreamIsCapturing", cudaStreamIsCapturing(stream, &capture));
    if (capture != cudaStreamCaptureStatusNone)
      return "LSTS on CUDA: work space is missing: got a first call of this size inside a stream capture, expected one "
             "before it. Run once at this size on this stream, then capture.";
    if (found == all.end() && all.size() == kMaxWorkspaces) found = all.begin();
    if (found != all.end()) {
      const cudaError_t error = cudaFree(found->memory);  // waits for the work that still uses it
      all.erase(found);
      LSTS_CUDA_TRY("cudaFree", error);
    }
    Workspace made{stream, nullptr, floats};
    LSTS_CUDA_TRY("cudaMalloc of the work space",
                  cudaMalloc(reinterpret_cast<void**>(&made.memory), floats * sizeof(float)));
    all.push_back(made);
    found = all.end() - 1;
  }
  *out = found->memory;
  return "";
}

struct SimilarityLaunch {
  SimilarityLayout layout;
  int32_t parts;
  int threads;
  size_t shared_bytes;
  int64_t blocks;
};

// Cuts the channels into the parts that take the fewest stages one after the other, when the device runs
// `blocks_at_once` of the blocks in every wave; a block's first stage, which nothing hides, counts twice.
SimilarityLaunch similarity_launch(const CudaPlan& plan, const Job& job, int blocks_at_once) {
  using S = SimilarityShape;
  SimilarityLaunch out;
  out.layout.window = plan.similarity_window;
  out.layout.tiles_x = static_cast<int32_t>(ceil_div(job.w, S::kTileX));
  out.layout.tiles_y = static_cast<int32_t>(ceil_div(job.h, S::kTileY));
  out.threads = similarity_threads(plan);
  const int64_t tiles = int64_t{job.n} * out.layout.tiles_x * out.layout.tiles_y;
  const int64_t quads = std::max<int64_t>(1, ceil_div(job.e, 4));
  const int64_t per_stage = std::min(similarity_quads(plan), quads), stages = ceil_div(quads, per_stage);
  int64_t fewest = INT64_MAX;
  for (int64_t parts = 1; parts <= std::min<int64_t>(stages, kMaxParts); ++parts) {
    const int64_t in_turn = ceil_div(tiles * parts, blocks_at_once) * (ceil_div(stages, parts) + 1);
    if (in_turn >= fewest) continue;
    fewest = in_turn;
    const int64_t per_part = ceil_div(stages, parts) * per_stage;
    out.layout.quads_per_part = static_cast<int32_t>(per_part);
    out.parts = static_cast<int32_t>(ceil_div(quads, per_part));
  }
  out.layout.quads_per_stage = static_cast<int32_t>(per_stage);
  out.shared_bytes = similarity_shared_bytes(plan, per_stage);
  out.blocks = tiles * out.parts;
  return out;
}

dim3 plain_grid(const Job& job, int64_t work_per_position) {
  return dim3(static_cast<unsigned>(ceil_div(job.n * job.plane, kPlainThreads)),
              static_cast<unsigned>(std::clamp<int64_t>(work_per_position, 1, 65535)));
}

template <class T>
std::string enqueue_similarities(const CudaPlan& plan, const Job& job, const SimilarityLaunch& tiled,
                                 cudaStream_t stream) {
  if (job.tap_count == 0) return "";
  if (plan.has_similarity_tile) {
    LSTS_CUDA_TRY("the launch of the similarities",
                  launch(&similarities_kernel<T>, dim3(static_cast<unsigned>(tiled.blocks)), tiled.threads,
                         tiled.shared_bytes, stream, job, tiled.layout, plan.similarity_cells));
  } else {
    LSTS_CUDA_TRY("the launch of the plain similarities",
                  launch(&plain_similarities_kernel<T>, plain_grid(job, ceil_div(job.tap_count, kPlainTaps)),
                         kPlainThreads, 0, stream, job));
  }
  return "";
}

template <class T>
std::string enqueue_blend(const CudaPlan& plan, const Device& device, const Job& job, DType dtype,
                          cudaStream_t stream) {
  if (job.c == 0) return "";
  if (!plan.has_blend_tile) {
    LSTS_CUDA_TRY("the launch of the plain blend",
                  launch(&plain_blend_kernel<T>, plain_grid(job, ceil_div(job.c, kPlainChannels)), kPlainThreads, 0,
                         stream, job));
    return "";
  }
  BlendLayout layout{plan.blend_window, static_cast<int32_t>(ceil_div(job.w, BlendShape::kTileX)),
                     static_cast<int32_t>(ceil_div(job.h, BlendShape::kTileY))};
  const int64_t steps = int64_t{job.n} * layout.tiles_x * layout.tiles_y * ceil_div(job.c, 4);
  const unsigned blocks = static_cast<unsigned>(std::min<int64_t>(steps, device.blend_blocks[static_cast<int>(dtype)]));
  const cudaError_t error = with_blend_kernel<T>(plan, [&](auto kernel, const auto& cells) {
    return launch(kernel, dim3(blocks), BlendShape::kThreads, blend_shared_bytes(plan), stream, job, layout, cells);
  });
  LSTS_CUDA_TRY("the launch of the blend", error);
  return "";
}

int64_t weight_blocks(int64_t positions) { return ceil_div(positions, WeightShape::kPositions); }

// With `values` per position in shared memory.
size_t weight_shared_bytes(int64_t values) {
  return (WeightShape::kFoundFloats + values * WeightShape::kPositions) * sizeof(float);
}

template <class T>
std::string enqueue(const CudaPlan& plan, const Device& device, const Job& job, const SimilarityLaunch& tiled,
                    DType dtype, cudaStream_t stream) {
  std::string wrong = enqueue_similarities<T>(plan, job, tiled, stream);
  if (!wrong.empty()) return wrong;
  const int64_t values = job.columns != nullptr ? 0 : int64_t{job.tap_count} + job.location_count;
  LSTS_CUDA_TRY("the launch of the weights",
                launch(&weights_kernel, dim3(static_cast<unsigned>(weight_blocks(job.n * job.plane))),
                       WeightShape::kThreads, weight_shared_bytes(values), stream, job));
  return enqueue_blend<T>(plan, device, job, dtype, stream);
}

}  // namespace

std::string cuda_plan_create(const Plan& plan, CudaPlan** out) {
  auto made = std::make_unique<CudaPlan>();
  made->plan = plan;
  made->has_similarity_tile =
      make_window(plan, SimilarityShape::kTileX, SimilarityShape::kTileY, &made->similarity_window) &&
      make_cells(plan, made->similarity_window, &made->similarity_cells);
  made->has_blend_tile = make_window(plan, BlendShape::kTileX, BlendShape::kTileY, &made->blend_window) &&
                         made->blend_window.cells() <= BlendShape::kMaxWindowCells &&
                         make_cells(plan, made->blend_window, &made->blend_cells);
  Device* device = nullptr;
  std::string wrong = find_device(*made, &device);
  if (wrong.empty()) *out = made.release();
  return wrong;
}

void cuda_plan_destroy(CudaPlan* plan) { delete plan; }

std::string cuda_run(const CudaPlan& plan, const Call& call, void* stream) {
  const int64_t positions = call.n * call.h * call.w;
  if (positions == 0) return "";
  if (std::max({call.n, call.e, call.c}) > INT_MAX / 8 || call.h * call.w > INT_MAX / 8 || positions > INT_MAX)
    return "LSTS on CUDA: tensors are too large: got " + std::to_string(call.n) + " maps of " + std::to_string(call.h) +
           " x " + std::to_string(call.w) + ", expected fewer. Split the batch.";

  Job job{};
  job.memory_embedding = call.memory_embedding;
  job.current_embedding = call.current_embedding;
  job.memory_feature = call.memory_feature;
  job.aligned_feature = call.aligned_feature;
  job.peak_weight = call.peak_weight;
  job.plane = call.h * call.w;
  job.n = static_cast<int32_t>(call.n), job.e = static_cast<int32_t>(call.e), job.c = static_cast<int32_t>(call.c);
  job.h = static_cast<int32_t>(call.h), job.w = static_cast<int32_t>(call.w);
  job.tap_count = static_cast<int32_t>(plan.plan.taps.size());
  job.location_count = static_cast<int32_t>(plan.plan.locations.size());
  job.normalization = plan.plan.normalization;
  job.parts = 1;

  const std::lock_guard<std::mutex> lock(plan.mutex);
  Device* device = nullptr;
  std::string wrong = find_device(plan, &device);
  if (!wrong.empty()) return wrong;
  job.taps = device->taps;
  job.locations = device->locations;
  job.first_share = device->first_share;
  job.shares = device->shares;
  SimilarityLaunch tiled{};
  if (plan.has_similarity_tile) {
    tiled = similarity_launch(plan, job, device->similarity_blocks[static_cast<int>(call.dtype)]);
    job.parts = tiled.parts;
  }
  const int64_t values = int64_t{job.tap_count} + job.location_count;
  const bool in_shared = weight_shared_bytes(values) <= kSharedBytes;
  const int64_t column_floats = in_shared ? 0 : weight_blocks(positions) * WeightShape::kPositions * values;
  const int64_t tap_floats = positions * job.tap_count;
  const auto on = static_cast<cudaStream_t>(stream);
  wrong = find_workspace(device, on, (job.parts + 1) * tap_floats + column_floats, &job.weights);
  if (!wrong.empty()) return wrong;
  job.similarities = job.weights + tap_floats;
  job.columns = in_shared ? nullptr : job.similarities + job.parts * tap_floats;
  return call.dtype == DType::kFloat32 ? enqueue<float>(plan, *device, job, tiled, call.dtype, on)
                                       : enqueue<__half>(plan, *device, job, tiled, call.dtype, on);
}

const char* cuda_archs() { return LSTS_CUDA_ARCHS; }

int cuda_runtime_version() { return CUDART_VERSION; }

int cuda_driver_version() {
  int version = 0;
  return cudaDriverGetVersion(&version) == cudaSuccess ? version : 0;
}

}  // namespace lsts
