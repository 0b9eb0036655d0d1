// The rule of LSTS that host and device share: where a sample falls, what its corners weigh, how weights normalise.
//
// Everything here is `static`, so that no translation unit compiled for one CPU can hand its code to another.
#pragma once

#include <cmath>
#include <cstdint>

#if defined(__CUDACC__)
#define LSTS_HD static __host__ __device__ inline
#else
#define LSTS_HD static inline
#endif

namespace lsts {

// No map is longer than this, so an offset of at least this size lies outside every map (same in lsts_edge/taps.py).
constexpr int64_t kMaxSideCells = int64_t{1} << 20;
constexpr int64_t kMaxLocations = 4096;
constexpr int kCorners = 4;

enum class Normalization : int32_t { kSoftmax = 0, kLinear = 1 };
enum class DType : int32_t { kFloat32 = 0, kFloat16 = 1 };

// The whole-cell part of an offset and its fraction in [0, 1). False, and nothing written, for an offset that lies
// outside every map: both comparisons are false for NaN, so no float is cast before it is known to be in range.
LSTS_HD bool split_offset(float offset, int32_t* base, double* fraction) {
  const double value = offset;
  if (!(value > -static_cast<double>(kMaxSideCells) && value < static_cast<double>(kMaxSideCells))) return false;
  const double whole = floor(value);
  *base = static_cast<int32_t>(whole);
  *fraction = value - whole;
  return true;
}

// Weight of one of the four cells around a sample; step_x and step_y are 0 for the near cell and 1 for the far one.
LSTS_HD double corner_weight(double fraction_x, double fraction_y, int step_x, int step_y) {
  return (step_x ? fraction_x : 1.0 - fraction_x) * (step_y ? fraction_y : 1.0 - fraction_y);
}

// Cells outside the map count as zero: they are never read.
LSTS_HD bool is_inside(int64_t x, int64_t y, int64_t width, int64_t height) {
  return x >= 0 && x < width && y >= 0 && y < height;
}

// What the K values of a position are multiplied by once they are summed; a sum of 0 makes every weight NaN.
LSTS_HD float inverse_total(float total) { return total == 0.0f ? NAN : 1.0f / total; }

}  // namespace lsts
