// The first and third step for any taps, however many and however far: straight from memory, one thread per position.
#pragma once

#include "job.cuh"

namespace lsts {

constexpr int kPlainThreads = 128;
constexpr int kPlainTaps = 8;
constexpr int kPlainChannels = 8;

template <class T>
__global__ void __launch_bounds__(kPlainThreads) plain_similarities_kernel(const Job job) {
  const int64_t position = int64_t{blockIdx.x} * kPlainThreads + threadIdx.x;
  if (position >= job.n * job.plane) return;
  const int64_t image = position / job.plane, place = position % job.plane;
  const int64_t x = place % job.w, y = place / job.w;
  const T* memory = static_cast<const T*>(job.memory_embedding) + image * job.e * job.plane + place;
  const T* current = static_cast<const T*>(job.current_embedding) + image * job.e * job.plane + place;
  float* out = job.similarities + image * job.tap_count * job.plane + place;

  for (int32_t first = blockIdx.y * kPlainTaps; first < job.tap_count; first += gridDim.y * kPlainTaps) {
    int64_t shift[kPlainTaps];
    bool reads[kPlainTaps];
    float sum[kPlainTaps] = {};
#pragma unroll
    for (int i = 0; i < kPlainTaps; ++i) {
      const Tap tap = job.taps[min(first + i, job.tap_count - 1)];
      reads[i] = is_inside(x + tap.x, y + tap.y, job.w, job.h);
      shift[i] = int64_t{tap.y} * job.w + tap.x;
    }
    for (int32_t channel = 0; channel < job.e; ++channel) {
      const float own = load(current + channel * job.plane);
#pragma unroll
      for (int i = 0; i < kPlainTaps; ++i)
        if (reads[i]) sum[i] = fmaf(own, load(memory + channel * job.plane + shift[i]), sum[i]);
    }
#pragma unroll
    for (int i = 0; i < kPlainTaps; ++i)
      if (first + i < job.tap_count) out[(first + i) * job.plane] = sum[i];
  }
}

template <class T>
__global__ void __launch_bounds__(kPlainThreads) plain_blend_kernel(const Job job) {
  const int64_t position = int64_t{blockIdx.x} * kPlainThreads + threadIdx.x;
  if (position >= job.n * job.plane) return;
  const int64_t image = position / job.plane, place = position % job.plane;
  const int64_t x = place % job.w, y = place / job.w;
  const T* memory = static_cast<const T*>(job.memory_feature) + image * job.c * job.plane + place;
  T* out = static_cast<T*>(job.aligned_feature) + image * job.c * job.plane + place;
  const float* weights = job.weights + image * job.tap_count * job.plane + place;
  // Without a single tap every similarity is 0: nothing to add, or nothing to divide by.
  const float start = job.tap_count == 0 && job.normalization == Normalization::kLinear ? NAN : 0.0f;

  for (int32_t first = blockIdx.y * kPlainChannels; first < job.c; first += gridDim.y * kPlainChannels) {
    float sum[kPlainChannels];
#pragma unroll
    for (int i = 0; i < kPlainChannels; ++i) sum[i] = start;
    for (int32_t u = 0; u < job.tap_count; ++u) {
      const Tap tap = job.taps[u];
      const float weight = weights[u * job.plane];
      const bool reads = is_inside(x + tap.x, y + tap.y, job.w, job.h);
      const T* cell = memory + first * job.plane + int64_t{tap.y} * job.w + tap.x;
#pragma unroll
      for (int i = 0; i < kPlainChannels; ++i) {
        const float value = reads && first + i < job.c ? load(cell + i * job.plane) : 0.0f;
        sum[i] = fmaf(weight, value, sum[i]);  // a weight that is NaN counts outside the map too
      }
    }
#pragma unroll
    for (int i = 0; i < kPlainChannels; ++i)
      if (first + i < job.c) store(out + (first + i) * job.plane, sum[i]);
  }
}

}  // namespace lsts
