// The tap plan seen from its taps: which locations each tap serves, and how much of each.
#pragma once

#include <cstdint>
#include <vector>

#include "plan.h"

namespace lsts {

struct Share {
  int32_t location;  // index into Plan::locations
  float weight;
};

// Tap u's shares are those from first[u] up to first[u + 1], by ascending location.
struct TapShares {
  std::vector<int32_t> first;
  std::vector<Share> shares;
};

inline TapShares make_shares(const Plan& plan) {
  std::vector<std::vector<Share>> of_tap(plan.taps.size());
  for (size_t k = 0; k < plan.locations.size(); ++k) {
    const Blend& blend = plan.locations[k];
    for (int32_t i = 0; i < blend.count; ++i)
      of_tap[blend.tap[i]].push_back({static_cast<int32_t>(k), blend.weight[i]});
  }
  TapShares made{{0}, {}};
  for (const std::vector<Share>& shares : of_tap) {
    made.shares.insert(made.shares.end(), shares.begin(), shares.end());
    made.first.push_back(static_cast<int32_t>(made.shares.size()));
  }
  return made;
}

}  // namespace lsts
