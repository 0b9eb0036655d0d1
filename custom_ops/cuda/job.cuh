// What every CUDA kernel of LSTS is told, and how it reads and writes an element of either type.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "core.h"
#include "plan.h"
#include "shares.h"

namespace lsts {

constexpr int kMaxParts = 8;

// One call in three steps: similarities (one value per tap and position), weights, blend.
struct Job {
  const void* memory_embedding;
  const void* current_embedding;
  const void* memory_feature;
  void* aligned_feature;
  float* peak_weight;   // or null
  float* similarities;  // (parts, n, taps, h, w): every part sums a range of the e channels
  float* weights;       // (n, taps, h, w)
  float* columns;       // taps + locations for every position, by block; or null: shared memory holds them
  const Tap* taps;
  const Blend* locations;
  const int32_t* first_share;  // TapShares
  const Share* shares;
  int64_t plane;  // h * w
  int32_t n, e, c, h, w;
  int32_t tap_count, location_count;
  int32_t parts;
  Normalization normalization;
};

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(__half value) { return __half2float(value); }
template <class T>
__device__ inline float load(const T* from) {
  return to_float(__ldg(from));
}
__device__ inline void store(float* to, float value) { *to = value; }
__device__ inline void store(__half* to, float value) { *to = __float2half_rn(value); }

// 4 channels at one cell as memory holds them. A load stays under way until its first use, and a conversion is a use:
// what is fetched ahead is kept in this form.
template <class T>
struct alignas(4 * sizeof(T)) Quad {
  T x, y, z, w;
};

template <class T>
__device__ inline float4 to_float(const Quad<T>& from) {
  return make_float4(to_float(from.x), to_float(from.y), to_float(from.z), to_float(from.w));
}

// Channels `first` to `first + 3` at one cell; `from` is the cell in channel `first`. Those from `end` on are zero.
template <class T>
__device__ inline Quad<T> load4(const T* from, int64_t plane, int32_t first, int32_t end) {
  Quad<T> value = {};
  if (first < end) value.x = __ldg(from);
  if (first + 1 < end) value.y = __ldg(from + plane);
  if (first + 2 < end) value.z = __ldg(from + 2 * plane);
  if (first + 3 < end) value.w = __ldg(from + 3 * plane);
  return value;
}

__device__ inline float dot_add(const float4& a, const float4& b, float sum) {
  return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

__device__ inline void scale_add(float weight, const float4& value, float4* sum) {
  sum->x = fmaf(weight, value.x, sum->x);
  sum->y = fmaf(weight, value.y, sum->y);
  sum->z = fmaf(weight, value.z, sum->z);
  sum->w = fmaf(weight, value.w, sum->w);
}

}  // namespace lsts
