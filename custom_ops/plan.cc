#include "plan.h"

#include <algorithm>
#include <map>
#include <utility>

namespace lsts {
namespace {

using Cell = std::pair<int32_t, int32_t>;  // (y, x): ordered as rows of a map

struct Corner {
  Cell cell;
  float weight;
};

bool grows_within_limit(const TapGroup& group, const Cell& cell) {
  const auto [y, x] = cell;
  return std::max(group.max_x, x) - std::min(group.min_x, x) < kGroupSideCells &&
         std::max(group.max_y, y) - std::min(group.min_y, y) < kGroupSideCells;
}

void grow(TapGroup* group, const Cell& cell) {
  const auto [y, x] = cell;
  group->min_x = std::min(group->min_x, x), group->max_x = std::max(group->max_x, x);
  group->min_y = std::min(group->min_y, y), group->max_y = std::max(group->max_y, y);
  ++group->count;
}

}  // namespace

std::string make_plan(const float* offsets, int64_t locations, Normalization normalization, Plan* plan) {
  if (locations < 1 || locations > kMaxLocations)
    return "LSTS: got " + std::to_string(locations) + " offsets, expected 1 to " + std::to_string(kMaxLocations) +
           ". Give a (K, 2) table of offsets.";
  std::vector<std::vector<Corner>> corners(locations);
  std::map<Cell, int32_t> group_of;  // every tap once, in order
  for (int64_t k = 0; k < locations; ++k) {
    int32_t base_x, base_y;
    double fraction_x, fraction_y;
    if (!split_offset(offsets[2 * k], &base_x, &fraction_x) || !split_offset(offsets[2 * k + 1], &base_y, &fraction_y))
      continue;
    for (int step_y = 0; step_y < 2; ++step_y)
      for (int step_x = 0; step_x < 2; ++step_x) {
        const double weight = corner_weight(fraction_x, fraction_y, step_x, step_y);
        if (weight == 0.0) continue;
        const Cell cell{base_y + step_y, base_x + step_x};
        corners[k].push_back({cell, static_cast<float>(weight)});
        group_of[cell] = -1;
      }
  }

  plan->normalization = normalization;
  plan->groups.clear();
  for (auto& [cell, group] : group_of) {
    auto& groups = plan->groups;
    size_t g = 0;
    while (g < groups.size() && !grows_within_limit(groups[g], cell)) ++g;
    if (g == groups.size()) groups.push_back({0, 0, cell.second, cell.second, cell.first, cell.first});
    grow(&groups[g], cell);
    group = static_cast<int32_t>(g);
  }
  int32_t first = 0;
  for (TapGroup& group : plan->groups) {
    group.first = first;
    first += group.count;
  }

  plan->taps.assign(group_of.size(), Tap{});
  std::map<Cell, int32_t> index;
  std::vector<int32_t> filled(plan->groups.size(), 0);
  for (const auto& [cell, group] : group_of) {
    const int32_t u = plan->groups[group].first + filled[group]++;
    plan->taps[u] = {cell.second, cell.first};
    index[cell] = u;
  }
  plan->locations.assign(locations, Blend{});
  for (int64_t k = 0; k < locations; ++k) {
    Blend& blend = plan->locations[k];
    for (const Corner& corner : corners[k]) {
      blend.tap[blend.count] = index[corner.cell];
      blend.weight[blend.count++] = corner.weight;
    }
  }
  return "";
}

}  // namespace lsts
