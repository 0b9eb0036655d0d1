// Second step: similarities of taps to similarities of locations, normalised, and back to one weight per tap.
//
// A block owns 32 positions, a lane one of them. The block's warps share out the taps, then the locations, then the
// taps again: the loads of a position are under way together, where one thread would wait for them one by one.
#pragma once

#include "job.cuh"
#include "shares.h"

namespace lsts {

struct WeightShape {
  static constexpr int kPositions = 32, kWarps = 8, kThreads = kPositions * kWarps;
  static constexpr int kFoundFloats = 3 * kThreads;  // what every warp found: highest, lowest and total
};

// A position's U + K values lie in a column in shared memory, or of job.columns where there are too many.
__global__ void __launch_bounds__(WeightShape::kThreads) weights_kernel(const Job job) {
  using S = WeightShape;
  extern __shared__ float shared_columns[];
  const int32_t lane = threadIdx.x % S::kPositions, warp = threadIdx.x / S::kPositions;
  float* highests = shared_columns + lane;
  float* lowests = highests + S::kThreads;
  float* totals = lowests + S::kThreads;
  float* column = job.columns == nullptr ? totals + S::kThreads
                                         : job.columns + lane +
                                               int64_t{blockIdx.x} * S::kPositions *
                                                   (job.tap_count + job.location_count);
  float* score = column + int64_t{job.tap_count} * S::kPositions;

  const int64_t positions = job.n * job.plane;
  const int64_t wanted = int64_t{blockIdx.x} * S::kPositions + lane;
  const int64_t position = min(wanted, positions - 1);  // lanes past the end repeat the last one and write nothing
  const int64_t image = position / job.plane, first = image * job.tap_count * job.plane + position % job.plane;
  const int64_t part_stride = job.n * job.tap_count * job.plane;

#pragma unroll 2
  for (int32_t u = warp; u < job.tap_count; u += S::kWarps) {
    const float* from = job.similarities + first + u * job.plane;
    float value = 0.0f;
#pragma unroll
    for (int32_t part = 0; part < kMaxParts; ++part)
      if (part < job.parts) value += from[part * part_stride];
    column[u * S::kPositions] = value;
  }
  __syncthreads();

  float highest = -INFINITY, lowest = INFINITY;
#pragma unroll 4
  for (int32_t k = warp; k < job.location_count; k += S::kWarps) {
    const Blend blend = job.locations[k];
    float value = 0.0f;  // what a location outside every map keeps
#pragma unroll
    for (int i = 0; i < kCorners; ++i)
      if (i < blend.count) value = fmaf(blend.weight[i], column[blend.tap[i] * S::kPositions], value);
    score[k * S::kPositions] = value;
    highest = fmaxf(highest, value);
    lowest = fminf(lowest, value);
  }
  highests[warp * S::kPositions] = highest;
  lowests[warp * S::kPositions] = lowest;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < S::kWarps; ++i) {
    highest = fmaxf(highest, highests[i * S::kPositions]);
    lowest = fminf(lowest, lowests[i * S::kPositions]);
  }

  const bool is_softmax = job.normalization == Normalization::kSoftmax;
  float total = 0.0f;
#pragma unroll 4
  for (int32_t k = warp; k < job.location_count; k += S::kWarps) {
    const float value = is_softmax ? expf(score[k * S::kPositions] - highest) : score[k * S::kPositions];
    score[k * S::kPositions] = value;
    total += value;
  }
  totals[warp * S::kPositions] = total;
  __syncthreads();
  total = 0.0f;
#pragma unroll
  for (int i = 0; i < S::kWarps; ++i) total += totals[i * S::kPositions];

  if (wanted >= positions) return;
  const float scale = inverse_total(total);
#pragma unroll 2
  for (int32_t u = warp; u < job.tap_count; u += S::kWarps) {
    float value = 0.0f;
#pragma unroll 4
    for (int32_t i = job.first_share[u]; i < job.first_share[u + 1]; ++i)
      value = fmaf(job.shares[i].weight, score[job.shares[i].location * S::kPositions], value);
    job.weights[first + u * job.plane] = value * scale;
  }
  if (warp != 0 || job.peak_weight == nullptr) return;
  const float peak = is_softmax ? scale : fmaxf(highest * scale, lowest * scale);  // a softmax peaks at exp(0)
  job.peak_weight[position] = isnan(total) ? NAN : peak;
}

}  // namespace lsts
