// One tile of LSTS on one CPU kernel: the interface between the dispatcher and the files compiled per instruction set.
//
// Plain structs only: a file compiled for AVX-512 must emit no code that another file could link to.
#pragma once

#include <cstdint>

#include "call.h"
#include "plan.h"

namespace lsts {

constexpr int kPositionBlock = 8;  // positions weighed, and cells transposed, at once

constexpr int kRowsAtOnce = 4;  // rows of the memory packed together

static inline int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// What the tile kernels read of a Plan.
struct PlanView {
  const Tap* taps;
  int64_t tap_count;
  const Blend* locations;
  int64_t location_count;
  const TapGroup* groups;
  int64_t group_count;
  Normalization normalization;
};

// A tile's sizes and where its pieces lie in the scratch memory, all counted in floats.
struct TileLayout {
  int64_t rows, columns;                                   // of a full tile
  int64_t tap_stride;                                      // taps rounded up to kPositionBlock
  int64_t weights, base, transposed, scores, packed, row;  // offsets
  int64_t total;
};

struct TileJob {
  PlanView plan;
  Call call;
  TileLayout layout;
  int64_t item, first_row, end_row, first_column, end_column;
  float* scratch;  // layout.total floats, 64-byte aligned
};

struct Kernel {
  const char* name;
  int64_t block;  // channels packed side by side
  void (*run)(const TileJob& job);
  // Independent multiply-adds on registers alone, for measuring the peak; returns a value to keep the loop alive.
  float (*spin)(int64_t iterations);
  int64_t multiply_adds_per_iteration;
};

extern const Kernel kKernelPortable;
extern const Kernel kKernelAvx2;
extern const Kernel kKernelAvx512;
extern const Kernel kKernelNeon;

}  // namespace lsts
