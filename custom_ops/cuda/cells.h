// Which cells of the memory a short column of positions reads, and which tap each cell is for each position.
//
// Positions under one another share most of their cells. One thread owns kRows of them, reads every cell of their union
// once and uses it for all of them; a cell that is no tap of a position has tap -1 there.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <utility>

#include "plan.h"

namespace lsts {

// A tile of positions and the cells around it that its taps reach: what one block keeps in shared memory.
struct Window {
  int32_t min_x, min_y;   // first cell, counted from the tile's first position
  int32_t columns, rows;  // cells
  int64_t cells() const { return int64_t{columns} * rows; }
};

template <int kMaxCells, int kRows>
struct CellTable {
  int32_t count;                  // cells in use; the rest repeat the first cell, with no tap
  int32_t place[kMaxCells];       // index in the window, counted from the place of the column's first position
  int16_t tap[kMaxCells][kRows];  // index into Plan::taps, or -1
};

// The window of a tile; false where there is no tap or the taps do not lie in one box.
inline bool make_window(const Plan& plan, int32_t tile_x, int32_t tile_y, Window* window) {
  if (plan.groups.size() != 1) return false;
  const TapGroup& box = plan.groups[0];
  *window = {box.min_x, box.min_y, tile_x + box.max_x - box.min_x, tile_y + box.max_y - box.min_y};
  return true;
}

// False where a column reads more than kMaxCells cells. A window must exist.
template <int kMaxCells, int kRows>
bool make_cells(const Plan& plan, const Window& window, CellTable<kMaxCells, kRows>* table) {
  std::map<std::pair<int32_t, int32_t>, std::array<int16_t, kRows>> cells;  // (y, x), as rows of a map
  for (size_t u = 0; u < plan.taps.size(); ++u)
    for (int row = 0; row < kRows; ++row) {
      std::array<int16_t, kRows> none;
      none.fill(-1);
      cells.insert({{plan.taps[u].y + row, plan.taps[u].x}, none}).first->second[row] = static_cast<int16_t>(u);
    }
  if (cells.size() > kMaxCells) return false;
  int32_t filled = 0;
  for (const auto& [cell, taps] : cells) {
    table->place[filled] = (cell.first - window.min_y) * window.columns + cell.second - window.min_x;
    std::copy(taps.begin(), taps.end(), table->tap[filled++]);
  }
  table->count = filled;
  for (; filled < kMaxCells; ++filled) {
    table->place[filled] = table->place[0];
    std::fill_n(table->tap[filled], kRows, static_cast<int16_t>(-1));
  }
  return true;
}

}  // namespace lsts
