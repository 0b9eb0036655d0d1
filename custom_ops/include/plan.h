// The tap plan: K constant offsets factored, once per session, into the few integer shifts they share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core.h"

namespace lsts {

struct Tap {
  int32_t x, y;
};

// One location's sample as a blend of taps; `count` is 0 for an offset that lies outside every map.
struct Blend {
  int32_t count;
  int32_t tap[kCorners];  // index into Plan::taps, ascending
  float weight[kCorners];
};

// Taps that lie in one small box, so that one packed tile of the memory serves them all.
struct TapGroup {
  int32_t first, count;                // range of Plan::taps
  int32_t min_x, max_x, min_y, max_y;  // the box, inclusive
};

struct Plan {
  Normalization normalization = Normalization::kSoftmax;
  std::vector<Tap> taps;         // U, ordered by group, within a group by y and then x
  std::vector<Blend> locations;  // K
  std::vector<TapGroup> groups;
};

// Longest side of a group's box, in cells.
constexpr int32_t kGroupSideCells = 32;

// offsets: K pairs (x, y) in cells. Returns an empty string, or what is wrong with the arguments.
std::string make_plan(const float* offsets, int64_t locations, Normalization normalization, Plan* plan);

}  // namespace lsts
