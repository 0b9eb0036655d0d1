// Second step: similarities of taps to similarities of locations, normalised, and back to one weight per tap.
#pragma once

#include "job.cuh"

namespace lsts {

constexpr int kWeightThreads = 64;

// One thread per position. It keeps U + K values of its own in a column of shared memory, or of job.columns where there
// are too many.
__global__ void __launch_bounds__(kWeightThreads) weights_kernel(const Job job) {
  extern __shared__ float shared_columns[];
  const int64_t positions = job.n * job.plane;
  const int64_t position = int64_t{blockIdx.x} * kWeightThreads + threadIdx.x;
  if (position >= positions) return;
  float* column = job.columns != nullptr ? job.columns + position : shared_columns + threadIdx.x;
  const int64_t stride = job.columns != nullptr ? positions : kWeightThreads;
  float* score = column + job.tap_count * stride;
  const int64_t image = position / job.plane, first = image * job.tap_count * job.plane + position % job.plane;
  const int64_t part_stride = job.n * job.tap_count * job.plane;

#pragma unroll 4
  for (int32_t u = 0; u < job.tap_count; ++u) {
    float value = 0.0f;
    for (int32_t part = 0; part < job.parts; ++part)
      value += job.similarities[part * part_stride + first + u * job.plane];
    column[u * stride] = value;
  }

  float highest = -INFINITY, lowest = INFINITY;
#pragma unroll 4
  for (int32_t k = 0; k < job.location_count; ++k) {
    const Blend blend = job.locations[k];
    float value = 0.0f;  // what a location outside every map keeps
#pragma unroll
    for (int i = 0; i < kCorners; ++i)
      if (i < blend.count) value = fmaf(blend.weight[i], column[blend.tap[i] * stride], value);
    score[k * stride] = value;
    highest = fmaxf(highest, value);
    lowest = fminf(lowest, value);
  }

  for (int32_t u = 0; u < job.tap_count; ++u) column[u * stride] = 0.0f;
  const bool is_softmax = job.normalization == Normalization::kSoftmax;
  float total = 0.0f;
#pragma unroll 2
  for (int32_t k = 0; k < job.location_count; ++k) {
    const Blend blend = job.locations[k];
    const float value = is_softmax ? expf(score[k * stride] - highest) : score[k * stride];
    total += value;
    float sum[kCorners];  // a location's taps are distinct: all reads before the first write
#pragma unroll
    for (int i = 0; i < kCorners; ++i)
      if (i < blend.count) sum[i] = fmaf(blend.weight[i], value, column[blend.tap[i] * stride]);
#pragma unroll
    for (int i = 0; i < kCorners; ++i)
      if (i < blend.count) column[blend.tap[i] * stride] = sum[i];
  }

  const float scale = inverse_total(total);
#pragma unroll 4
  for (int32_t u = 0; u < job.tap_count; ++u) job.weights[first + u * job.plane] = column[u * stride] * scale;
  if (job.peak_weight == nullptr) return;
  const float peak = is_softmax ? scale : fmaxf(highest * scale, lowest * scale);  // a softmax peaks at exp(0)
  job.peak_weight[position] = isnan(total) ? NAN : peak;
}

}  // namespace lsts
